//! `sampan up` killed at any moment, under load, again and again: what was acknowledged is there, what ran runs on, and
//! what was under way comes to its end.
use crate::{
    cluster::{Cluster, SLEEP, is_root},
    tools::have,
};
use serde_json::Value;
use std::{
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

const ROUNDS: u64 = 5;

/// Two clients create as fast as they can. More would only keep this machine's cores from what is tested.
const CLIENTS: usize = 2;

fn deployment(name: &str, replicas: u32, round: u64) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      \
         containers:\n      - name: main\n        image: busybox:1\n        command: [sh, -c, \"{SLEEP}\"]\n        \
         env: [{{name: ROUND, value: \"{round}\"}}]\n"
    )
}

/// Creates until it is told to end, for the names of what was acknowledged.
fn client(dir: &std::path::Path, number: usize, end: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for count in 0.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("c{number}-{count}");
        let mut command = crate::stage::sampan(dir);
        command.args([
            "create",
            "configmap",
            &name,
            "--from-literal=a=1",
            "--request-timeout=2s",
        ]);
        let done = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if done.unwrap().success() {
            acknowledged.push(name);
        }
    }
    acknowledged
}

/// Up to a second, another at each call and in each run. Milliseconds.
fn some_time(seed: &mut u64) -> Duration {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    Duration::from_millis((*seed >> 33) % 1000)
}

fn kill_and_start(cluster: &mut Cluster, steady: &[Value], processes: &[(i32, Vec<i32>)], round: u64) {
    cluster.note();
    cluster.kill();
    cluster.again();
    assert_eq!(cluster.processes(steady), processes, "what ran runs on, round {round}");
    let said = cluster.ok("rollout status deployment/rolling --timeout=60s");
    assert!(said.contains("successfully rolled out"), "{said}");
    cluster.until("get pods -l app=rolling -o name", |pods| pods.lines().count() == 4);
    for pod in cluster.list("pods -l app=rolling") {
        let env = &pod["spec"]["containers"][0]["env"][0]["value"];
        assert_eq!(env, &Value::String(round.to_string()), "an old pod stayed: {pod}");
        assert_eq!(pod["status"]["phase"], "Running", "{pod}");
    }
}

#[test]
fn killed_under_load_nothing_acknowledged_is_lost_and_pods_run_on() {
    if !have(&["busybox"]) || !is_root() {
        return;
    }
    let mut cluster = Cluster::start(tempfile::tempdir().unwrap(), &[]);
    cluster.load_busybox("busybox:1");
    cluster.feed("apply -f -", &deployment("steady", 3, 0));
    cluster.feed("apply -f -", &deployment("rolling", 4, 0));
    for name in ["steady", "rolling"] {
        cluster.ok(&format!("rollout status deployment/{name} --timeout=60s"));
    }
    let steady = cluster.list("pods -l app=steady");
    let processes = cluster.processes(&steady);
    assert!(processes.len() == 3 && processes.iter().all(|(_, started)| !started.is_empty()));

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut seed = u64::try_from(now.as_nanos() % u128::from(u64::MAX)).unwrap();
    eprintln!("seed {seed}");
    let end = AtomicBool::new(false);
    let dir = cluster.dir.path().to_owned();
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let (dir, end) = (&dir, &end);
                    move || client(dir, number, end)
                })
            })
            .collect();
        // A failure must not leave the clients going.
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 1..=ROUNDS {
                let applied = cluster.feed("apply -f -", &deployment("rolling", 4, round));
                assert_eq!(applied.code, 0, "{applied:?}");
                std::thread::sleep(some_time(&mut seed));
                kill_and_start(&mut cluster, &steady, &processes, round);
            }
        }));
        end.store(true, Ordering::Relaxed);
        let acknowledged = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        rounds.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
        acknowledged
    });
    assert!(acknowledged.len() > 20, "hardly any load: {}", acknowledged.len());
    eprintln!("{} acknowledged", acknowledged.len());
    let there = cluster.ok("get configmaps -o name");
    let there: std::collections::BTreeSet<_> = there.lines().collect();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|name| !there.contains(format!("configmap/{name}").as_str()))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");

    for pod in cluster.list("pods -l app=steady") {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{pod}");
    }
    assert_eq!(cluster.processes(&steady), processes);
    cluster.note();
    cluster.ok("delete deployments --all");
    cluster.until("get deploy,rs,pods -o name", str::is_empty);
    cluster.finish();
}
