//! What a node's pods are on the machine, and what may be left of them.
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The shim of each pod of a node's data directory, and what it has started.
pub fn of_pods(data: &Path, pods: &[Value]) -> Vec<(i32, Vec<i32>)> {
    let of = |pod: &Value| {
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let path = data.join("node/pods").join(uid).join("shim/shim.json");
        let info: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let shim = i32::try_from(info["pid"].as_i64().unwrap()).unwrap();
        (shim, children(shim))
    };
    pods.iter().map(of).collect()
}

/// The uids of the pods that a node's data directory has.
pub fn pods(data: &Path) -> BTreeSet<String> {
    let pods = fs::read_dir(data.join("node/pods"));
    let names = pods.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Ends by force what a test that failed has left.
pub fn wipe(data: &Path, pods: &BTreeSet<String>) {
    for pid in processes(data) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    for mount in mounts(&data.join("node/pods")) {
        let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
    }
    for uid in pods {
        for group in cgroups(uid) {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Everything on the machine that a cluster in a directory may have left, but for interfaces.
pub fn traces(data: &Path, pods: &BTreeSet<String>) -> Vec<String> {
    let mut found: Vec<String> = processes(data).iter().map(|pid| format!("process {pid}")).collect();
    found.extend(
        mounts(&data.join("node/pods"))
            .iter()
            .map(|path| format!("mount {}", path.display())),
    );
    found.extend(
        pods.iter()
            .flat_map(|uid| cgroups(uid))
            .map(|group| format!("cgroup {}", group.display())),
    );
    found
}

/// Those that name the directory on their command line: agent, shims and Wasm runners.
pub fn processes(data: &Path) -> Vec<i32> {
    let of = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line)
            .contains(&*data.to_string_lossy())
            .then_some(pid)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

fn mounts(below: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    points.filter(|point| point.starts_with(below)).collect()
}

fn cgroups(uid: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let groups = hierarchies
        .chain([root.to_owned()])
        .map(|path| path.join("sampan").join(uid));
    groups.filter(|group| group.is_dir()).collect()
}

fn children(of: i32) -> Vec<i32> {
    let parent = |entry: &fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: i32 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
        (parent == of).then_some(entry.file_name().to_str()?.parse().ok()?)
    };
    let mut found: Vec<i32> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| parent(&entry))
        .collect();
    found.sort_unstable();
    found
}
