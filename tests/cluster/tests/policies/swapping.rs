//! The policy is swapped again and again on thousands of nodes while pods keep coming.
use super::control_plane;
use cluster::{ControlPlane, PATIENCE};
use sampan_api::{
    Key, Object, Operation, Write,
    plugin::{Mode, RESOURCE},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const NODES: usize = 5000;
const SWAPS: usize = 12;
/// Pods that come together.
const TOGETHER: usize = 25;
const POLICIES: [&str; 2] = ["scheduler", "binpack"];

async fn nodes(plane: &ControlPlane) {
    let status = json!({
        "allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    let create = |number: usize| {
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{number:04}")}, "status": status,
        });
        let node = Object::from_value(&node).unwrap();
        Write::new(node.key().unwrap(), Operation::Create(node))
    };
    for first in (0..NODES).step_by(500) {
        plane.commit((first..first + 500).map(create).collect()).await;
    }
}

async fn swap(plane: &ControlPlane, number: usize) {
    let (from, to) = (POLICIES[number % 2], POLICIES[(number + 1) % 2]);
    let mode = |name: &str, mode: Mode| {
        let key = Key::new(RESOURCE, "", name);
        Write::new(key, Operation::Merge(json!({"spec": {"mode": mode}})))
    };
    let writes = vec![mode(from, Mode::LastGood), mode(to, Mode::Active)];
    plane.commit(writes).await;
}

/// Where each pod was bound, and by whom. Panics if one is bound again.
async fn observe(mut changes: sampan_server::replica::Changes, pods: usize) -> BTreeMap<String, (String, String)> {
    let mut bound = BTreeMap::new();
    while bound.len() < pods {
        let batch = tokio::time::timeout(PATIENCE, changes.next()).await;
        let batch = batch.unwrap_or_else(|_| panic!("{} of {pods} pods are bound, and nothing happens", bound.len()));
        for event in batch.expect("the server runs").events {
            let node = event.object.field_value("spec")["nodeName"].as_str().map(str::to_owned);
            let Some(node) = node else { continue };
            let policy = event.object.metadata.annotations.get("sampan.dev/scheduled-by");
            let policy = policy.cloned().unwrap_or_default();
            let name = event.key.name.to_string();
            let is = (node, policy);
            let before = bound.insert(name.clone(), is.clone());
            assert!(before.is_none_or(|before| before == is), "{name} is bound twice");
        }
    }
    bound
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_on_thousands_of_nodes_lose_no_pod_and_bind_none_twice() {
    let plane = control_plane().await;
    nodes(&plane).await;
    super::until_decides(&plane, "scheduler").await;
    let digests = POLICIES.map(|name| plane.plugin(name).0.digest);
    let replica = plane.server.replica();
    let changes = replica
        .watch_only(replica.snapshot().revision(), vec!["pods".to_owned()])
        .unwrap();
    let pods = SWAPS * 4 * TOGETHER;
    let seen = tokio::spawn(observe(changes, pods));
    for number in 0..SWAPS {
        for part in 0..4 {
            plane.pods(&format!("swap-{number:02}-{part}"), TOGETHER).await;
            if part == 1 {
                swap(&plane, number).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let bound = seen.await.unwrap();
    assert_eq!(bound.len(), pods);
    let by: BTreeSet<&String> = bound.values().map(|(_, policy)| policy).collect();
    assert_eq!(by, digests.iter().collect(), "both have decided, and nobody else");
    plane.server.shutdown().await;
}
