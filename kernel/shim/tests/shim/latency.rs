//! How long a start takes, beside `runc run` where there is one. It is printed, never asserted.
use crate::stage::{SHIM, exit_of, pod};
use sampan_shim::{PodSpec, Request, launch};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const ROUNDS: usize = 20;

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what}: median {:?}, fastest {:?}, slowest {:?}",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1]
    );
}

#[test]
fn how_long_a_start_takes() {
    let Some(mut pod) = pod() else { return };
    let mut starts = Vec::new();
    let mut watcher = pod.watcher();
    for number in 0..ROUNDS {
        let mut spec = pod.script(&format!("c{number}"), "sleep 1000");
        spec.limits.memory = Some(64 << 20);
        spec.limits.pids = Some(100);
        spec.limits.cpu_quota = Some(100_000);
        let begun = Instant::now();
        pod.start(&spec).unwrap();
        starts.push(begun.elapsed());
        pod.signal(&spec.name, 9);
        exit_of(&mut watcher, &spec.name);
    }
    report("container start, request to running", starts);

    let mut launches = Vec::new();
    for number in 0..ROUNDS {
        let dir = pod.home.path().join(format!("other-{number}"));
        fs::create_dir(&dir).unwrap();
        let spec = PodSpec {
            namespaces: true,
            ..PodSpec::default()
        };
        let begun = Instant::now();
        let mut launched = launch(Path::new(SHIM), &dir, &spec).unwrap();
        launches.push(begun.elapsed());
        sampan_shim::Client::connect(&dir)
            .unwrap()
            .request(Request::Shutdown)
            .unwrap();
        launched.child.wait().unwrap();
    }
    report("shim start, spawn to ready", launches);
    beside_runc(pod.home.path());
}

/// A whole `runc run` of `true`, as there is no other point to measure it at; its own start is nearly all of it.
fn beside_runc(home: &Path) {
    let bundle = home.join("bundle");
    fs::create_dir_all(&bundle).unwrap();
    let made = Command::new("runc").arg("spec").current_dir(&bundle).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("runc: missing");
        return;
    }
    let config = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["true"]);
    spec["root"]["path"] = home.join("image").to_str().unwrap().into();
    spec["linux"]["cgroupsPath"] = format!("/sampan-runc-{}", std::process::id()).into();
    fs::write(&config, spec.to_string()).unwrap();
    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let begun = Instant::now();
        let name = format!("sampan-latency-{}-{number}", std::process::id());
        let ran = Command::new("runc")
            .args(["--root"])
            .arg(home.join("runc"))
            .args(["run", &name])
            .current_dir(&bundle)
            .output()
            .unwrap();
        if !ran.status.success() {
            println!("runc: failed: {}", String::from_utf8_lossy(&ran.stderr));
            return;
        }
        times.push(begun.elapsed());
    }
    report("runc run true", times);
}
