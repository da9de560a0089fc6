//! The controller `node-lifecycle`: taints on nodes that are not ready, and the eviction of pods that do not bear them.
use sampan_sdk::{
    Value,
    controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
    time,
};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// All that is read of a pod.
const POD: &[&str] = &[
    "metadata",
    "spec.nodeName",
    "spec.tolerations",
    "status.phase",
    "status.conditions",
];

/// Pods deleted in one plan at the most; the rest comes with the next.
const AT_ONCE: usize = 500;

/// Seconds that a pod without a toleration of its own stays on a node that is not ready; Kubernetes' default.
const EVICTION_SECONDS: u64 = 300;

#[derive(Default)]
pub struct NodeLifecycle {
    eviction_seconds: Option<u64>,
}

impl Controller for NodeLifecycle {
    fn describe() -> Description {
        description(
            "node-lifecycle",
            env!("CARGO_PKG_VERSION"),
            "Taints nodes that are away and evicts their pods.",
        )
    }

    fn configure(&mut self, config: &Value) -> Result<(), String> {
        let seconds = &config["evictionSeconds"];
        if !seconds.is_null() && seconds.as_u64().is_none() {
            return Err(format!(
                "evictionSeconds is {seconds}: expected a number of seconds, 0 or more"
            ));
        }
        self.eviction_seconds = seconds.as_u64();
        Ok(())
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("nodes")]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let Some(node) = snapshot.get(key) else {
            // What has ended stays, for those who count it.
            let lost = pods_on(key, snapshot);
            lost.iter().take(AT_ONCE).for_each(|pod| bury(&mut plan, pod, now_ms));
            if lost.len() > AT_ONCE {
                plan.wake_up(key, 0);
            }
            return Ok(plan);
        };
        let taints = taints(&node, now_ms);
        if node.spec()["taints"].as_array().cloned().unwrap_or_default() != taints {
            let taints_or_none = if taints.is_empty() { Value::Null } else { json!(taints) };
            plan.patch(&node, json!({"spec": {"taints": taints_or_none}}));
        }
        tell(&mut plan, &node, &taints);
        if is_away(&taints) && unready(&mut plan, key, snapshot, now_ms) {
            plan.wake_up(key, 0);
        }
        let executing: Vec<&Value> = taints.iter().filter(|taint| taint["effect"] == "NoExecute").collect();
        if !executing.is_empty() {
            let mut next = u64::MAX;
            for pod in pods_on(key, snapshot)
                .iter()
                .filter(|pod| !pod.is_deleting())
                .take(AT_ONCE)
            {
                match self.evicted_at(pod, &executing) {
                    Some(at) if at <= now_ms => {
                        plan.normal(
                            pod,
                            "TaintManagerEviction",
                            format!("Marking for deletion Pod {}/{}", pod.key.namespace, pod.name()),
                        );
                        plan.delete(pod);
                    }
                    at => next = next.min(at.unwrap_or(u64::MAX)),
                }
            }
            if next < u64::MAX {
                plan.wake_up(key, next - now_ms);
            }
        }
        Ok(plan)
    }
}

