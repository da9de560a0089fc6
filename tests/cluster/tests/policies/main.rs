//! Policies at work in a real control plane: they place, they are swapped under load, and the hostile ones are rolled back
//! by themselves while the queue moves on.
#![allow(clippy::expect_used, clippy::unwrap_used)] // A panic is the test failing.
mod configuring;
mod disruption;
mod isolation;
mod names;
mod rules;
mod shadows;
mod swapping;

use cluster::{ControlPlane, PATIENCE};
use sampan_api::{
    Key, Operation, Write,
    plugin::{Mode, RESOURCE},
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Names of pods are used once.
static PROBES: AtomicU32 = AtomicU32::new(0);

/// A control plane; what one test has compiled the next finds compiled.
async fn control_plane() -> ControlPlane {
    ControlPlane::start(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster-cache")).await
}

/// The pods bound to each of some nodes.
fn spread_over(plane: &ControlPlane, prefix: &str) -> BTreeSet<String> {
    plane.bindings(prefix).into_iter().map(|(_, node, _)| node).collect()
}

/// Waits until the policy is the one that decides: pods that arrive are bound by it.
async fn until_decides(plane: &ControlPlane, name: &str) {
    let digest = plane.plugin(name).0.digest;
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let prefix = format!("probe-{}", PROBES.fetch_add(1, Ordering::Relaxed));
        plane.pods(&prefix, 1).await;
        plane.until_bound(&prefix).await;
        if plane.bindings(&prefix)[0].2 == digest {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} never decides");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_decide_and_are_swapped_without_losing_a_pod() {
    let plane = control_plane().await;
    for n in 0..10 {
        plane.node(&format!("n{n}"), 2000).await;
    }
    until_decides(&plane, "scheduler").await;
    plane.pods("spread", 20).await;
    plane.until_bound("spread").await;
    assert_eq!(spread_over(&plane, "spread").len(), 10, "twenty pods on ten nodes");

    // While pods arrive, the policy is swapped to and fro.
    for round in 0..6 {
        let (to, from) = if round % 2 == 0 {
            ("binpack", "scheduler")
        } else {
            ("scheduler", "binpack")
        };
        plane.pods(&format!("round{round}"), 50).await;
        let mode = |name: &str, mode: Mode| {
            Write::new(
                Key::new(RESOURCE, "", name),
                Operation::Merge(json!({"spec": {"mode": mode}})),
            )
        };
        plane
            .commit(vec![mode(from, Mode::LastGood), mode(to, Mode::Active)])
            .await;
        plane.pods(&format!("after{round}"), 50).await;
    }
    plane.until_bound("round").await;
    plane.until_bound("after").await;
    let (all, known) = (
        plane.bindings(""),
        [plane.plugin("scheduler").0.digest, plane.plugin("binpack").0.digest],
    );
    assert!(all.len() >= 620, "no pod is lost");
    let unknown: Vec<_> = all
        .iter()
        .filter(|(_, _, policy)| !known.contains(policy) && policy != "built-in")
        .collect();
    assert!(unknown.is_empty(), "each binding names its policy: {unknown:?}");

    until_decides(&plane, "scheduler").await;
    plane.server.shutdown().await;
}

/// A scheduler that misbehaves is rolled back to the last good one, and the pods are placed all the same.
async fn is_rolled_back(hostile: &str, complaint: &str) {
    let plane = control_plane().await;
    plane.node("n", 20_000).await;
    until_decides(&plane, "scheduler").await;
    let bytes = sampan_builtin::component(sampan_builtin::HOSTILE, hostile).expect("a hostile plugin");
    plane.activate_scheduler("hostile", bytes).await;
    // Pods arrive until the policy has shown what it is.
    let started = Instant::now();
    while plane.plugin("hostile").0.mode == Mode::Active && started.elapsed() < PATIENCE {
        let prefix = format!("wave-{}", PROBES.fetch_add(1, Ordering::Relaxed));
        plane.pods(&prefix, 2).await;
        plane.until_bound(&prefix).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (spec, status) = plane.plugin("hostile");
    assert_eq!(
        (spec.mode, status["phase"].as_str()),
        (Mode::Standby, Some("Failed")),
        "{status}"
    );
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains(complaint), "{message}");
    assert_eq!(plane.plugin("scheduler").0.mode, Mode::Active);
    plane.pods("end", 5).await;
    plane.until_bound("end").await;
    until_decides(&plane, "scheduler").await;
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_loops_is_rolled_back() {
    is_rolled_back("hostile-loop", "did not end within").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_traps_is_rolled_back() {
    is_rolled_back("hostile-trap", "trapped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_eats_memory_is_rolled_back() {
    is_rolled_back("hostile-memory", "memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_names_nodes_nobody_has_is_rolled_back() {
    is_rolled_back("hostile-liar", "does not exist").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_answers_too_much_is_rolled_back() {
    is_rolled_back("hostile-flood", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_traps_at_its_start_never_decides() {
    is_rolled_back("hostile-start", "start").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_becomes_pods_and_goes_with_them() {
    let plane = control_plane().await;
    plane.node("n", 100).await;
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"}, "spec": spec});
    plane.create(deployment).await;
    plane
        .until("three pods", |plane| plane.bindings("web-").len() == 3)
        .await;
    plane.until_bound("web-").await;
    let key = Key::new("deployments.apps", "default", "web");
    plane
        .commit(vec![Write::new(key, Operation::Delete(Default::default()))])
        .await;
    // Bound pods end when their node says so; here that means: they are going.
    let going = |plane: &ControlPlane| {
        let snapshot = plane.server.replica().snapshot();
        let pods = sampan_api::Selection::of("pods");
        snapshot
            .list(&pods)
            .all(|(_, pod)| pod.metadata.deletion_timestamp.is_some())
    };
    plane.until("the pods are going", going).await;
    plane.server.shutdown().await;
}
