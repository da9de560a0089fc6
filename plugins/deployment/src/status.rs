//! What a deployment says of its progress: counts and the conditions Available and Progressing.
use crate::rollout::bounds;
use sampan_sdk::{
    Value,
    controller::{Object, Plan},
    serde_json::json,
    time,
};

/// Seconds without progress until it is told, where the deployment says nothing.
const DEADLINE_SECONDS: i64 = 600;

fn count(set: &Object, field: &str) -> i64 {
    set.status()[field].as_i64().unwrap_or(0)
}

/// How many pods of a ReplicaSet are available.
pub fn available(set: &Object) -> i64 {
    count(set, "availableReplicas")
}

/// Whether the rollout is done: all pods are of the current template and available.
pub fn is_complete(deployment: &Object, sets: &[Object], current: Option<&Object>) -> bool {
    let wanted = deployment.spec_number("/replicas", 1);
    let total: i64 = sets.iter().map(|set| count(set, "replicas")).sum();
    current.is_some_and(|set| count(set, "replicas") == wanted && available(set) == wanted && total == wanted)
}

pub fn report(plan: &mut Plan, deployment: &Object, sets: &[Object], current: Option<&Object>, now_ms: u64) {
    let sum = |field: &str| sets.iter().map(|set| count(set, field)).sum::<i64>();
    let (total, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
    let updated = current.map_or(0, |set| count(set, "replicas"));
    let bounds = bounds(deployment);
    let enough = available >= bounds.wanted - bounds.unavailable;
    let number = |count: i64| if count == 0 { Value::Null } else { json!(count) };
    let availability = match enough {
        true => ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.".to_owned()),
        false => ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.".to_owned()),
    };
    let mut conditions = Vec::new();
    conditions.extend(condition(deployment, "Available", availability, false, now_ms));
    let done = is_complete(deployment, sets, current);
    let moved = [("updatedReplicas", updated), ("readyReplicas", ready), ("availableReplicas", available)]
        .iter()
        .any(|(field, now)| deployment.status()[field].as_i64().unwrap_or(0) < *now)
        || total < deployment.status()["replicas"].as_i64().unwrap_or(0);
    conditions.extend(progressing(plan, deployment, current, (done, moved), now_ms));
    plan.patch_status(
        deployment,
        json!({
            "observedGeneration": deployment.generation(),
            "replicas": number(total),
            "updatedReplicas": number(updated),
            "readyReplicas": number(ready),
            "availableReplicas": number(available),
            "unavailableReplicas": number((bounds.wanted - available).max(0)),
            "conditions": conditions,
        }),
    );
}

fn progressing(
    plan: &mut Plan,
    deployment: &Object,
    current: Option<&Object>,
    (done, moved): (bool, bool),
    now_ms: u64,
) -> Option<Value> {
    let known = deployment.condition("Progressing").cloned();
    let name = current.map_or_else(|| deployment.name().to_owned(), |set| set.name().to_owned());
    if deployment.spec()["paused"] == true {
        let message = "Deployment is paused".to_owned();
        return condition(deployment, "Progressing", ("Unknown", "DeploymentPaused", message), false, now_ms);
    }
    if done {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return condition(deployment, "Progressing", ("True", "NewReplicaSetAvailable", message), false, now_ms);
    }
    let was_done = known.as_ref().is_none_or(|condition| condition["reason"] == "NewReplicaSetAvailable");
    let since = known.as_ref().and_then(|condition| condition["lastUpdateTime"].as_str()).and_then(time::parse);
    let deadline_ms = u64::try_from(deployment.spec_number("/progressDeadlineSeconds", DEADLINE_SECONDS)).unwrap_or(0) * 1000;
    let until = since.filter(|_| !moved && !was_done).unwrap_or(now_ms) + deadline_ms;
    if until <= now_ms {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        return condition(deployment, "Progressing", ("False", "ProgressDeadlineExceeded", message), false, now_ms);
    }
    plan.wake_up(&deployment.key, until - now_ms);
    let message = format!("ReplicaSet \"{name}\" is progressing.");
    condition(deployment, "Progressing", ("True", "ReplicaSetUpdated", message), moved || was_done, now_ms)
}

/// A condition as it is to be; its times stay while it says the same.
fn condition(
    deployment: &Object,
    kind: &str,
    (status, reason, message): (&str, &str, String),
    touched: bool,
    now_ms: u64,
) -> Option<Value> {
    let now = json!(time::format(now_ms));
    let known = deployment.condition(kind);
    let same = |field: &str, value: &str| known.is_some_and(|known| known[field] == value);
    let kept = |field: &str| known.map_or_else(|| now.clone(), |known| known[field].clone());
    let unchanged = same("status", status) && same("reason", reason) && same("message", &message);
    let transition = if same("status", status) { kept("lastTransitionTime") } else { now.clone() };
    let update = if unchanged && !touched { kept("lastUpdateTime") } else { now };
    Some(json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": update, "lastTransitionTime": transition,
    }))
}
