//! The controller `disruption`: keeps in the status of each PodDisruptionBudget how many of its pods may go now.
//!
//! Evictions take from that number, so it is written only on the budget as it was read: what an eviction took meanwhile is
//! not given back before its pod is seen to go.
use sampan_sdk::{
    Value,
    controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
    time,
};
use std::collections::{BTreeMap, BTreeSet};

const BUDGETS: &str = "poddisruptionbudgets.policy";

/// All that is read of a pod.
const POD: &[&str] = &["metadata", "status.phase", "status.conditions"];

#[derive(Default)]
pub struct Disruption;

impl Controller for Disruption {
    fn describe() -> Description {
        let summary = "Counts how many pods of each PodDisruptionBudget may go.";
        description("disruption", env!("CARGO_PKG_VERSION"), summary)
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself(BUDGETS), Watch::Selected("pods")]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        if let Some(budget) = snapshot.get(key)
            && !budget.is_deleting()
        {
            let pods = pods_of(&budget, snapshot);
            status(&mut plan, &budget, &Count::of(&budget, &pods, snapshot), now_ms);
        }
        Ok(plan)
    }
}

/// Whether a budget is about a pod. One without a selector is about nobody, one that asks for nothing about all.
fn means(budget: &Object, pod: &Object) -> bool {
    let selector = &budget.spec()["selector"];
    let part = |name: &str| match &selector[name] {
        Value::Object(labels) => labels.is_empty(),
        Value::Array(expressions) => expressions.is_empty(),
        absent => absent.is_null(),
    };
    let all = selector.is_object() && part("matchLabels") && part("matchExpressions");
    all || pod.matches(selector)
}

/// The pods of a budget that have not ended.
fn pods_of(budget: &Object, snapshot: &dyn Snapshot) -> Vec<Object> {
    let within = Query::within("pods", &budget.key.namespace);
    let mut pods = snapshot.list(&within.labelled(&budget.spec()["selector"]["matchLabels"]).only(POD));
    pods.retain(|pod| means(budget, pod) && !matches!(pod.phase(), "Succeeded" | "Failed"));
    pods
}

/// What a budget comes to.
struct Count {
    expected: i64,
    healthy: i64,
    desired: i64,
}

impl Count {
    fn of(budget: &Object, pods: &[Object], snapshot: &dyn Snapshot) -> Self {
        let healthy = pods
            .iter()
            .filter(|pod| !pod.is_deleting() && pod.has_condition("Ready", "True"));
        let spec = budget.spec();
        let (least, most) = (&spec["minAvailable"], &spec["maxUnavailable"]);
        let (expected, desired) = match (least, most) {
            (Value::Number(least), _) => (length(pods), least.as_i64().unwrap_or(0)),
            (Value::String(share), _) => {
                let expected = wanted(pods, snapshot);
                (expected, part(share, expected))
            }
            (_, Value::Number(most)) => {
                let expected = wanted(pods, snapshot);
                (expected, expected - most.as_i64().unwrap_or(0))
            }
            (_, Value::String(share)) => {
                let expected = wanted(pods, snapshot);
                (expected, expected - part(share, expected))
            }
            // It asks for nothing.
            _ => (length(pods), 0),
        };
        Count {
            expected,
            healthy: i64::try_from(healthy.count()).unwrap_or(i64::MAX),
            desired: desired.max(0),
        }
    }

    /// How many may go.
    fn allowed(&self) -> i64 {
        match self.expected {
            0 => 0,
            _ => (self.healthy - self.desired).max(0),
        }
    }
}

fn length(pods: &[Object]) -> i64 {
    i64::try_from(pods.len()).unwrap_or(i64::MAX)
}

/// A share (`30%`) of a number of pods, rounded up, as Kubernetes rounds it for both fields.
fn part(share: &str, of: i64) -> i64 {
    let percent: i64 = share.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(0);
    (of * percent + 99) / 100
}

