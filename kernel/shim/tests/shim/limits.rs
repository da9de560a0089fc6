//! What a container's cgroup enforces, and how its end is told.
use crate::stage::{pod, pod_with};
use sampan_shim::{Limits, Reason};
use std::fs;

#[test]
fn too_much_memory_is_an_oom_kill() {
    let Some(mut pod) = pod() else { return };
    let mut spec = pod.script("web", "head -c 100000000 /dev/zero | tail -c 100000000 | wc -c");
    spec.args = ["tail", "-c", "100000000", "/dev/zero"].map(str::to_owned).to_vec();
    spec.limits = Limits {
        memory: Some(16 << 20),
        ..Limits::default()
    };
    let (state, printed) = pod.run(&spec);
    assert_eq!(
        (state.reason, state.exit_code, state.signal),
        (Some(Reason::OomKilled), Some(137), Some(9)),
        "{printed}"
    );
}

#[test]
fn processes_and_processor_are_limited() {
    let Some(mut pod) = pod() else { return };
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done; wait; echo never";
    let mut spec = pod.script("forks", script);
    spec.limits = Limits {
        pids: Some(5),
        ..Limits::default()
    };
    let (state, printed) = pod.run(&spec);
    assert!(state.exit_code != Some(0) && printed.contains("fork"), "{printed}");

    let script = "ls /sys/fs/cgroup | tr '\\n' ' '; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; \
                  ulimit -n; cat /proc/self/oom_score_adj; touch /sys/fs/cgroup/x 2>/dev/null || echo sealed";
    let mut spec = pod.script("slow", script);
    spec.limits = Limits {
        cpu_quota: Some(20_000),
        cpu_shares: Some(512),
        ..Limits::default()
    };
    spec.rlimits.insert("nofile".to_owned(), (77, 77));
    spec.oom_score_adj = 321;
    let (_, printed) = pod.run(&spec);
    assert!(
        printed.contains("20000") && printed.ends_with("77\n321\nsealed\n"),
        "{printed}"
    );
}

#[test]
fn cgroups_go_with_their_containers_and_the_pod() {
    let Some(mut pod) = pod() else { return };
    let spec = pod.script("web", "sleep 100");
    let (_, warnings) = pod.start(&spec).unwrap();
    assert_eq!(warnings, [] as [&str; 0]);
    let below = |pod: &crate::stage::Pod| pod.cgroups().iter().filter(|path| path.join("web").exists()).count();
    assert!(below(&pod) > 0);
    // As one does that has its cgroup to itself.
    for cgroup in pod.cgroups() {
        fs::create_dir(cgroup.join("web/nested")).unwrap();
    }
    pod.signal("web", 9);
    crate::stage::wait_for("removal", || below(&pod) == 0);
    pod.client.request(sampan_shim::Request::Shutdown).unwrap();
    assert!(pod.cgroups().is_empty());
    assert!(pod.launched.child.wait().unwrap().success());
    assert!(!pod.dir.join("shim.sock").exists());
    assert_eq!(fs::read_dir(pod.dir.join("web")).unwrap().count(), 2);
}

#[test]
fn a_limit_that_nothing_enforces_is_refused() {
    let Some(mut pod) = pod_with(|spec| spec.cgroup = None) else {
        return;
    };
    let mut spec = pod.script("web", "true");
    spec.limits.memory = Some(1 << 20);
    let error = pod.start(&spec).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot start container \"web\": limits cannot be enforced: the pod has no cgroup"
    );
    spec.limits.memory = None;
    assert_eq!(pod.run(&spec).0.exit_code, Some(0));
}
