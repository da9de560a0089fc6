//! Moving pods from old ReplicaSets to the new one, within maxSurge and maxUnavailable.
use crate::status::available;
use sampan_sdk::{
    Value,
    controller::{Object, Plan},
    serde_json::json,
};

/// What the strategy allows, in pods.
pub struct Bounds {
    pub wanted: i64,
    pub surge: i64,
    pub unavailable: i64,
}

pub fn bounds(deployment: &Object) -> Bounds {
    let wanted = deployment.spec_number("/replicas", 1);
    let share = |name: &str, up: bool| {
        let value = deployment.spec().pointer(&format!("/strategy/rollingUpdate/{name}")).unwrap_or(&Value::Null);
        let percent = match value {
            Value::Number(number) => return number.as_i64().unwrap_or(0),
            Value::String(text) => text.trim_end_matches('%').parse().unwrap_or(25),
            _ => 25,
        };
        // Kubernetes rounds the surge up and the unavailable down.
        if up { (wanted * percent + 99) / 100 } else { wanted * percent / 100 }
    };
    if is_recreate(deployment) {
        return Bounds { wanted, surge: 0, unavailable: wanted };
    }
    let (surge, mut unavailable) = (share("maxSurge", true), share("maxUnavailable", false).min(wanted));
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    Bounds { wanted, surge, unavailable }
}

fn is_recreate(deployment: &Object) -> bool {
    deployment.spec()["strategy"]["type"] == "Recreate"
}

fn replicas(set: &Object) -> i64 {
    set.spec_number("/replicas", 0)
}

/// How many pods a new ReplicaSet may begin with.
pub fn first_replicas(deployment: &Object, sets: &[Object]) -> i64 {
    let Bounds { wanted, surge, .. } = bounds(deployment);
    let old: i64 = sets.iter().map(replicas).sum();
    let pods: i64 = sets.iter().map(|set| set.status()["replicas"].as_i64().unwrap_or(0)).sum();
    if is_recreate(deployment) {
        return if old + pods == 0 { wanted } else { 0 };
    }
    (wanted + surge - old).clamp(0, wanted)
}

fn scale(plan: &mut Plan, deployment: &Object, set: &Object, to: i64) {
    let from = replicas(set);
    if from == to {
        return;
    }
    plan.patch(set, json!({"spec": {"replicas": to}}));
    let way = if to > from { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {} from {from} to {to}", set.name());
    plan.normal(deployment, "ScalingReplicaSet", message);
}

/// One step forward.
pub fn advance(plan: &mut Plan, deployment: &Object, sets: &[Object], current: Option<&Object>) {
    let Some(current) = current else { return };
    let old: Vec<&Object> = sets.iter().filter(|set| set.key != current.key).collect();
    let bounds = bounds(deployment);
    if is_recreate(deployment) {
        old.iter().for_each(|set| scale(plan, deployment, set, 0));
        let pods: i64 = old.iter().map(|set| set.status()["replicas"].as_i64().unwrap_or(0)).sum();
        if pods == 0 && old.iter().all(|set| replicas(set) == 0) {
            scale(plan, deployment, current, bounds.wanted);
        }
        return;
    }
    let old_total: i64 = old.iter().map(|set| replicas(set)).sum();
    // Up: as far as the surge allows. A lower wish is followed at once.
    let room = (bounds.wanted + bounds.surge - old_total - replicas(current)).max(0);
    let next = if replicas(current) > bounds.wanted { bounds.wanted } else { (replicas(current) + room).min(bounds.wanted) };
    scale(plan, deployment, current, next);
    // Down: as many as may go, so that enough stay available. Pods that are not available go first and cost nothing.
    let enough = bounds.wanted - bounds.unavailable;
    let new_unavailable = replicas(current) - available(current).min(replicas(current));
    let mut may_go = (old_total + replicas(current) - enough - new_unavailable).max(0);
    let mut left: Vec<(&Object, i64)> = old.iter().map(|set| (*set, replicas(set))).collect();
    left.sort_by_key(|(set, _)| (set.created_ms(), set.key.name.clone()));
    for (set, count) in &mut left {
        let broken = (*count - available(set)).clamp(0, may_go);
        *count -= broken;
        may_go -= broken;
    }
    let still: i64 = left.iter().map(|(set, count)| available(set).min(*count)).sum();
    let mut may_go = (still + available(current) - enough).clamp(0, still);
    for (_, count) in &mut left {
        let going = may_go.min(*count);
        *count -= going;
        may_go -= going;
    }
    left.iter().for_each(|(set, count)| scale(plan, deployment, set, *count));
}

/// A paused deployment follows its wish without moving on: every ReplicaSet keeps its share, the largest takes the rest.
pub fn scale_in_proportion(plan: &mut Plan, deployment: &Object, sets: &[Object], current: Option<&Object>) {
    let bounds = bounds(deployment);
    let mut active: Vec<&Object> = sets.iter().filter(|set| replicas(set) > 0).collect();
    if active.is_empty() {
        active.extend(current);
    }
    let total: i64 = active.iter().map(|set| replicas(set)).sum();
    let target = if active.len() > 1 { bounds.wanted + bounds.surge } else { bounds.wanted };
    if total == target || (active.len() > 1 && total >= bounds.wanted && total <= target) {
        return;
    }
    active.sort_by_key(|set| (-replicas(set), set.key.name.clone()));
    let mut shares: Vec<i64> =
        active.iter().map(|set| if total == 0 { 0 } else { replicas(set) * target / total }).collect();
    let given: i64 = shares.iter().sum();
    if let Some(first) = shares.first_mut() {
        *first += target - given;
    }
    active.iter().zip(shares).for_each(|(set, share)| scale(plan, deployment, set, share));
}