/// How many pods there are to be: what those who made them want of them. Pods that nobody made, or of whose maker that cannot
/// be said, count themselves.
fn wanted(pods: &[Object], snapshot: &dyn Snapshot) -> i64 {
    let mut known: BTreeMap<&str, Option<(String, i64)>> = BTreeMap::new();
    let (mut makers, mut sum) = (BTreeSet::new(), 0);
    for pod in pods {
        let owner = pod.owners().iter().find(|owner| owner["controller"] == true);
        let maker = owner.and_then(|owner| {
            let uid = owner["uid"].as_str().unwrap_or_default();
            let found = || scale(&pod.key.namespace, owner, snapshot);
            known.entry(uid).or_insert_with(found).clone()
        });
        match maker {
            None => sum += 1,
            Some((uid, scale)) => sum += if makers.insert(uid) { scale } else { 0 },
        }
    }
    sum
}

/// The uid of who decides how many pods there are to be, and how many those are.
fn scale(namespace: &str, owner: &Value, snapshot: &dyn Snapshot) -> Option<(String, i64)> {
    let resource = match owner["kind"].as_str()? {
        "ReplicaSet" => "replicasets.apps",
        "Deployment" => "deployments.apps",
        "StatefulSet" => "statefulsets.apps",
        "Job" => "jobs.batch",
        _ => return None,
    };
    let found = snapshot.get(&Key::new(resource, namespace, owner["name"].as_str()?))?;
    if owner["uid"] != found.uid() {
        return None;
    }
    // The sets of a Deployment share what it wants, in a rollout too.
    let above = found.owners().iter().find(|owner| owner["controller"] == true);
    if let Some(above) = above.filter(|above| resource == "replicasets.apps" && above["kind"] == "Deployment") {
        return scale(namespace, above, snapshot);
    }
    let scale = match resource {
        "jobs.batch" => {
            let completions = found.spec_number("/completions", i64::MAX);
            found.spec_number("/parallelism", 1).min(completions)
        }
        _ => found.spec_number("/replicas", 1),
    };
    Some((found.uid().to_owned(), scale))
}

fn status(plan: &mut Plan, budget: &Object, count: &Count, now_ms: u64) {
    let allowed = count.allowed();
    let (status, reason) = match allowed {
        0 => ("False", "InsufficientPods"),
        _ => ("True", "SufficientPods"),
    };
    let known = budget.condition("DisruptionAllowed");
    let since = known
        .filter(|known| known["status"] == status)
        .map(|known| known["lastTransitionTime"].clone());
    let condition = json!({
        "type": "DisruptionAllowed", "status": status, "reason": reason, "message": "",
        "observedGeneration": budget.generation(),
        "lastTransitionTime": since.unwrap_or_else(|| json!(time::format(now_ms))),
    });
    let others = budget.status()["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions: Vec<Value> = others
        .into_iter()
        .filter(|other| other["type"] != "DisruptionAllowed")
        .collect();
    conditions.push(condition);
    let before = plan.writes.len();
    plan.patch_status(
        budget,
        json!({
            "observedGeneration": budget.generation(),
            "disruptionsAllowed": allowed,
            "currentHealthy": count.healthy,
            "desiredHealthy": count.desired,
            "expectedPods": count.expected,
            "conditions": conditions,
        }),
    );
    for write in &mut plan.writes[before..] {
        write.expect = budget.revision;
    }
}

sampan_sdk::export_controller!(Disruption);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::controller::Memory;

    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::Disruption>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }

    /// Otherwise what an eviction took would be given back by a count that was made before it.
    #[test]
    fn a_count_is_for_the_budget_as_it_was_read() {
        let mut budget = sampan_sdk::testing::object(BUDGETS, "b", json!({"minAvailable": 1, "selector": {}}));
        budget.revision = 7;
        let plan = Disruption
            .reconcile(&budget.key, &Memory::new(vec![budget.clone()]), 0)
            .unwrap();
        assert_eq!(plan.writes.iter().map(|write| write.expect).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn shares_are_rounded_up() {
        let parts = [("50%", 7), ("0%", 7), ("100%", 7), ("1%", 7), ("50%", 0)].map(|(share, of)| part(share, of));
        assert_eq!(parts, [4, 0, 7, 1, 0]);
    }
}
