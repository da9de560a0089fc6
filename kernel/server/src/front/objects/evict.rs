//! Evictions: the deletion of a pod that PodDisruptionBudgets have a say in.
//!
//! It is decided on one state, and one plan both takes the pod from the budget and ends it, if the budget is as it was found: of
//! two that would both take the last one, one is decided again and refused.
use super::{Front, write};
use sampan_api::{
    ApiError, Cause, Key, LabelSelector, Object, Operation, Plan, Reason, Selection, Write,
    plan::Deletion,
    rpc::{self, write_response::Outcome},
    time::Timestamp,
};
use sampan_state::Snapshot;
use serde::Deserialize;
use serde_json::json;

/// The resource of the budgets.
const BUDGETS: &str = "poddisruptionbudgets.policy";

/// How often it is decided again while others use the same budget: each time one of them got through.
const ATTEMPTS: usize = 64;

/// What is read of a budget's spec.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    unhealthy_pod_eviction_policy: Option<String>,
}

/// What is read of its status.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    disruptions_allowed: i64,
    current_healthy: i64,
    desired_healthy: i64,
}

impl Front {
    /// Ends a pod, if no budget is against it.
    pub(super) async fn evict(&self, key: &Key, request: &rpc::DeleteRequest) -> Result<rpc::WriteResponse, ApiError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let state = self.replica.snapshot();
            let pod = state.get(key).ok_or_else(|| ApiError::not_found(key))?;
            let (found, expect) = (pod.metadata.resource_version, request.expect);
            if ![0, found].contains(&expect) {
                return Err(ApiError::conflict(key, expect, found));
            }
            if !request.uid.is_empty() && request.uid != pod.metadata.uid {
                let message = format!("{key} is another object now: its uid is {}", pod.metadata.uid);
                return Err(ApiError::new(Reason::Conflict, message));
            }
            let mut writes: Vec<Write> = decide(key, &pod, &state)?.into_iter().collect();
            if request.dry_run {
                return Ok(write::response(key, Some(&pod), Outcome::Deleted, Vec::new()));
            }
            let deletion = Deletion {
                uid: pod.metadata.uid.clone(),
                grace_period_seconds: request.grace_period_seconds,
                final_: false,
                propagation: request.propagation().into(),
            };
            writes.push(disrupted(key, &pod, Timestamp::from_millis(self.replica.now_millis())));
            writes.push(Write::new(key.clone(), Operation::Delete(deletion)));
            match self.replica.commit_one(Plan { writes }).await {
                // The budget or the pod is another now. Who named a revision of the pod is told so by then.
                Err(error) if error.reason == Reason::Conflict && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
                Ok(committed) => {
                    let left = committed.objects.last().and_then(Option::as_ref);
                    return Ok(write::deleted(key, &pod, left));
                }
            }
        }
    }
}

/// Whether a pod may go; the write that uses up some of a budget, where one counts it.
fn decide(key: &Key, pod: &Object, state: &Snapshot) -> Result<Option<Write>, ApiError> {
    let phase = pod.field_value("status")["phase"].take();
    // What has ended, is ending or never began disturbs nobody.
    let counts = !matches!(phase.as_str(), Some("Succeeded" | "Failed" | "Pending") | None);
    if !counts || pod.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let within = Selection {
        namespace: key.namespace.to_string(),
        ..Selection::of(BUDGETS)
    };
    let mut meant = state.list(&within).filter(|(_, budget)| is_about(budget, pod));
    let Some((name, budget)) = meant.next() else {
        return Ok(None);
    };
    if meant.next().is_some() {
        let message = format!(
            "{key} has more than one PodDisruptionBudget, which the eviction does not support: leave it one, or delete the pod"
        );
        return Err(ApiError::internal(message));
    }
    let (spec, status): (Spec, Status) = (budget.field("spec")?, budget.field("status")?);
    if !is_ready(pod) {
        let enough = status.desired_healthy > 0 && status.current_healthy >= status.desired_healthy;
        if enough || spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow") {
            return Ok(None);
        }
    }
    if status.observed_generation < budget.metadata.generation {
        let why = format!(
            "The disruption budget {} is still being processed by the server.",
            name.name
        );
        return Err(refused(why));
    }
    if status.disruptions_allowed <= 0 {
        let why = format!(
            "The disruption budget {} needs {} healthy pods and has {} currently",
            name.name, status.desired_healthy, status.current_healthy
        );
        return Err(refused(why));
    }
    let less = json!({"status": {"disruptionsAllowed": status.disruptions_allowed - 1}});
    let write = Write::new(name, Operation::MergeStatus(less));
    Ok(Some(write.expecting(budget.metadata.resource_version)))
}

fn refused(why: String) -> ApiError {
    ApiError {
        reason: Reason::TooManyRequests,
        message: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
        causes: vec![Cause {
            field: "DisruptionBudget".to_owned(),
            message: why,
        }],
    }
}

/// Whether a budget counts a pod. One without a selector is about nobody, an empty selector about all.
fn is_about(budget: &Object, pod: &Object) -> bool {
    LabelSelector::of(budget).is_some_and(|selector| selector.matches(&pod.metadata.labels))
}

fn is_ready(pod: &Object) -> bool {
    let status = pod.field_value("status");
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions
        .iter()
        .any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// The condition that says why the pod goes, on the pod as it was found: conditions are a list, and what somebody else wrote
/// into it meanwhile must not be lost.
fn disrupted(key: &Key, pod: &Object, now: Timestamp) -> Write {
    let status = pod.field_value("status");
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions: Vec<serde_json::Value> = conditions
        .into_iter()
        .filter(|one| one["type"] != "DisruptionTarget")
        .collect();
    conditions.push(json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": now,
    }));
    let said = Operation::MergeStatus(json!({"status": {"conditions": conditions}}));
    Write::new(key.clone(), said).expecting(pod.metadata.resource_version)
}
