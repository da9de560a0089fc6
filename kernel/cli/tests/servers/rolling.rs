//! An upgrade as it is done: one server after the other is stopped and started again from another binary, while clients write
//! and pods run.
use crate::{
    group::{Group, PATIENCE, SERVERS, STRANGER, play},
    killing::HELD_UP,
    load::Load,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const PODS: usize = 2;

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: sleepers
spec:
  replicas: 2
  selector:
    matchLabels: {app: sleepers}
  template:
    metadata:
      labels: {app: sleepers}
    spec:
      containers:
      - name: sleeper
        image: busybox:1
        command: [sh, -c, \"trap 'exit 0' TERM; sleep 600 & wait\"]
";

/// Where a program is, if it is installed.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The shims of a node's pods end with the test, whatever becomes of it.
struct Shims(PathBuf);

impl Drop for Shims {
    fn drop(&mut self) {
        for (pid, _) in shims(&self.0) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// Of each pod of a node, the shim and when it started.
fn shims(data: &Path) -> Vec<(i64, u64)> {
    let of = |pod: fs::DirEntry| {
        let text = fs::read(pod.path().join("shim/shim.json")).ok()?;
        let pid = serde_json::from_slice::<Value>(&text).ok()?["pid"].as_i64()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((
            pid,
            stat.rsplit_once(')')?
                .1
                .split_ascii_whitespace()
                .nth(19)?
                .parse()
                .ok()?,
        ))
    };
    let pods = fs::read_dir(data.join("node/pods")).into_iter().flatten().flatten();
    let mut found: Vec<_> = pods.filter_map(of).collect();
    found.sort_unstable();
    found
}

/// A node joins, and pods run on it.
async fn run_pods(group: &mut Group) -> Shims {
    let token = group.ok(0, "token create");
    group.join_as_node(STRANGER, &token, 0).await;
    let shims = Shims(group.data(STRANGER));
    let root = group.dir.path().join("busybox");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy(find("busybox").unwrap(), root.join("bin/busybox")).unwrap();
    for tool in ["sh", "sleep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(tool)).unwrap();
    }
    let manifest = group.dir.path().join("sleepers.yaml");
    fs::write(&manifest, DEPLOYMENT).unwrap();
    group.ok(0, &format!("image build {} -t busybox:1 --cmd sh", root.display()));
    group.ok(0, &format!("apply -f {}", manifest.display()));
    group.ok(0, "rollout status deployment/sleepers --timeout=60s");
    shims
}

/// Whether the machine has what these tests need; said loudly where not.
fn have_busybox() -> bool {
    let there = find("busybox").is_some();
    if !there {
        eprintln!("SKIPPED: needs busybox; `.ci/packages` installs it");
    }
    there
}

/// Ends the pods and the node, and sees that they end.
async fn end_pods(group: &mut Group, by: usize, node: &Shims) {
    let began = Instant::now();
    group.ok(by, "delete deployment sleepers");
    while !shims(&node.0).is_empty() {
        assert!(began.elapsed() < PATIENCE, "the pods never end: {}", group.all_said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    group.stop(STRANGER).await;
}

#[test]
fn a_node_leaves_a_server_that_was_taken_out() {
    if !have_busybox() {
        return;
    }
    play(None, async |group| {
        let node = run_pods(group).await;
        // The first that it knows is the one that it speaks to.
        group.remove(0, 0).await;
        let began = Instant::now();
        while !group.said(0).contains("server \"s0\" was taken out of the cluster") {
            assert!(began.elapsed() < PATIENCE, "{}", group.all_said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        group.ok(1, "scale deployment/sleepers --replicas=3");
        while shims(&node.0).len() < 3 {
            assert!(
                began.elapsed() < PATIENCE,
                "the node hears no news: {}",
                group.all_said()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("the node had gone elsewhere after {:?}", began.elapsed());
        end_pods(group, 1, &node).await;
    });
}

#[test]
fn an_upgrade_loses_no_write_and_touches_no_pod() {
    if !have_busybox() {
        return;
    }
    play(None, async |group| {
        let node = run_pods(group).await;
        let before = shims(&node.0);
        assert_eq!(before.len(), PODS, "{before:?}");
        let load = Load::start(group).await;
        // Who leads last of all, and once more, so that leadership is handed over at least twice.
        let leader = group.leader().await;
        let order = (1..=SERVERS).map(|number| (leader + number) % SERVERS);
        for (round, host) in order.chain([leader]).enumerate() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let leads = group.leader().await == host;
            let binary = group.dir.path().join(format!("sampan-{round}"));
            fs::copy(env!("CARGO_BIN_EXE_sampan"), &binary).unwrap();
            let (at, said) = (Instant::now(), group.said(host).len());
            group.stop(host).await;
            let held = load.resumed(at).await;
            let what = if leads { "leader" } else { "follower" };
            println!("{what} s{host} stopped: the next write done after {held:?}");
            assert!(held < HELD_UP);
            let said = group.said_since(host, said);
            assert_eq!(leads, said.contains("leadership goes to another"), "{said}");
            group.install(host, binary);
            group.start(host).await;
            group.settled().await;
            assert_eq!(shims(&node.0), before, "a pod was started anew");
        }
        println!("the longest pause between two writes was {:?}", load.longest_pause());
        assert!(load.longest_pause() < HELD_UP);
        load.end(group).await;
        end_pods(group, 0, &node).await;
    });
}
