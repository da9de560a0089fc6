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

/// What a deployment is seen to have.
pub struct Shown<'a> {
    pub sets: &'a [Object],
    /// The ReplicaSet of the template, and where there was none, the name of the one just made.
    pub current: Option<&'a Object>,
    pub created: Option<String>,
}

/// Pods of a deployment.
struct Counts {
    total: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Counts {
    fn of(shown: &Shown<'_>) -> Self {
        let sum = |field: &str| shown.sets.iter().map(|set| count(set, field)).sum::<i64>();
        let (total, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
        Counts {
            total,
            updated: shown.current.map_or(0, |set| count(set, "replicas")),
            ready,
            available,
        }
    }

    /// As the status has them.
    fn known(deployment: &Object) -> Self {
        let known = |field: &str| count(deployment, field);
        let (total, updated) = (known("replicas"), known("updatedReplicas"));
        Counts {
            total,
            updated,
            ready: known("readyReplicas"),
            available: known("availableReplicas"),
        }
    }

    /// Whether there is progress since.
    fn are_better_than(&self, known: &Counts) -> bool {
        self.updated > known.updated
            || self.ready > known.ready
            || self.available > known.available
            || self.total - self.updated < known.total - known.updated
    }
}

/// Writes the status, where it is not so already.
pub fn report(plan: &mut Plan, deployment: &Object, shown: &Shown<'_>, now_ms: u64) {
    let counts = Counts::of(shown);
    let bounds = bounds(deployment);
    let asked: i64 = shown.sets.iter().map(|set| set.spec_number("/replicas", 0)).sum();
    let number = |count: i64| if count == 0 { Value::Null } else { json!(count) };
    let availability = if counts.available >= bounds.wanted - bounds.unavailable {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".to_owned(),
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.".to_owned(),
        )
    };
    let available = condition(deployment, "Available", availability, false, now_ms);
    let progressing = progressing(plan, deployment, shown, &counts, now_ms);
    plan.patch_status(
        deployment,
        json!({
            "observedGeneration": deployment.generation(),
            "replicas": number(counts.total),
            "updatedReplicas": number(counts.updated),
            "readyReplicas": number(counts.ready),
            "availableReplicas": number(counts.available),
            "unavailableReplicas": number((asked - counts.available).max(0)),
            "conditions": [available, progressing],
        }),
    );
}

fn progressing(plan: &mut Plan, deployment: &Object, shown: &Shown<'_>, counts: &Counts, now_ms: u64) -> Value {
    let known = deployment.condition("Progressing");
    let was = known
        .and_then(|condition| condition["reason"].as_str())
        .unwrap_or_default();
    let name = shown.current.map_or_else(|| deployment.name(), Object::name);
    let say = |status, reason, message, touched| {
        condition(deployment, "Progressing", (status, reason, message), touched, now_ms)
    };
    if deployment.spec()["paused"] == true {
        return say("Unknown", "DeploymentPaused", "Deployment is paused".to_owned(), false);
    }
    if is_complete(deployment, shown.sets, shown.current) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return say("True", "NewReplicaSetAvailable", message, false);
    }
    // A finished rollout stays finished, whatever becomes of its pods.
    if let Some(known) = known.filter(|_| was == "NewReplicaSetAvailable" && counts.total == counts.updated)
        && shown.created.is_none()
    {
        return known.clone();
    }
    let seconds = deployment.spec_number("/progressDeadlineSeconds", DEADLINE_SECONDS);
    let deadline_ms = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    if let Some(created) = &shown.created {
        plan.wake_up(&deployment.key, deadline_ms);
        return say(
            "True",
            "NewReplicaSetCreated",
            format!("Created new replica set \"{created}\""),
            true,
        );
    }
    let begins = matches!(was, "" | "DeploymentPaused" | "NewReplicaSetAvailable");
    if begins || counts.are_better_than(&Counts::known(deployment)) {
        plan.wake_up(&deployment.key, deadline_ms);
        return say(
            "True",
            "ReplicaSetUpdated",
            format!("ReplicaSet \"{name}\" is progressing."),
            true,
        );
    }
    let since = known
        .and_then(|condition| condition["lastUpdateTime"].as_str())
        .and_then(time::parse);
    let until = since.unwrap_or(now_ms).saturating_add(deadline_ms);
    if until <= now_ms {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        return say("False", "ProgressDeadlineExceeded", message, false);
    }
    if was != "ProgressDeadlineExceeded" {
        plan.wake_up(&deployment.key, until - now_ms);
    }
    known.cloned().unwrap_or_default()
}

/// A condition as it is to be; its times stay while it says the same.
fn condition(
    deployment: &Object,
    kind: &str,
    (status, reason, message): (&str, &str, String),
    touched: bool,
    now_ms: u64,
) -> Value {
    let now = json!(time::format(now_ms));
    let known = deployment.condition(kind);
    let same = |field: &str, value: &str| known.is_some_and(|known| known[field] == value);
    let kept = |field: &str| known.map_or_else(|| now.clone(), |known| known[field].clone());
    let unchanged = same("status", status) && same("reason", reason) && same("message", &message);
    let transition = if same("status", status) {
        kept("lastTransitionTime")
    } else {
        now.clone()
    };
    let update = if unchanged && !touched {
        kept("lastUpdateTime")
    } else {
        now
    };
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": update, "lastTransitionTime": transition,
    })
}
