//! What is on this host of a cluster in a directory and a cgroup: when the demo is over, nothing may be. Other clusters of
//! the host have other ones, and are none of its business.
use std::{collections::BTreeSet, fs, path::Path};

/// Everything of the host that a node touches, by name.
pub fn of(data: &Path, cgroup: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    processes(data, &mut found);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    found.extend(
        mounts
            .filter(|point| Path::new(point).starts_with(data))
            .map(|point| format!("mount {point}")),
    );
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let alias = fs::read_to_string(entry.path().join("ifalias")).unwrap_or_default();
        if alias.contains(&*data.to_string_lossy()) {
            found.insert(format!("interface {name}"));
        }
    }
    cgroups(Path::new("/sys/fs/cgroup"), cgroup, 3, &mut found);
    found
}

fn processes(data: &Path, found: &mut BTreeSet<String>) {
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&*data.to_string_lossy()) {
            found.insert(format!(
                "process {pid}: {}",
                command.chars().take(120).collect::<String>()
            ));
        }
    }
}

/// The cluster's group, down to a depth that finds them on v1, v2 and hybrid hosts.
fn cgroups(dir: &Path, name: &str, depth: usize, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.is_dir() || path.is_symlink() {
            continue;
        }
        if entry.file_name() == name {
            found.insert(format!("cgroup {}", path.display()));
        } else if depth > 1 {
            cgroups(&path, name, depth - 1, found);
        }
    }
}
