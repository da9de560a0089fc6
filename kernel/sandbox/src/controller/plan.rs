//! What a controller answers, checked and in the kernel's terms.
use super::types;
use sampan_api::{Key, MAX_OBJECT_BYTES, Object, Operation, Write, kinds, plan::Deletion};
use serde_json::Value;
use std::time::Duration;

/// Writes in one plan at the most.
const MOST_WRITES: usize = 10_000;

/// Events and wake-ups in one plan at the most.
const MOST_WORDS: usize = 1000;

/// Who may change a policy could become any policy.
const PLUGINS: &str = "plugins.sampan.dev";

/// What a controller decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControllerPlan {
    /// Commit together.
    pub writes: Vec<Write>,
    pub events: Vec<PolicyEvent>,
    /// Keys to look at again, and after how long.
    pub wake_ups: Vec<(Key, Duration)>,
}

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyEvent {
    pub about: Key,
    pub warning: bool,
    pub reason: String,
    pub message: String,
}

pub(super) fn kernel_key(key: &types::Key) -> Key {
    Key::new(&key.resource, &key.namespace, &key.name)
}

pub(super) fn guest_key(key: &Key) -> types::Key {
    types::Key {
        resource: key.resource.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}

/// Checks an answer.
///
/// # Errors
/// Which write makes no sense, and why.
pub(super) fn kernel_plan(plan: types::Plan) -> Result<ControllerPlan, String> {
    if plan.writes.len() > MOST_WRITES || plan.events.len().max(plan.wake_ups.len()) > MOST_WORDS {
        let what = format!(
            "a plan of {} writes, {} events and {} wake-ups is too large",
            plan.writes.len(),
            plan.events.len(),
            plan.wake_ups.len()
        );
        return Err(what);
    }
    let writes = plan
        .writes
        .into_iter()
        .enumerate()
        .map(|(number, write)| kernel_write(write).map_err(|why| format!("write {number} of its plan: {why}")));
    let events = plan.events.into_iter().map(|event| PolicyEvent {
        about: kernel_key(&event.about),
        warning: event.severity == types::Severity::Warning,
        reason: event.reason.chars().take(128).collect(),
        message: event.message.chars().take(1024).collect(),
    });
    let wake_ups = plan
        .wake_ups
        .iter()
        .map(|wake| (kernel_key(&wake.key), Duration::from_millis(wake.after_ms)));
    Ok(ControllerPlan {
        writes: writes.collect::<Result<_, _>>()?,
        events: events.collect(),
        wake_ups: wake_ups.collect(),
    })
}

fn kernel_write(write: types::Write) -> Result<Write, String> {
    let key = kernel_key(&write.key);
    let kind = kinds::of_resource(&key.resource).ok_or_else(|| format!("no resource \"{}\" is known", key.resource))?;
    if kind.namespaced == key.namespace.is_empty() {
        return Err(format!(
            "{key} {} a namespace",
            if kind.namespaced { "needs" } else { "has no" }
        ));
    }
    if &*key.resource == PLUGINS {
        return Err(format!("{key}: policies do not decide about policies"));
    }
    let object = |json: &str| -> Result<Object, String> {
        let object = Object::from_json(json.as_bytes()).map_err(|error| error.message)?;
        let own = object.key().map_err(|error| error.message)?;
        let elsewhere = |own: &str, key: &str| !own.is_empty() && own != key;
        if own.resource != key.resource
            || (!key.name.is_empty() && own.name != key.name)
            || elsewhere(&own.namespace, &key.namespace)
        {
            return Err(format!("the object is {own}, and its key {key}"));
        }
        Ok(object)
    };
    let patch = |json: &str| -> Result<Value, String> {
        if json.len() > MAX_OBJECT_BYTES {
            return Err(format!(
                "the patch has {} bytes, and {MAX_OBJECT_BYTES} are the limit",
                json.len()
            ));
        }
        let value: Value =
            serde_json::from_str(json).map_err(|error| format!("the patch is not valid JSON: {error}"))?;
        if value.is_object() {
            Ok(value)
        } else {
            Err("the patch is no JSON object".to_owned())
        }
    };
    let operation = match &write.operation {
        types::Operation::Create(json) => Operation::Create(object(json)?),
        types::Operation::Replace(json) => Operation::Replace(object(json)?),
        types::Operation::ReplaceStatus(json) => Operation::ReplaceStatus(object(json)?),
        types::Operation::Patch(json) => Operation::Merge(patch(json)?),
        types::Operation::PatchStatus(json) => Operation::MergeStatus(patch(json)?),
        types::Operation::Delete => Operation::Delete(Deletion::default()),
    };
    if key.name.is_empty() && !matches!(operation, Operation::Create(_)) {
        return Err(format!("a key of {} has no name", key.resource));
    }
    Ok(Write {
        key,
        operation,
        expect: write.expect.unwrap_or_default(),
    })
}
