//! PodDisruptionBudgets from object to decision: who counts for them, and whom preemption spares for them.
use crate::{
    control_plane,
    rules::{A_WHILE, class, get, node_of, nodes, pod, pod_key, until_active},
};
use cluster::ControlPlane;
use sampan_api::{Key, Operation, Write};
use serde_json::{Value, json};

const BUDGETS: &str = "poddisruptionbudgets.policy";

async fn budget(plane: &ControlPlane, name: &str, spec: Value) {
    let metadata = json!({"name": name, "namespace": "default"});
    plane
        .create(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}))
        .await;
}

/// What the controller has counted.
fn counted(plane: &ControlPlane, name: &str) -> Value {
    let budget = plane
        .server
        .replica()
        .snapshot()
        .get(&Key::new(BUDGETS, "default", name));
    budget.map(|budget| budget.field_value("status")).unwrap_or_default()
}

/// As the agent would, says of a pod that it runs.
async fn ready(plane: &ControlPlane, name: &str, ready: bool) {
    let word = if ready { "True" } else { "False" };
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": word}]}});
    plane
        .commit(vec![Write::new(pod_key(name), Operation::MergeStatus(status))])
        .await;
}

fn going(plane: &ControlPlane, name: &str) -> bool {
    get(plane, name).is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn preemption_spares_whom_a_budget_protects_where_there_is_a_choice() {
    let plane = control_plane().await;
    nodes(&plane, &[("n1", "a"), ("n2", "a")], 1).await;
    until_active(&plane).await;
    for (name, value) in [("least", 1), ("low", 5), ("high", 100)] {
        plane.create(class(name, value, "PreemptLowerPriority")).await;
    }
    // The less important one is the one that must stay.
    for (name, class) in [("guarded", "least"), ("free", "low")] {
        pod(
            &plane,
            name,
            json!({ "app": name }),
            json!({ "priorityClassName": class }),
        )
        .await;
        plane.until_bound(name).await;
        ready(&plane, name, true).await;
    }
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}});
    budget(&plane, "b", spec).await;
    plane
        .until("it is counted", |plane| counted(plane, "b")["currentHealthy"] == 1)
        .await;
    assert_eq!(counted(&plane, "b")["disruptionsAllowed"], 0);
    let high = |name: &'static str| pod(&plane, name, json!({}), json!({"priorityClassName": "high"}));
    high("first").await;
    plane
        .until("the other one is ending", |plane| going(plane, "free"))
        .await;
    tokio::time::sleep(A_WHILE).await;
    assert!(!going(&plane, "guarded"), "the budget is honoured where it can be");
    // Where there is no choice it is not.
    high("second").await;
    plane.until("it has to go", |plane| going(plane, "guarded")).await;
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_follows_the_pods() {
    let plane = control_plane().await;
    nodes(&plane, &[("n1", "a")], 9).await;
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    let metadata = json!({"name": "web", "namespace": "default"});
    plane
        .create(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}))
        .await;
    budget(
        &plane,
        "web",
        json!({"maxUnavailable": "50%", "selector": {"matchLabels": {"app": "web"}}}),
    )
    .await;
    plane
        .until("its pods are bound", |plane| {
            let bindings = plane.bindings("web");
            bindings.len() == 4 && bindings.iter().all(|(_, node, _)| !node.is_empty())
        })
        .await;
    let names: Vec<String> = plane.bindings("web").into_iter().map(|(name, ..)| name).collect();
    let so = |plane: &ControlPlane, expected: [i64; 4]| {
        let status = counted(plane, "web");
        let fields = ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"];
        fields.map(|field| status[field].as_i64().unwrap_or(-1)) == expected
    };
    plane
        .until("none is healthy yet", |plane| so(plane, [4, 2, 0, 0]))
        .await;
    for name in &names {
        ready(&plane, name, true).await;
    }
    plane.until("two may go", |plane| so(plane, [4, 2, 4, 2])).await;
    ready(&plane, &names[0], false).await;
    plane.until("one may go", |plane| so(plane, [4, 2, 3, 1])).await;
    assert_eq!(counted(&plane, "web")["conditions"][0]["reason"], "SufficientPods");
    assert_eq!(node_of(&plane, &names[1]), "n1");
    // One that the budget no longer selects is none of its pods from then on.
    let other = json!({"metadata": {"labels": {"app": "other"}}});
    plane
        .commit(vec![Write::new(pod_key(&names[3]), Operation::Merge(other))])
        .await;
    plane.until("none may go", |plane| so(plane, [4, 2, 2, 0])).await;
    plane.server.shutdown().await;
}
