//! Moving pods from old ReplicaSets to the new one, within maxSurge and maxUnavailable.
use crate::status::available;
use sampan_sdk::{
    Value,
    controller::{Object, Plan},
    serde_json::json,
};

/// What a ReplicaSet was last scaled for: the pods that the deployment wanted, and how many it allowed.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";

/// What the strategy allows, in pods.
pub struct Bounds {
    pub wanted: i64,
    pub surge: i64,
    pub unavailable: i64,
}

impl Bounds {
    /// How many pods there may be.
    fn most(&self) -> i64 {
        if self.wanted == 0 { 0 } else { self.wanted + self.surge }
    }

    /// The annotations of a ReplicaSet that is scaled within them.
    pub fn annotations(&self) -> Value {
        json!({DESIRED: self.wanted.to_string(), MOST: self.most().to_string()})
    }
}

pub fn bounds(deployment: &Object) -> Bounds {
    let wanted = deployment.spec_number("/replicas", 1);
    let share = |name: &str, up: bool| {
        let value = deployment
            .spec()
            .pointer(&format!("/strategy/rollingUpdate/{name}"))
            .unwrap_or(&Value::Null);
        let percent = match value {
            Value::Number(number) => return number.as_i64().unwrap_or(0),
            Value::String(text) => text.trim_end_matches('%').parse().unwrap_or(25),
            _ => 25,
        };
        // Kubernetes rounds the surge up and the unavailable down.
        if up {
            (wanted * percent + 99) / 100
        } else {
            wanted * percent / 100
        }
    };
    if is_recreate(deployment) {
        return Bounds {
            wanted,
            surge: 0,
            unavailable: wanted,
        };
    }
    let (surge, mut unavailable) = (share("maxSurge", true), share("maxUnavailable", false).min(wanted));
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    Bounds {
        wanted,
        surge,
        unavailable,
    }
}

fn is_recreate(deployment: &Object) -> bool {
    deployment.spec()["strategy"]["type"] == "Recreate"
}

fn replicas(set: &Object) -> i64 {
    set.spec_number("/replicas", 0)
}

/// Pods of a ReplicaSet that run or are ending.
fn pods(set: &Object) -> i64 {
    let count = |field: &str| set.status()[field].as_i64().unwrap_or(0);
    count("replicas") + count("terminatingReplicas")
}

fn number(set: &Object, annotation: &str) -> Option<i64> {
    set.annotation(annotation).and_then(|text| text.parse().ok())
}

/// How many pods a new ReplicaSet may begin with.
pub fn first_replicas(deployment: &Object, sets: &[Object]) -> i64 {
    let Bounds { wanted, surge, .. } = bounds(deployment);
    let old: i64 = sets.iter().map(replicas).sum();
    if is_recreate(deployment) {
        return if old + sets.iter().map(pods).sum::<i64>() == 0 {
            wanted
        } else {
            0
        };
    }
    (wanted + surge - old).clamp(0, wanted)
}

