//! Binding a pod to a node. This is the committer's check: whatever a policy said, what does not fit is refused here.
use super::Draft;
use crate::index::{is_finished, node_of, requests};
use k8s_openapi::api::core::v1::{NodeSpec, NodeStatus, PodSpec, Taint, Toleration};
use sampan_api::{
    ApiError, Key, Object, Reason,
    plan::{Binding, POLICY_ANNOTATION},
    quantity::Resources,
};
use serde_json::{Value, json};

impl Draft<'_> {
    pub(super) fn bind(&mut self, key: Key, mut pod: Object, binding: &Binding) -> Result<(), ApiError> {
        let refuse = |why: String| Err(ApiError::new(Reason::Conflict, format!("cannot bind {key} to {}: {why}", binding.node)));
        if &*key.resource != "pods" {
            return refuse("it is no pod".to_owned());
        }
        let bound = node_of(&pod);
        if !bound.is_empty() {
            return refuse(format!("it is bound to {bound}"));
        }
        if pod.metadata.deletion_timestamp.is_some() || is_finished(&pod) {
            return refuse("it is ending".to_owned());
        }
        let Some(node) = self.peek(&Key::new("nodes", "", &binding.node)) else {
            return refuse("there is no such node".to_owned());
        };
        let asked = requests(&pod);
        // Pods bound earlier in this plan count too.
        let used = self.bound_here(&binding.node).plus(self.state.index.usage(&binding.node));
        if let Some(why) = turns_down(&node, &pod, asked, used) {
            return refuse(why);
        }
        let mut spec = pod.field_value("spec");
        spec["nodeName"] = Value::from(binding.node.as_str());
        pod.set_field("spec", &spec);
        pod.metadata.annotations.insert(POLICY_ANNOTATION.to_owned(), binding.policy.clone());
        let status = scheduled(pod.field_value("status"), &self.now.to_string());
        pod.set_field("status", &status);
        self.put(key, pod);
        Ok(())
    }

    /// What the pods that this draft has bound to a node ask for.
    fn bound_here(&self, node: &str) -> Resources {
        let pods = self.changes.iter().filter(|(key, _)| &*key.resource == "pods");
        let pods = pods.filter_map(|(_, pod)| pod.as_ref()).filter(|pod| node_of(pod) == node);
        pods.fold(Resources::default(), |sum, pod| sum.plus(requests(pod)))
    }
}

/// Why a node does not take a pod.
fn turns_down(node: &Object, pod: &Object, asked: Resources, used: Resources) -> Option<String> {
    let spec: NodeSpec = node.field("spec").unwrap_or_default();
    let status: NodeStatus = node.field("status").unwrap_or_default();
    if spec.unschedulable == Some(true) {
        return Some("the node is cordoned".to_owned());
    }
    let tolerations = pod.field::<PodSpec>("spec").unwrap_or_default().tolerations.unwrap_or_default();
    for taint in spec.taints.iter().flatten().filter(|taint| taint.effect != "PreferNoSchedule") {
        if !tolerations.iter().any(|toleration| tolerates(toleration, taint)) {
            return Some(format!("the node has the taint {}:{}, which the pod does not tolerate", taint.key, taint.effect));
        }
    }
    let amounts = status.allocatable.or(status.capacity).unwrap_or_default();
    let all = Resources::from_quantities(amounts.iter().map(|(name, quantity)| (name.as_str(), quantity.0.as_str())));
    let free = all.unwrap_or_default().minus(used);
    (!asked.fits(free)).then(|| {
        format!(
            "the node is full: the pod asks for {} mCPU and {} bytes of memory, and {} mCPU, {} bytes and {} pods are free",
            asked.milli_cpu, asked.memory, free.milli_cpu, free.memory, free.pods
        )
    })
}

/// Kubernetes' rule: an absent key matches all with `Exists`, an absent effect matches all.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let key = text(&toleration.key);
    let effect = text(&toleration.effect);
    (effect.is_empty() || effect == taint.effect)
        && (if key.is_empty() { exists } else { key == taint.key })
        && (exists || text(&toleration.value) == text(&taint.value))
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
