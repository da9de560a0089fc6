//! Binding a pod to a node. This is the committer's check: whatever a policy said, what does not fit is refused here.
use super::Draft;
use crate::{
    index::counts,
    priority,
    room::Room,
    view::{NodeView, PodView, is_finished},
};
use sampan_api::{
    ApiError, Key, Object, Reason,
    plan::{Binding, POLICY_ANNOTATION},
};
use serde_json::{Value, json, value::RawValue};
use std::sync::Arc;

impl Draft<'_> {
    pub(super) fn bind(&mut self, key: Key, mut pod: Object, binding: &Binding) -> Result<(), ApiError> {
        let refused = |why: String| {
            ApiError::new(
                Reason::Conflict,
                format!("cannot bind {key} to {}: {why}", binding.node),
            )
        };
        if &*key.resource != "pods" {
            return Err(refused("it is no pod".to_owned()));
        }
        let view = PodView::of(&pod).map_err(|why| refused(format!("its spec cannot be read: {why}")))?;
        if !view.node.is_empty() {
            return Err(refused(format!("it is bound to {}", view.node)));
        }
        if pod.metadata.deletion_timestamp.is_some() || is_finished(&pod) {
            return Err(refused("it is ending".to_owned()));
        }
        let node = self
            .node(&binding.node)
            .ok_or_else(|| refused("there is no such node".to_owned()))?;
        let used = self.used(&binding.node);
        if let Some(why) = turns_down(&node, &view, &used) {
            return Err(refused(why));
        }
        if self.level() >= u64::from(priority::LEVEL)
            && let Some(why) = holds_back(&node, &view, used)
        {
            return Err(refused(why));
        }
        let spec = with_node(&pod, &binding.node).ok_or_else(|| refused("its spec is no object".to_owned()))?;
        pod.fields.set("spec", spec);
        pod.metadata
            .annotations
            .insert(POLICY_ANNOTATION.to_owned(), binding.policy.clone());
        let status = scheduled(super::field(&key, &pod, "status")?, &self.now.to_string());
        pod.set_field("status", &status);
        self.put(key, pod)
    }

    /// A node as the writes so far leave it.
    fn node(&self, name: &str) -> Option<Arc<NodeView>> {
        let changed = match self.changes.len() {
            // Nothing but the pod.
            0 | 1 => None,
            _ => self.changes.get(&Key::new("nodes", "", name)),
        };
        match changed {
            Some(change) => change.now().map(|node| Arc::new(NodeView::of(node))),
            None => self.state.index.node(name),
        }
    }

    /// What the pods on a node ask for as the writes so far leave it.
    fn used(&self, node: &str) -> Room {
        let (mut more, mut less) = (Room::default(), Room::default());
        for (key, pod) in self.changes.iter().filter(|(key, _)| &*key.resource == "pods") {
            less = less.plus(&self.state.index.counted(key, node));
            let counts = pod.now().and_then(counts).filter(|(on, _)| on == node);
            more = more.plus(&counts.map(|(_, amount)| amount).unwrap_or_default());
        }
        self.state.index.usage(node).plus(&more).minus(&less)
    }
}

/// Why a node does not take a pod.
fn turns_down(node: &NodeView, pod: &PodView, used: &Room) -> Option<String> {
    if node.cordoned {
        return Some("the node is cordoned".to_owned());
    }
    for taint in node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule") {
        if !pod.tolerations.iter().any(|toleration| toleration.tolerates(taint)) {
            return Some(format!(
                "the node has the taint {}:{}, which the pod does not tolerate",
                taint.key, taint.effect
            ));
        }
    }
    let (asks, free) = (pod.asks.usual, node.has.usual.minus(used.usual));
    (!asks.fits(free)).then(|| {
        format!(
            "the node is full: the pod asks for {} mCPU, {} bytes of memory and {} of storage; free are {} mCPU, {} and {} \
             bytes, and {} pods",
            asks.milli_cpu,
            asks.memory,
            asks.ephemeral_storage,
            free.milli_cpu,
            free.memory,
            free.ephemeral_storage,
            free.pods
        )
    })
}

/// As [`turns_down`], by what builds below the level of features did not look at: gates, and extended resources.
fn holds_back(node: &NodeView, pod: &PodView, used: Room) -> Option<String> {
    if pod.gated {
        return Some("the pod has scheduling gates".to_owned());
    }
    if let Some(name) = &pod.unreadable {
        return Some(format!("what it asks for of {name} is no quantity"));
    }
    let free = node.has.clone().minus(&used);
    let (name, asked, free) = pod.asks.short_of(&free)?;
    Some(format!(
        "the node is full: the pod asks for {asked} of {name}, and {free} are free"
    ))
}

/// The pod's spec with a node's name in it. Where it has no such field yet, which is the rule, the text is kept as it is.
fn with_node(pod: &Object, node: &str) -> Option<Box<RawValue>> {
    let text = pod.fields.get("spec").map_or("{}", |raw| raw.get());
    let rest = text.strip_prefix('{').filter(|_| !text.contains("\"nodeName\""));
    let text = match rest {
        Some(rest) => {
            let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
            format!("{{\"nodeName\":{}{comma}{rest}", Value::from(node))
        }
        None => {
            let mut spec: Value = serde_json::from_str(text).ok()?;
            match &mut spec {
                Value::Null => spec = json!({ "nodeName": node }),
                Value::Object(fields) => drop(fields.insert("nodeName".to_owned(), node.into())),
                _ => return None,
            }
            spec.to_string()
        }
    };
    RawValue::from_string(text).ok()
}

/// The status of a pod that has a node now.
fn scheduled(status: Value, now: &str) -> Value {
    let mut status = if status.is_object() { status } else { json!({}) };
    let others = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions: Vec<Value> = others.into_iter().filter(|c| c["type"] != "PodScheduled").collect();
    conditions.push(json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now}));
    status["conditions"] = conditions.into();
    if status["phase"].is_null() {
        status["phase"] = "Pending".into();
    }
    status
}
