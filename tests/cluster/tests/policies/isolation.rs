//! A policy that heeds no rule: the committer does, and one pod that makes it trap holds up nobody else.
use crate::{
    control_plane,
    rules::{A_WHILE, events, node_of, pod},
    until_decides,
};
use cluster::ControlPlane;
use sampan_api::{
    Key, Operation, Write,
    plugin::{Mode, RESOURCE},
};
use serde_json::json;

async fn careless() -> ControlPlane {
    let plane = control_plane().await;
    plane.node("n1", 500).await;
    plane.node("n2", 500).await;
    until_decides(&plane, "scheduler").await;
    let bytes = sampan_builtin::component(sampan_builtin::HOSTILE, "hostile-careless").expect("a hostile plugin");
    plane.activate_scheduler("careless", bytes).await;
    until_decides(&plane, "careless").await;
    plane
}

/// A request that the policy traps over.
fn poison() -> serde_json::Value {
    json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "113m"}}}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_poisons_the_policy_is_put_aside_and_the_others_go_on() {
    let plane = careless().await;
    // Alone, and then among many.
    pod(&plane, "poison", json!({}), poison()).await;
    plane
        .until("it is told so", |plane| {
            !events(plane, "poison", "FailedScheduling").is_empty()
        })
        .await;
    let said = events(&plane, "poison", "FailedScheduling").join("; ");
    assert!(
        said.contains("the policy careless fails over this pod: it trapped"),
        "{said}"
    );
    plane.pods("many", 100).await;
    pod(&plane, "venom", json!({"other": "class"}), poison()).await;
    plane.pods("more", 100).await;
    plane.until_bound("many").await;
    plane.until_bound("more").await;
    plane
        .until("the second is told so", |plane| {
            !events(plane, "venom", "FailedScheduling").is_empty()
        })
        .await;
    assert_eq!(node_of(&plane, "poison") + &node_of(&plane, "venom"), "");
    assert_eq!(plane.plugin("careless").0.mode, Mode::Active, "it works without them");
    // Another policy places them.
    let mode = |name: &str, mode: Mode| {
        let patch = Operation::Merge(json!({"spec": {"mode": mode}}));
        Write::new(Key::new(RESOURCE, "", name), patch)
    };
    plane
        .commit(vec![mode("careless", Mode::LastGood), mode("scheduler", Mode::Active)])
        .await;
    plane.until_bound("poison").await;
    plane.until_bound("venom").await;
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_committer_refuses_is_told_and_tried_again() {
    let plane = careless().await;
    let cordon = |on: bool| {
        let patch = Operation::Merge(json!({"spec": {"unschedulable": on}}));
        Write::new(Key::new("nodes", "", "n1"), patch)
    };
    plane.commit(vec![cordon(true)]).await;
    pod(&plane, "stubborn", json!({}), json!({})).await;
    plane
        .until("it is told why", |plane| {
            !events(plane, "stubborn", "FailedScheduling").is_empty()
        })
        .await;
    let said = events(&plane, "stubborn", "FailedScheduling").join("; ");
    assert!(said.contains("the node is cordoned"), "{said}");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(node_of(&plane, "stubborn"), "");
    assert_eq!(plane.plugin("careless").0.mode, Mode::Active);
    plane.commit(vec![cordon(false)]).await;
    plane
        .until("it is bound", |plane| node_of(plane, "stubborn") == "n1")
        .await;
    plane.server.shutdown().await;
}
