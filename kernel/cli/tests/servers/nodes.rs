//! Nodes of a group of servers: one that is cut off, one that comes back, and all of them without any server.
use crate::{
    group::{Group, NODES, PATIENCE, SERVERS, play},
    leaking,
    tools::{busybox, have},
    traces,
};
use serde_json::Value;
use std::{collections::BTreeSet, path::PathBuf, time::Instant};

/// Two pods that are replaced a second after their node was lost, on a node each.
const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers:
      - name: main
        image: busybox:1
        command: [sh, -c, "trap 'exit 0' TERM; sleep 600 & wait"]
        resources: {requests: {cpu: 10m}}
"#;

/// Ends by force what nodes have left, if the test failed.
pub struct Wipe(Vec<PathBuf>);

impl Drop for Wipe {
    fn drop(&mut self) {
        for data in &self.0 {
            traces::wipe(data, &traces::pods(data));
        }
    }
}

/// Makes two hosts nodes, and gives them an image.
pub async fn join_nodes(group: &mut Group) -> Wipe {
    join_all(group, &NODES).await
}

/// As [`join_nodes`], of any hosts.
pub async fn join_all(group: &mut Group, hosts: &[usize]) -> Wipe {
    let wipe = Wipe(hosts.iter().map(|host| group.data(*host)).collect());
    for host in hosts.iter().copied() {
        let token = group.ok(0, "token create --role node --single-use --ttl 10m");
        group.join_as_node(host, &token, 0).await;
    }
    let root = group.dir.path().join("busybox");
    busybox(&root);
    group.ok(0, &format!("image build {} -t busybox:1 --cmd sh", root.display()));
    wipe
}

/// Servers with two nodes, which run the pods.
async fn with_nodes(group: &mut Group) -> Wipe {
    let wipe = join_nodes(group).await;
    let file = group.dir.path().join("pods.yaml");
    std::fs::write(&file, PODS).unwrap();
    group.ok(0, &format!("apply -f {}", file.display()));
    group.ok(0, "rollout status deployment/web --timeout=60s");
    wipe
}

/// The pods that are to stay, on a host if one is given.
pub fn pods(group: &Group, by: usize, host: Option<usize>) -> Vec<Value> {
    let done = group.run(by, "get pods -o json");
    let list: Value = serde_json::from_str(&done.out).unwrap_or_default();
    let items = list["items"].as_array().cloned().unwrap_or_default().into_iter();
    let there = |pod: &Value| {
        let here = host.is_none_or(|host| pod["spec"]["nodeName"] == format!("n{host}"));
        here && pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running"
    };
    items.filter(there).collect()
}

pub async fn until(group: &Group, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        let said = || {
            format!(
                "{}\n{}",
                group.run(0, "get pods,nodes -o wide").out,
                group.run(0, "events").out
            )
        };
        assert!(began.elapsed() < PATIENCE, "{what}: {}", said());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

pub fn is_ready(group: &Group, host: usize) -> bool {
    let node = group.ok(0, &format!("get node n{host} -o json"));
    let node: Value = serde_json::from_str(&node).unwrap();
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(ready) && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
}

#[test]
fn a_node_that_is_cut_off_loses_its_pods_and_comes_back_clean() {
    if !have(&["busybox"]) {
        return;
    }
    play(None, async |group| {
        let _wipe = with_nodes(group).await;
        let [stays, cut] = NODES;
        let lost = pods(group, 0, Some(cut));
        assert_eq!(
            (lost.len(), pods(group, 0, Some(stays)).len()),
            (1, 1),
            "spread over the nodes"
        );
        let data = group.data(cut);
        let running = traces::of_pods(&data, &lost);
        let uids: BTreeSet<String> = traces::pods(&data);

        group.network.cut(cut);
        until(group, "pods are replaced", || pods(group, 0, Some(stays)).len() == 2).await;
        assert!(!is_ready(group, cut));
        assert_eq!(traces::of_pods(&data, &lost), running, "what runs there runs on");

        group.network.mend(cut);
        until(group, "the node is ready again", || is_ready(group, cut)).await;
        until(group, "what was replaced is gone", || traces::pods(&data).is_empty()).await;
        until(group, "nothing of it is left", || traces_of(&data, &uids).is_empty()).await;
        assert_eq!(pods(group, 0, Some(stays)).len(), 2, "nobody moves back by itself");
        // And it takes pods again.
        group.ok(0, "scale deployment/web --replicas=4");
        group.ok(0, "rollout status deployment/web --timeout=60s");
        assert_eq!(pods(group, 0, Some(cut)).len(), 2);
        group.ok(0, "delete deployment web");
        ended(group).await;
    });
}

/// Waits until no pod is left on any node, nor anything that was one's.
pub async fn ended(group: &Group) {
    ended_on(group, &NODES).await;
}

/// As [`ended`], of any nodes.
pub async fn ended_on(group: &Group, hosts: &[usize]) {
    for host in hosts.iter().copied() {
        let data = group.data(host);
        until(group, "all pods have ended", || traces::pods(&data).is_empty()).await;
        let mut left = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            left = leaking::left(group, host);
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(left.is_empty(), "n{host} has what is of pods, and runs none: {left:#?}");
    }
}

/// What is left of pods; the agent itself is to stay.
fn traces_of(data: &std::path::Path, uids: &BTreeSet<String>) -> Vec<String> {
    let all = traces::traces(data, uids);
    all.into_iter().filter(|trace| !trace.starts_with("process")).collect()
}

#[test]
fn pods_run_on_while_every_server_is_away() {
    if !have(&["busybox"]) {
        return;
    }
    play(None, async |group| {
        let _wipe = with_nodes(group).await;
        let processes = |group: &Group, all: &[Value]| {
            NODES.map(|host| {
                let on = |pod: &&Value| pod["spec"]["nodeName"] == format!("n{host}");
                let here: Vec<Value> = all.iter().filter(on).cloned().collect();
                traces::of_pods(&group.data(host), &here)
            })
        };
        let all = pods(group, 0, None);
        let before = processes(group, &all);
        (0..SERVERS).for_each(|host| group.kill(host));
        // Longer than the grace of nodes: those who were away were the servers.
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        assert_eq!(processes(group, &all), before);
        group.start_all().await;
        group.settled().await;
        for host in NODES {
            until(group, "nodes come back", || is_ready(group, host)).await;
        }
        assert_eq!(pods(group, 1, None), all, "nothing was replaced, nothing restarted");
        assert_eq!(processes(group, &all), before);
        group.ok(1, "scale deployment/web --replicas=3");
        group.ok(1, "rollout status deployment/web --timeout=60s");
        group.ok(1, "delete deployment web");
        ended(group).await;
    });
}
