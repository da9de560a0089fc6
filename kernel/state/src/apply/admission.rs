//! What a pod is given when it is made: the priority that its class says, and the word that its gates hold it. Decided here,
//! where the classes are those that the pod finds, whoever makes it: a client, or a controller.
use super::Draft;
use crate::{
    priority::{self, Class, PREEMPTS},
    snapshot::Snapshot,
};
use sampan_api::{ApiError, Cause, Key, Object, Reason};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

/// All that is read of a pod's spec.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    priority_class_name: Option<String>,
    priority: Option<i32>,
    preemption_policy: Option<String>,
    scheduling_gates: Option<Vec<IgnoredAny>>,
}

/// Completes an object as it would be were it made now.
///
/// # Errors
/// Why the state would refuse it.
pub fn would_admit(state: &Snapshot, key: &Key, object: &mut Object, now_ms: u64) -> Result<(), ApiError> {
    Draft::new(state, 0, state.revision(), now_ms).admit(key, object)
}

impl Draft<'_> {
    /// # Errors
    /// `Forbidden`, as Kubernetes says it, for a class that is not there and for what contradicts the class; `Invalid` for a
    /// spec that cannot be read.
    pub(super) fn admit(&self, key: &Key, pod: &mut Object) -> Result<(), ApiError> {
        if &*key.resource != "pods" || self.level() < u64::from(priority::LEVEL) {
            return Ok(());
        }
        let text = pod.fields.get("spec").map_or("{}", |raw| raw.get());
        let spec: Result<Option<Spec>, _> = serde_json::from_str(text);
        let spec = spec.map_err(|error| {
            let cause = Cause {
                field: "spec".to_owned(),
                message: error.to_string(),
            };
            ApiError::invalid(format!("{key} is invalid"), vec![cause])
        })?;
        let spec = spec.unwrap_or_default();
        self.prioritize(key, pod, &spec)?;
        if spec.scheduling_gates.is_some_and(|gates| !gates.is_empty()) {
            let status = gated(super::field(key, pod, "status")?, &self.now.to_string());
            pod.set_field("status", &status);
        }
        Ok(())
    }

    /// A pod that names no class, where no class is the default, stays as it is: that is worth 0.
    fn prioritize(&self, key: &Key, pod: &mut Object, spec: &Spec) -> Result<(), ApiError> {
        let forbidden = |why: String| Err(ApiError::new(Reason::Forbidden, format!("{key} is forbidden: {why}")));
        let named = spec.priority_class_name.as_deref().filter(|name| !name.is_empty());
        let class = match named {
            None => self.default_class(),
            Some(name) => match self.class(name) {
                None => return forbidden(format!("no PriorityClass with name {name} was found")),
                class => class,
            },
        };
        let (value, preemption) = match &class {
            Some(class) => (class.value, class.preemption.as_str()),
            None => (0, PREEMPTS),
        };
        if let Some(given) = spec.priority.filter(|given| *given != value) {
            return forbidden(format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
                 computed {value} from the given PriorityClass name"
            ));
        }
        if let Some(given) = spec.preemption_policy.as_deref().filter(|given| *given != preemption) {
            return forbidden(format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {preemption} from the given PriorityClass name"
            ));
        }
        let Some(class) = class else { return Ok(()) };
        let mut more = serde_json::Map::new();
        let mut give = |name: &str, known: bool, value: Value| {
            if !known {
                more.insert(name.to_owned(), value);
            }
        };
        give(
            "preemptionPolicy",
            spec.preemption_policy.is_some(),
            class.preemption.into(),
        );
        give("priority", spec.priority.is_some(), class.value.into());
        give("priorityClassName", named.is_some(), class.name.into());
        if let Some(text) = with(pod, more) {
            pod.fields.set("spec", text);
        }
        Ok(())
    }

    /// A class as the writes so far leave it.
    fn class(&self, name: &str) -> Option<Class> {
        let found = self.now(&priority::key(name)).map(|object| Class::of(object).0);
        found.or_else(|| Class::of_system(name))
    }

    /// The class of pods that name none: of several the least.
    fn default_class(&self) -> Option<Class> {
        let written = |class: &&Class| self.changes.contains_key(&priority::key(&class.name));
        let stored = self.state.index.default_classes.iter().find(|class| !written(class));
        let changed = self
            .changes
            .iter()
            .filter(|(key, _)| &*key.resource == priority::CLASSES);
        let changed = changed.filter_map(|(_, change)| match Class::of(change.now()?) {
            (class, true) => Some(class),
            _ => None,
        });
        changed.chain(stored.cloned()).min()
    }
}

/// A pod's spec with more fields. Where it has none of them, which is the rule, its text is kept as it is.
fn with(pod: &Object, more: serde_json::Map<String, Value>) -> Option<Box<RawValue>> {
    if more.is_empty() {
        return None;
    }
    let text = pod.fields.get("spec").map_or("{}", |raw| raw.get());
    let new = |text: &str| !text.contains('\\') && more.keys().all(|name| !text.contains(&format!("\"{name}\"")));
    let text = match text.strip_prefix('{').filter(|_| new(text)) {
        Some(rest) => {
            let mut more = Value::from(more).to_string();
            more.pop();
            let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
            format!("{more}{comma}{rest}")
        }
        None => {
            let mut spec: Value = serde_json::from_str(text).ok()?;
            if spec.is_null() {
                spec = json!({});
            }
            spec.as_object_mut()?.extend(more);
            spec.to_string()
        }
    };
    RawValue::from_string(text).ok()
}

/// The status of a pod that its gates hold.
fn gated(status: Value, now: &str) -> Value {
    let mut status = if status.is_object() { status } else { json!({}) };
    let others = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions: Vec<Value> = others.into_iter().filter(|c| c["type"] != "PodScheduled").collect();
    conditions.push(json!({
        "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastTransitionTime": now,
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }));
    status["conditions"] = conditions.into();
    if status["phase"].is_null() {
        status["phase"] = "Pending".into();
    }
    status
}