fn scale(plan: &mut Plan, deployment: &Object, set: &Object, to: i64) {
    let from = replicas(set);
    if from == to {
        return;
    }
    resize(plan, deployment, set, to);
    let way = if to > from { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {} from {from} to {to}", set.name());
    plan.normal(deployment, "ScalingReplicaSet", message);
}

/// Scales, or notes at least what the size is right for.
fn settle(plan: &mut Plan, deployment: &Object, set: &Object, to: i64) {
    if replicas(set) == to {
        resize(plan, deployment, set, to)
    } else {
        scale(plan, deployment, set, to)
    }
}

/// Writes a size and what it was reckoned for, where either is new.
fn resize(plan: &mut Plan, deployment: &Object, set: &Object, to: i64) {
    let annotations = bounds(deployment).annotations();
    plan.patch(
        set,
        json!({"metadata": {"annotations": annotations}, "spec": {"replicas": to}}),
    );
}

/// One step forward.
pub fn advance(plan: &mut Plan, deployment: &Object, sets: &[Object], current: Option<&Object>) {
    let Some(current) = current else { return };
    let old: Vec<&Object> = sets.iter().filter(|set| set.key != current.key).collect();
    let bounds = bounds(deployment);
    if is_recreate(deployment) {
        old.iter().for_each(|set| scale(plan, deployment, set, 0));
        if old.iter().all(|set| replicas(set) + pods(set) == 0) {
            scale(plan, deployment, current, bounds.wanted);
        }
        return;
    }
    let old_total: i64 = old.iter().map(|set| replicas(set)).sum();
    // Up: as far as the surge allows. A lower wish is followed at once.
    let room = (bounds.wanted + bounds.surge - old_total - replicas(current)).max(0);
    let next = if replicas(current) > bounds.wanted {
        bounds.wanted
    } else {
        (replicas(current) + room).min(bounds.wanted)
    };
    scale(plan, deployment, current, next);
    // Down: as many as may go, so that enough stay available. Pods that are not available go first and cost nothing.
    let enough = bounds.wanted - bounds.unavailable;
    let staying = available(current).min(replicas(current)).min(next);
    let new_unavailable = replicas(current).min(next) - staying;
    let mut may_go = (old_total + replicas(current).min(next) - enough - new_unavailable).max(0);
    let mut left: Vec<(&Object, i64)> = old.iter().map(|set| (*set, replicas(set))).collect();
    left.sort_by_key(|(set, _)| (set.created_ms(), set.key.name.clone()));
    for (set, count) in &mut left {
        let broken = (*count - available(set)).clamp(0, may_go);
        *count -= broken;
        may_go -= broken;
    }
    let still: i64 = left.iter().map(|(set, count)| available(set).min(*count)).sum();
    let mut may_go = (still + staying - enough).clamp(0, still);
    for (_, count) in &mut left {
        let going = may_go.min(*count);
        *count -= going;
        may_go -= going;
    }
    left.iter()
        .for_each(|(set, count)| scale(plan, deployment, set, *count));
}

/// Whether the deployment was scaled in the middle of a rollout: ReplicaSets with pods were sized for another wish.
pub fn is_rescaled(deployment: &Object, sets: &[Object]) -> bool {
    let wanted = bounds(deployment).wanted;
    let mut active = sets.iter().filter(|set| replicas(set) > 0);
    !is_recreate(deployment) && active.any(|set| number(set, DESIRED).is_some_and(|desired| desired != wanted))
}

/// Follows the deployment's wish without moving on: every ReplicaSet keeps its share, the largest takes the rest.
pub fn scale_in_proportion(plan: &mut Plan, deployment: &Object, sets: &[Object], current: Option<&Object>) {
    let bounds = bounds(deployment);
    let mut active: Vec<&Object> = sets.iter().filter(|set| replicas(set) > 0).collect();
    if active.is_empty() {
        active.extend(current);
    }
    if active.len() < 2 {
        for set in active {
            settle(plan, deployment, set, bounds.wanted);
        }
        return;
    }
    let total: i64 = active.iter().map(|set| replicas(set)).sum();
    let to_add = bounds.most() - total;
    // Of equals the newer one grows and the older one shrinks.
    let age = |set: &Object| i64::try_from(set.created_ms()).unwrap_or(i64::MAX) * if to_add > 0 { -1 } else { 1 };
    active.sort_by_key(|set| (-replicas(set), age(set), set.key.name.clone()));
    // Paused in the middle of a rollout, and nobody has changed the wish: all stay as they are.
    if !is_rescaled(deployment, sets) {
        return;
    }
    let mut added = 0;
    let mut sizes: Vec<i64> = Vec::new();
    for set in &active {
        let (share, left) = (share(deployment, &bounds, set) - replicas(set), to_add - added);
        let change = if to_add > 0 {
            share.clamp(0, left)
        } else {
            share.clamp(left, 0)
        };
        added += change;
        sizes.push(replicas(set) + change);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in active.iter().zip(sizes) {
        settle(plan, deployment, set, size);
    }
}

/// The size of a ReplicaSet, were all of them scaled alike.
fn share(deployment: &Object, bounds: &Bounds, set: &Object) -> i64 {
    let known = number(set, MOST)
        .or_else(|| deployment.status()["replicas"].as_i64())
        .unwrap_or(0)
        .max(1);
    (2 * replicas(set) * bounds.most() + known) / (2 * known)
}