/// The node's taints as they are to be: others' stay, in their order, and those of this controller follow the state.
fn taints(node: &Object, now_ms: u64) -> Vec<Value> {
    let ready = node
        .condition("Ready")
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or("Unknown");
    let mut wanted = Vec::new();
    if node.spec()["unschedulable"] == true {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let away = match ready {
        "True" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    wanted.extend(
        away.into_iter()
            .flat_map(|key| [(key, "NoSchedule"), (key, "NoExecute")]),
    );
    let known = node.spec()["taints"].as_array().cloned().unwrap_or_default();
    let is = |taint: &Value, (key, effect): (&str, &str)| taint["key"] == key && taint["effect"] == effect;
    let ours = |taint: &Value| {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE]
            .iter()
            .any(|key| taint["key"] == *key)
    };
    let mut taints: Vec<Value> = known
        .iter()
        .filter(|taint| !ours(taint) || wanted.iter().any(|one| is(taint, *one)))
        .cloned()
        .collect();
    for one in wanted {
        if !taints.iter().any(|taint| is(taint, one)) {
            let mut taint = json!({"key": one.0, "effect": one.1});
            if one.1 == "NoExecute" {
                taint["timeAdded"] = json!(time::format(now_ms));
            }
            taints.push(taint);
        }
    }
    taints
}

fn is_away(taints: &[Value]) -> bool {
    let mut keys = taints.iter().map(|taint| &taint["key"]);
    keys.any(|key| key == NOT_READY || key == UNREACHABLE)
}

/// The pods of a node that is not ready are not ready: nobody is to be sent to them. Their agent says otherwise when it is
/// back. Whether there are more of them.
fn unready(plan: &mut Plan, node: &Key, snapshot: &dyn Snapshot, now_ms: u64) -> bool {
    let ready: Vec<Object> = pods_on(node, snapshot)
        .into_iter()
        .filter(|pod| pod.has_condition("Ready", "True"))
        .collect();
    for pod in ready.iter().take(AT_ONCE) {
        let mut conditions = pod.status()["conditions"].as_array().cloned().unwrap_or_default();
        for condition in conditions.iter_mut().filter(|condition| condition["type"] == "Ready") {
            *condition = json!({
                "type": "Ready", "status": "False", "reason": "NodeNotReady", "message": "the pod's node is not ready",
                "lastTransitionTime": time::format(now_ms),
            });
        }
        plan.patch_status(pod, json!({"conditions": conditions}));
    }
    ready.len() > AT_ONCE
}

/// Tells of a node that goes away or comes back.
fn tell(plan: &mut Plan, node: &Object, taints: &[Value]) {
    let known = node.spec()["taints"].as_array().map_or(&[][..], Vec::as_slice);
    let what = match (is_away(known), is_away(taints)) {
        (false, true) => "NodeNotReady",
        (true, false) => "NodeReady",
        _ => return,
    };
    plan.normal(node, what, format!("Node {} status is now: {what}", node.name()));
}

/// The pods bound to a node that have not ended.
fn pods_on(node: &Key, snapshot: &dyn Snapshot) -> Vec<Object> {
    let mut pods = snapshot.list(&Query::on_node(&node.name).only(POD));
    pods.retain(|pod| !matches!(pod.phase(), "Succeeded" | "Failed"));
    pods
}

/// Deletes a pod whose node is gone. Nobody is left there to end it, so it is said to have failed first: a pod that has
/// ended needs no time to end.
fn bury(plan: &mut Plan, pod: &Object, now_ms: u64) {
    let reason = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists", "lastTransitionTime": time::format(now_ms),
    });
    let known = pod.status()["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions: Vec<Value> = known
        .into_iter()
        .filter(|known| known["type"] != reason["type"])
        .collect();
    conditions.push(reason);
    plan.patch_status(
        pod,
        json!({"phase": "Failed", "reason": "NodeLost", "conditions": conditions}),
    );
    plan.delete(pod);
}

impl NodeLifecycle {
    /// When the pod has to go: never if it bears all the taints for ever.
    fn evicted_at(&self, pod: &Object, taints: &[&Value]) -> Option<u64> {
        let tolerations = pod.spec()["tolerations"].as_array().cloned().unwrap_or_default();
        let away = |taint: &Value| taint["key"] == NOT_READY || taint["key"] == UNREACHABLE;
        let until = |taint: &&Value| {
            let since = taint["timeAdded"].as_str().and_then(time::parse).unwrap_or(0);
            let borne: Vec<_> = tolerations
                .iter()
                .filter(|toleration| tolerates(toleration, taint))
                .collect();
            let seconds = match borne.is_empty() {
                // What Kubernetes gives every pod for nodes that are away; other taints are not borne at all.
                true if away(taint) => Some(self.eviction_seconds.unwrap_or(EVICTION_SECONDS)),
                true => Some(0),
                false => borne
                    .iter()
                    .map(|t| t["tolerationSeconds"].as_u64())
                    .min_by_key(|s| s.unwrap_or(u64::MAX))
                    .flatten(),
            };
            seconds.map(|seconds| since + seconds * 1000)
        };
        taints.iter().filter_map(until).min()
    }
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let exists = toleration["operator"] == "Exists";
    let (key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
    (effect.is_empty() || taint["effect"] == effect.as_str())
        && (if key.is_empty() {
            exists
        } else {
            taint["key"] == key.as_str()
        })
        && (exists || text(&toleration["value"]) == text(&taint["value"]))
}

sampan_sdk::export_controller!(NodeLifecycle);

#[cfg(test)]
mod tests {
    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::NodeLifecycle>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }
}
