//! Agents and control planes come and go; pods stay.
use crate::support::{Bench, SLEEP};
use serde_json::{Value, json};
use std::{fs, time::Duration};

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
