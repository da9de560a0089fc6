//! Agents and control planes come and go; pods stay.
use crate::support::{Bench, SLEEP};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

fn pid_of(bench: &Bench, pod: &Value) -> i32 {
    let dir = bench.pod_dir(pod["metadata"]["uid"].as_str().unwrap());
    let info: Value = serde_json::from_slice(&fs::read(dir.join("shim/shim.json")).unwrap()).unwrap();
    i32::try_from(info["pid"].as_i64().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_finds_its_pods_again() {
    let Some(mut bench) = Bench::start().await else { return };
    let stays = bench.create_script("stays", "Always", SLEEP);
    let ends = bench.create_script("ends", "Never", "sleep 1; exit 4");
    let goes = bench.create_script("goes", "Always", SLEEP);
    for pod in ["stays", "ends", "goes"] {
        bench.plane.until_phase(pod, "Running").await;
    }
    let before = bench.plane.get("pods", "stays").unwrap();
    let shim = pid_of(&bench, &stays);

    // Without a word, as if it had been killed.
    drop(bench.agent.take());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bench.plane.delete("pods", "goes", 0);
    bench.start_agent().await;

    let ended = bench.plane.until_phase("ends", "Failed").await;
    let state = &ended["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(state["exitCode"], 4, "how it ended meanwhile is known: {state}");
    let after = bench.plane.get("pods", "stays").unwrap();
    assert_eq!(
        after["status"]["containerStatuses"],
        before["status"]["containerStatuses"]
    );
    assert_eq!(pid_of(&bench, &stays), shim);
    let gone = bench.pod_dir(goes["metadata"]["uid"].as_str().unwrap());
    for _ in 0..200 {
        if !gone.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(!gone.exists(), "what is not wanted any more is taken down");
    let _ = ends;
    // It still obeys.
    bench.plane.delete("pods", "stays", 10);
    bench.plane.until_gone("stays").await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_takes_its_pod_along_and_it_is_started_anew() {
    let Some(mut bench) = Bench::start().await else { return };
    let pod = bench.create_script("web", "Always", SLEEP);
    let never = bench.create_script("never", "Never", SLEEP);
    for pod in ["web", "never"] {
        bench.plane.until_phase(pod, "Running").await;
    }
    let kill = |bench: &Bench, pod: &Value| {
        let pid = rustix::process::Pid::from_raw(pid_of(bench, pod)).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let restarted = |count: u64| {
        move |pod: &Value| {
            let container = &pod["status"]["containerStatuses"][0];
            container["restartCount"] == count && container["state"]["running"].is_object()
        }
    };
    kill(&bench, &pod);
    bench.plane.until("pods", "web", restarted(1)).await;
    kill(&bench, &never);
    bench.plane.until_phase("never", "Failed").await;

    // And when there is no agent to see it, as after a reboot.
    let agent = bench.agent.take().unwrap();
    agent.shutdown(false).await;
    kill(&bench, &pod);
    bench.start_agent().await;
    bench
        .plane
        .until("pods", "web", |pod| {
            pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
        })
        .await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_on_while_the_control_plane_is_away() {
    let Some(mut bench) = Bench::start().await else { return };
    bench.create_script("web", "Always", SLEEP);
    let job = bench.create_script("job", "OnFailure", "sleep 0.5; echo done");
    for pod in ["web", "job"] {
        bench.plane.until_phase(pod, "Running").await;
    }
    bench.plane.pause();
    bench.until_log(&job, "done").await;
    bench.plane.delete("pods", "web", 5);
    bench.create_script("new", "Never", "echo new");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        bench.plane.get("pods", "job").unwrap()["status"]["phase"],
        "Running",
        "nobody could tell"
    );
    bench.plane.resume().await;
    bench.plane.until_phase("job", "Succeeded").await;
    bench.plane.until_gone("web").await;
    bench.plane.until_phase("new", "Succeeded").await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_taken_down_leaves_nothing_and_starts_its_pods_again() {
    let Some(mut bench) = Bench::start().await else { return };
    bench.create_script("web", "Always", SLEEP);
    bench.plane.until_phase("web", "Running").await;
    bench.agent.take().unwrap().shutdown(true).await;
    bench.until_clean().await;
    assert!(bench.plane.get("pods", "web").is_some(), "its object stays");
    bench.start_agent().await;
    bench
        .plane
        .until("pods", "web", |pod| {
            let container = &pod["status"]["containerStatuses"][0];
            container["restartCount"] == json!(1) && container["state"]["running"].is_object()
        })
        .await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_directory_is_refused() {
    let Some(bench) = Bench::start().await else { return };
    let error = sampan_node::Agent::start(bench.config.clone()).await.err().unwrap();
    assert!(error.to_string().contains("another agent has"), "{error}");
    bench.finish().await;
}

/// The interfaces of a node's pods: the index of each by the pod's uid.
fn interfaces(bench: &Bench) -> BTreeMap<String, String> {
    let owner = format!("sampan:{}:", bench.config.data.display());
    let links = fs::read_dir("/sys/class/net").unwrap().flatten();
    let of_us = links.filter_map(|link| {
        let alias = fs::read_to_string(link.path().join("ifalias")).ok()?;
        let index = fs::read_to_string(link.path().join("ifindex")).ok()?;
        Some((alias.trim().strip_prefix(&owner)?.to_owned(), index.trim().to_owned()))
    });
    of_us.collect()
}

/// Waits until a pod runs with the address that its files name, which is that of its sandbox of now.
async fn settled(bench: &Bench, name: &str) -> String {
    let pod = bench.plane.get("pods", name).unwrap();
    let hosts = bench
        .pod_dir(pod["metadata"]["uid"].as_str().unwrap())
        .join("etc/hosts");
    let settled = |pod: &Value| {
        let hosts = fs::read_to_string(&hosts).unwrap_or_default();
        let named = |line: &str| line.split_whitespace().next() == pod["status"]["podIP"].as_str();
        hosts.lines().any(named) && pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
    };
    let pod = bench.plane.until("pods", name, settled).await;
    pod["status"]["podIP"].as_str().unwrap().to_owned()
}

/// An address that was given, and that the agent died over before it had noted it: neither is it lost, nor has anybody else
/// a share of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_over_an_address_neither_loses_it_nor_gives_it_twice() {
    let Some(mut bench) = Bench::start().await else { return };
    // Room for five.
    bench.agent.take().unwrap().shutdown(true).await;
    bench.config.pod_cidr = bench.config.pod_cidr.replace("/24", "/29");
    bench.start_agent().await;
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let stays = bench.create_script("stays", "Always", SLEEP);
    let kept = settled(&bench, "stays").await;
    let wired = bench.create_script("wired", "Always", SLEEP);
    let begun = bench.create_script("begun", "Always", SLEEP);
    for pod in ["wired", "begun"] {
        settled(&bench, pod).await;
    }
    let before = interfaces(&bench);

    drop(bench.agent.take());
    tokio::time::sleep(Duration::from_millis(300)).await;
    for pod in [&wired, &begun] {
        let path = bench.pod_dir(&uid(pod)).join("record.json");
        fs::write(path, json!({"pod": pod, "manifests": []}).to_string()).unwrap();
    }
    // Of one there is the record alone.
    let shim = rustix::process::Pid::from_raw(pid_of(&bench, &begun)).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    for name in ["late", "later"] {
        bench.create_script(name, "Always", SLEEP);
    }
    bench.start_agent().await;
    let after = interfaces(&bench);
    assert_eq!(after.get(&uid(&stays)), before.get(&uid(&stays)));
    assert_ne!(
        after.get(&uid(&wired)),
        before.get(&uid(&wired)),
        "nobody knows its address, and another may get it"
    );

    let mut addresses = BTreeSet::new();
    for name in ["stays", "wired", "begun", "late", "later"] {
        addresses.insert(settled(&bench, name).await);
    }
    assert_eq!(addresses.len(), 5, "one for each: {addresses:?}");
    assert!(addresses.contains(&kept));
    assert_eq!(interfaces(&bench).len(), 5);
    // All are given, so the next one waits until one is free.
    bench.create_script("full", "Always", SLEEP);
    let waits = |_: &Value| {
        let said = bench.plane.events("full");
        said.iter().any(|words| words.contains("no address is free in 10.231."))
    };
    bench.plane.until("pods", "full", waits).await;
    bench.plane.delete("pods", "late", 0);
    settled(&bench, "full").await;
    bench.finish().await;
}
