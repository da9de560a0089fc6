//! Disks that run full below a whole cluster: the node's, and the server's.
use crate::{
    cluster::{Cluster, SLEEP, is_root},
    registry::{Registry, TOOLS, run},
    tools::have,
};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// A small disk in memory, unmounted when dropped.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={size},mode=0700");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &options, "tmpfs", &path.display().to_string()],
        );
        Disk { path }
    }

    /// Takes what is left of it.
    fn fill(&self) {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
    }
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

fn pod(name: &str, image: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 2\n  \
         containers:\n  - {{name: c, image: \"{image}\", command: [sh, -c, \"{script}\"]{more}\n"
    )
}

#[test]
fn the_nodes_disk_runs_full_and_is_freed() {
    if !have(&TOOLS) || !is_root() {
        return;
    }
    let registry = Registry::start();
    registry.push_busybox("2");
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::mount(dir.path().join("data/node"), "24m");
    let mut cluster = Cluster::start(dir, &["--insecure-registry", &registry.host]);
    cluster.load_busybox("busybox:1");
    let speaks = "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1 & wait; done";
    cluster.feed("apply -f -", &pod("speaks", "busybox:1", speaks, "}"));
    cluster.ok("wait --for=condition=Ready pod/speaks --timeout=60s");
    cluster.ok("create configmap settings --from-literal=a=1");
    let tmp = disk.path.join("images/tmp");
    let images = cluster.ok("image ls -q");
    disk.fill();

    // A user's pull and a user's image are refused, and nothing half-made stays.
    let image = format!("{}/busybox:2", registry.host);
    let refused = cluster.refused(&format!("image pull {image}"));
    assert!(refused.to_lowercase().contains("space"), "{refused}");
    let root = cluster.dir.path().join("busybox");
    fs::write(root.join("more"), vec![7; 3 << 20]).unwrap();
    let refused = cluster.refused(&format!("image build {} -t other:1 --cmd sh", root.display()));
    assert!(refused.to_lowercase().contains("space"), "{refused}");
    assert_eq!((cluster.ok("image ls -q"), count(&tmp)), (images, 0));

    // Pods that need the disk wait and say why; the one that is there goes on.
    cluster.feed("apply -f -", &pod("pulls", &image, SLEEP, "}"));
    let mounts = ", volumeMounts: [{name: v, mountPath: /v}]}\n  volumes: [{name: v, configMap: {name: settings}}]";
    cluster.feed("apply -f -", &pod("mounts", "busybox:1", SLEEP, mounts));
    for name in ["pulls", "mounts"] {
        let wanted = format!("pod/{name}");
        cluster.until("events --types=Warning", |events| {
            events
                .lines()
                .any(|line| line.contains(&wanted) && line.to_lowercase().contains("space"))
        });
    }
    assert_eq!(count(&tmp), 0);
    let status = "get pod speaks -o jsonpath={.status.phase}{.status.containerStatuses[0].restartCount}";
    assert_eq!(cluster.ok(status), "Running0");
    // A cluster that is started anew on a full disk says so or does without; it loses nothing.
    disk.free();
    for name in ["pulls", "mounts"] {
        cluster.ok(&format!("wait --for=condition=Ready pod/{name} --timeout=60s"));
    }
    let last = |log: &str| {
        log.lines()
            .last()
            .and_then(|line| line.strip_prefix("line ")?.parse::<u32>().ok())
    };
    let before = last(&cluster.ok("logs speaks")).unwrap();
    cluster.until("logs speaks --tail=1", |log| {
        last(log).is_some_and(|line| line > before)
    });
    cluster.ok(&format!("image pull {image}"));
    cluster.note();
    cluster.ok("delete pods --all");
    cluster.until("get pods -o name", str::is_empty);
    assert_eq!(count(&tmp), 0);
    cluster.finish();
}

#[test]
fn the_servers_disk_runs_full_and_is_freed() {
    if !have(&["busybox"]) || !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::mount(dir.path().join("data/server"), "32m");
    let mut cluster = Cluster::start(dir, &[]);
    cluster.load_busybox("busybox:1");
    cluster.feed("apply -f -", &pod("stays", "busybox:1", SLEEP, "}"));
    cluster.ok("wait --for=condition=Ready pod/stays --timeout=60s");
    let stays = cluster.list("pods");
    let processes = cluster.processes(&stays);
    disk.fill();
    let large = cluster.file("large", &"x".repeat(300_000));
    let create = |cluster: &Cluster, name: &str| cluster.run(&format!("create configmap {name} --from-file={large}"));
    let mut made = Vec::new();
    let refused = loop {
        let name = format!("m{}", made.len());
        let done = create(&cluster, &name);
        if done.code != 0 {
            break done.err;
        }
        made.push(format!("configmap/{name}\n"));
        assert!(made.len() < 200, "the disk is never full");
    };
    assert!(refused.contains("space"), "{refused}");
    made.sort();
    assert_eq!(cluster.ok("get configmaps -o name"), made.concat(), "reads go on");
    assert_eq!(cluster.ok("get pod stays -o jsonpath={.status.phase}"), "Running");

    disk.free();
    cluster.until("create configmap after --from-literal=a=1", |out| {
        out.contains("created")
    });
    made.insert(0, "configmap/after\n".to_owned());
    cluster.kill();
    cluster.again();
    assert_eq!(cluster.ok("get configmaps -o name"), made.concat());
    assert_eq!(cluster.processes(&stays), processes);
    cluster.note();
    cluster.ok("delete pods --all");
    cluster.finish();
}
