//! Who outlives whom: the agent may go at any moment, and with the shim goes everything.
use crate::stage::{SHIM, exit_of, is_running, pod, pod_with, wait_for};
use sampan_shim::{
    Client, ClientError, ErrorKind, Phase, PodSpec, Request, Rootfs, ShimInfo, client, launch, sweep_cgroups,
};
use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

#[test]
fn the_agent_may_go_and_come_back() {
    let Some(mut pod) = pod() else { return };
    let spec = pod.script("web", "while :; do echo tick; sleep 0.02; done");
    let (state, _) = pod.start(&spec).unwrap();
    let info: ShimInfo = serde_json::from_str(&fs::read_to_string(pod.dir.join("shim.json")).unwrap()).unwrap();
    assert!(info == pod.launched.info && info.is_alive());
    let before_a_reboot = ShimInfo {
        boot: "another boot".into(),
        ..info.clone()
    };
    assert!(!before_a_reboot.is_alive(), "its pid is someone else's by now");
    // A client that dies within a request, and one that never reads.
    let mut rude = client::connect(&pod.dir).unwrap();
    rude.write_all(b"{\"id\": 1, \"requ").unwrap();
    drop(rude);
    pod.client = Client::connect(&pod.dir).unwrap();
    let before = pod.printed("web").len();
    wait_for("more output", || pod.printed("web").len() > before);
    let again = pod.state().remove(0);
    assert_eq!(
        (again.phase, again.pid, again.started_at),
        (Phase::Running, state.pid, state.started_at)
    );
}

#[test]
fn with_the_shim_goes_everything() {
    let Some(mut pod) = pod() else { return };
    let mut pids = Vec::new();
    for (name, uid) in [("root", 0), ("user", 1000)] {
        let mut spec = pod.script(name, "sleep 1000 & sleep 1001");
        spec.user.uid = uid;
        pids.push(pod.start(&spec).unwrap().0.pid);
    }
    let namespace = fs::read_link(format!("/proc/{}/ns/net", pod.launched.info.pid)).unwrap();
    let holders = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|p| fs::read_link(p.path().join("ns/net")).is_ok_and(|of| of == namespace))
            .count()
    };
    assert!(holders() >= 3);
    assert!(!pod.cgroups().is_empty());
    pod.launched.child.kill().unwrap();
    pod.launched.child.wait().unwrap();
    wait_for("the end of all processes", || {
        holders() == 0 && !pids.iter().any(|pid| is_running(*pid))
    });
    assert!(!pod.launched.info.is_alive());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(pod.home.path().to_str().unwrap()));
    sweep_cgroups(&pod.cgroup).unwrap();
    assert!(pod.cgroups().is_empty());
    // And the pod can be held anew.
    let spec = PodSpec {
        namespaces: true,
        cgroup: Some(pod.cgroup.clone()),
        ..PodSpec::default()
    };
    pod.launched = launch(Path::new(SHIM), &pod.dir, &spec).unwrap();
    pod.client = Client::connect(&pod.dir).unwrap();
    let spec = pod.script("root", "exit 4");
    assert_eq!(pod.run(&spec).0.exit_code, Some(4));
}

#[test]
fn a_pod_has_one_shim() {
    let Some(pod) = pod() else { return };
    let error = launch(Path::new(SHIM), &pod.dir, &PodSpec::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("already has a shim"), "{error}");
    let error = launch(Path::new(SHIM), &pod.home.path().join("nowhere"), &PodSpec::default()).unwrap_err();
    assert!(matches!(error, ClientError::Io(_)), "{error}");
}

#[test]
fn a_shim_is_shut_down_by_sigterm_too() {
    let Some(mut pod) = pod() else { return };
    let spec = pod.script("web", "sleep 1000");
    let pid = pod.start(&spec).unwrap().0.pid;
    let killed = std::process::Command::new("/bin/kill")
        .arg(pod.launched.info.pid.to_string())
        .status()
        .unwrap();
    assert!(killed.success() && pod.launched.child.wait().unwrap().success());
    assert!(!is_running(pid) && pod.cgroups().is_empty());
}

#[test]
fn nonsense_is_answered() {
    let Some(mut pod) = pod() else { return };
    let ask = |line: &str| {
        let mut stream = client::connect(&pod.dir).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        let mut answer = [0; 1000];
        let length = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(ask("what?\n").contains("\"kind\":\"invalid\""));
    let unknown = ask("{\"id\":7,\"request\":{\"dance\":{}}}\n");
    assert!(
        unknown.contains("\"id\":7") && unknown.contains("\"kind\":\"unsupported\""),
        "{unknown}"
    );
    assert!(
        ask("{\"id\":8,\"request\":\"state\"}\n")
            .contains("{\"reply\":{\"id\":8,\"result\":{\"ok\":{\"state\":{\"containers\":[]}}}}}")
    );
    let missing = pod.client.request(Request::Signal {
        container: "x".to_owned(),
        signal: 9,
    });
    assert!(matches!(missing, Err(ClientError::Refused(error)) if error.kind == ErrorKind::NotFound));
}

#[test]
fn a_program_of_the_node_runs_in_the_pods_network() {
    let Some(mut pod) = pod() else { return };
    let mut spec = pod.script("runner", "readlink /proc/self/ns/net; hostname; sleep 1000 & exit 5");
    spec.rootfs = Rootfs::Host;
    spec.args[0] = "/bin/sh".to_owned();
    let (state, printed) = pod.run(&spec);
    let of_pod = fs::read_link(format!("/proc/{}/ns/net", pod.launched.info.pid)).unwrap();
    assert_eq!(
        (state.exit_code, printed),
        (Some(5), format!("{}\nboat\n", of_pod.display()))
    );
    // What it left behind went with it.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pod.launched.info.pid)).unwrap();
    wait_for("the orphan's end", || {
        children.split_whitespace().all(|pid| !is_running(pid.parse().unwrap()))
    });
}

#[test]
fn without_namespaces_only_programs_of_the_node_run() {
    let Some(mut pod) = pod_with(|spec| (spec.namespaces, spec.cgroup) = (false, None)) else {
        return;
    };
    let spec = pod.script("web", "true");
    assert!(
        pod.start(&spec)
            .unwrap_err()
            .to_string()
            .contains("containers need root")
    );
    let mut spec = pod.script("runner", "readlink /proc/self/ns/net; sleep 1000");
    spec.rootfs = Rootfs::Host;
    let mut watcher = pod.watcher();
    pod.start(&spec).unwrap();
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    wait_for("output", || pod.printed("runner") == format!("{}\n", own.display()));
    pod.signal("runner", 9);
    assert_eq!(exit_of(&mut watcher, "runner").signal, Some(9));
}
