//! The machine goes down under a node: what the agent left on disk is of another boot, and nothing of it runs.
use crate::support::{Bench, SLEEP, container};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Child, Command},
};

/// As a reboot leaves it: no shim, no cgroup, no mount; on disk all files as they were, but for those that were not
/// waited for.
fn lose_power(bench: &Bench, uid: &str) {
    let dir = bench.pod_dir(uid);
    let info: sampan_shim::ShimInfo = serde_json::from_slice(&fs::read(dir.join("shim/shim.json")).unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(info.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while info.is_alive() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    sampan_shim::sweep_cgroups(&format!("{}/{uid}", bench.config.cgroup)).unwrap();
    for volume in fs::read_dir(dir.join("volumes")).into_iter().flatten().flatten() {
        let _ = rustix::mount::unmount(volume.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

/// After the reboot another program has the shim's pid, and began as many ticks after the boot as the shim had.
fn give_its_pid_away(shim_dir: &Path) -> Child {
    let other = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", other.id())).unwrap();
    let ticks: u64 = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    let info = json!({"pid": other.id(), "startTicks": ticks, "boot": "the boot before"});
    fs::write(shim_dir.join("shim.json"), info.to_string()).unwrap();
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_pods_start_again() {
    let Some(mut bench) = Bench::start().await else { return };
    let script = format!("echo boot >> /memory/boots; cat /memory/boots; {SLEEP}");
    let mut main = container("main", &script);
    main["volumeMounts"] = json!([{"name": "memory", "mountPath": "/memory"}]);
    let volumes = json!([{"name": "memory", "emptyDir": {"medium": "Memory"}}]);
    let always = bench.create_pod("always", json!({"containers": [main], "volumes": volumes}));
    let torn = bench.create_script("torn", "Always", SLEEP);
    let never = bench.create_script("never", "Never", SLEEP);
    bench.create_script("job", "Never", "echo done");
    for pod in ["always", "torn", "never"] {
        bench.plane.until_phase(pod, "Running").await;
    }
    bench.plane.until_phase("job", "Succeeded").await;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let said = bench.plane.get("nodes", "n1").unwrap()["status"]["nodeInfo"]["bootID"].clone();
    assert_eq!(said, boot.trim());

    drop(bench.agent.take());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
    for pod in [&always, &torn, &never] {
        lose_power(&bench, &uid(pod));
    }
    let mut other = give_its_pid_away(&bench.pod_dir(&uid(&always)).join("shim"));
    // What was written last did not reach the disk.
    fs::write(bench.pod_dir(&uid(&torn)).join("record.json"), "").unwrap();
    fs::write(bench.pod_dir(&uid(&torn)).join("shim/shim.json"), "").unwrap();

    bench.start_agent().await;
    for pod in ["always", "torn"] {
        let again = |pod: &Value| {
            let container = &pod["status"]["containerStatuses"][0];
            container["restartCount"] == 1 && container["state"]["running"].is_object()
        };
        bench.plane.until("pods", pod, again).await;
    }
    bench.plane.until_phase("never", "Failed").await;
    let done = bench.plane.get("pods", "job").unwrap();
    assert_eq!(done["status"]["phase"], "Succeeded", "what had ended is not run again");
    assert_eq!(done["status"]["containerStatuses"][0]["restartCount"], 0);
    for _ in 0..200 {
        if !bench.log(&always, 1).is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(bench.log(&always, 1), "boot\n", "its memory is a new one");
    assert!(other.try_wait().unwrap().is_none(), "who has the pid now is let be");
    other.kill().unwrap();
    other.wait().unwrap();
    bench.finish().await;
}
