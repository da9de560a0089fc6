//! The controller `replicaset`: as many pods as wanted, no more and no fewer.
//!
//! A snapshot shows all that this controller has committed, so what it counts is what there is; there are no
//! expectations to keep.
use sampan_sdk::{
    Value,
    controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
    time,
};

/// Pods made or deleted in one plan at the most; the rest comes with the next.
const AT_ONCE: usize = 500;

/// Pods with a higher cost are deleted later.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// All that is read of a pod.
const POD: &[&str] = &["metadata", "spec.nodeName", "status.phase", "status.conditions"];

#[derive(Default)]
pub struct ReplicaSet;

impl Controller for ReplicaSet {
    fn describe() -> Description {
        description(
            "replicaset",
            env!("CARGO_PKG_VERSION"),
            "Keeps as many pods as a ReplicaSet wants.",
        )
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("replicasets.apps"), Watch::Owner("pods")]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let Some(set) = snapshot.get(key) else { return Ok(plan) };
        let pods = pods_of(&set, snapshot, &mut plan);
        let live: Vec<&Object> = pods.iter().filter(|pod| is_live(pod)).collect();
        let wanted = usize::try_from(set.spec_number("/replicas", 1)).unwrap_or(0);
        if !set.is_deleting() {
            if live.len() < wanted {
                make(&mut plan, &set, (wanted - live.len()).min(AT_ONCE));
            } else if live.len() > wanted {
                remove(&mut plan, &set, live.clone(), (live.len() - wanted).min(AT_ONCE));
            }
            if live.len().abs_diff(wanted) > AT_ONCE {
                plan.wake_up(key, 0);
            }
        }
        let ending = pods.iter().filter(|pod| pod.is_deleting() && !is_finished(pod)).count();
        status(&mut plan, &set, &live, ending, now_ms);
        Ok(plan)
    }
}

/// Neither finished nor on its way out.
fn is_live(pod: &Object) -> bool {
    !pod.is_deleting() && !is_finished(pod)
}

fn is_finished(pod: &Object) -> bool {
    matches!(pod.phase(), "Succeeded" | "Failed")
}

/// The pods that belong to the set: those it owns, less those that no longer match its selector, which it lets go, and
/// with those that belong to nobody and do, which it adopts.
fn pods_of(set: &Object, snapshot: &dyn Snapshot, plan: &mut Plan) -> Vec<Object> {
    let mut pods = snapshot.list(&Query::owned("pods", set).only(POD));
    pods.retain(|pod| pod.controller() == Some(set.uid()));
    if !set.is_deleting() {
        pods.retain(|pod| {
            let stays = pod.is_deleting() || pod.matches(&set.spec()["selector"]);
            if !stays {
                let others = pod.owners().iter().filter(|owner| owner["uid"] != set.uid());
                plan.patch(
                    pod,
                    json!({"metadata": {"ownerReferences": others.collect::<Vec<_>>()}}),
                );
            }
            stays
        });
    }
    // Only a set that has not seen all its pods looks for others: that is when it is new, or its selector is.
    let settled = set.status()["observedGeneration"].as_i64() == Some(set.generation());
    if settled || set.is_deleting() {
        return pods;
    }
    let matching = Query::within("pods", &set.key.namespace).labelled(&set.spec()["selector"]["matchLabels"]);
    if snapshot.count(&matching) == pods.len() {
        return pods;
    }
    for pod in snapshot.list(&matching.only(POD)) {
        if pod.controller().is_none() && is_live(&pod) && pod.matches(&set.spec()["selector"]) {
            let mut owners = pod.owners().to_vec();
            owners.push(set.as_controller());
            plan.patch(&pod, json!({"metadata": {"ownerReferences": owners}}));
            pods.push(pod);
        }
    }
    pods
}

fn make(plan: &mut Plan, set: &Object, count: usize) {
    let template = &set.spec()["template"];
    for _ in 0..count {
        let mut metadata = json!({
            "generateName": format!("{}-", set.name()),
            "namespace": set.key.namespace,
            "ownerReferences": [set.as_controller()],
        });
        for field in ["labels", "annotations", "finalizers"] {
            if !template["metadata"][field].is_null() {
                metadata[field] = template["metadata"][field].clone();
            }
        }
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
        plan.create("pods", &set.key.namespace, pod);
    }
    plan.normal(set, "SuccessfulCreate", format!("Created {count} pod(s)"));
}

/// Deletes those that are missed least: Kubernetes' order.
fn remove(plan: &mut Plan, set: &Object, mut live: Vec<&Object>, count: usize) {
    let cost = |pod: &Object| {
        pod.annotation(DELETION_COST)
            .and_then(|text| text.parse::<i64>().ok())
            .unwrap_or(0)
    };
    live.sort_by_key(|pod| {
        let bound = !pod.spec()["nodeName"].is_null();
        let started = match pod.phase() {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let ready = pod.has_condition("Ready", "True");
        // Newer ones first, and a name decides between equals.
        (
            bound,
            started,
            ready,
            cost(pod),
            u64::MAX - pod.created_ms(),
            pod.key.name.clone(),
        )
    });
    live.iter().take(count).for_each(|pod| plan.delete(pod));
    plan.normal(set, "SuccessfulDelete", format!("Deleted {count} pod(s)"));
}

fn status(plan: &mut Plan, set: &Object, live: &[&Object], ending: usize, now_ms: u64) {
    let min_ready_ms = u64::try_from(set.spec_number("/minReadySeconds", 0)).unwrap_or(0) * 1000;
    let ready: Vec<_> = live.iter().filter(|pod| pod.has_condition("Ready", "True")).collect();
    let (mut available, mut next) = (0, None);
    for pod in &ready {
        let since = pod
            .condition("Ready")
            .and_then(|condition| condition["lastTransitionTime"].as_str());
        let until = since.and_then(time::parse).unwrap_or(0) + min_ready_ms;
        if min_ready_ms == 0 || until <= now_ms {
            available += 1;
        } else {
            next = Some(next.map_or(until, |next: u64| next.min(until)));
        }
    }
    if let Some(next) = next {
        plan.wake_up(&set.key, next - now_ms);
    }
    let labels = &set.spec()["template"]["metadata"]["labels"];
    let wanted = labels.as_object().cloned().unwrap_or_default();
    let labelled = live
        .iter()
        .filter(|pod| wanted.iter().all(|(name, value)| pod.labels().get(name) == Some(value)));
    let number = |count: usize| if count == 0 { Value::Null } else { json!(count) };
    plan.patch_status(
        set,
        json!({
            "replicas": live.len(),
            "fullyLabeledReplicas": number(labelled.count()),
            "readyReplicas": number(ready.len()),
            "availableReplicas": number(available),
            "terminatingReplicas": number(ending),
            "observedGeneration": set.generation(),
        }),
    );
}

sampan_sdk::export_controller!(ReplicaSet);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::controller::{Memory, Operation};

    /// Large sets grow and shrink plan by plan, and every plan is of a size that commits at once.
    #[test]
    fn many_pods_come_and_go_in_portions() {
        let spec = json!({"replicas": 1200, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {}}});
        let mut set = sampan_sdk::testing::object("replicasets.apps", "a", spec);
        set.json["metadata"]["generation"] = json!(1);
        let mut memory = Memory::new(vec![set.clone()]);
        let reconcile = |memory: &mut Memory| {
            let plan = ReplicaSet.reconcile(&set.key, memory, 0).unwrap();
            memory.carry_out(&plan);
            let of =
                |wanted: fn(&Operation) -> bool| plan.writes.iter().filter(|write| wanted(&write.operation)).count();
            let (made, gone) = (
                of(|o| matches!(o, Operation::Create(_))),
                of(|o| matches!(o, Operation::Delete)),
            );
            (made, gone, plan.wake_ups.len())
        };
        assert_eq!(
            [(); 4].map(|()| reconcile(&mut memory)),
            [(500, 0, 1), (500, 0, 1), (200, 0, 0), (0, 0, 0)]
        );
        let mut plan = Plan::default();
        let found = memory.get(&Key::new("replicasets.apps", "default", "a")).unwrap();
        plan.patch(&found, json!({"spec": {"replicas": 600}}));
        memory.carry_out(&plan);
        assert_eq!(
            [(); 3].map(|()| reconcile(&mut memory)),
            [(0, 500, 1), (0, 100, 0), (0, 0, 0)]
        );
    }

    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::ReplicaSet>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }
}
