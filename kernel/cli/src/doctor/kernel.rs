//! What the kernel has, and what it lets this user do.
use super::{Finding, kernel_text};
use std::path::Path;

/// The oldest kernel that is tested; openat2 came with 5.6, cgroup.kill with 5.14.
const TESTED: (u32, u32) = (5, 10);

pub fn version() -> Finding {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = format!("Linux {release} on {}", name.machine().to_string_lossy());
    match version {
        version if version >= TESTED => Finding::ok("kernel", found),
        (5, 6..) => Finding::warn("kernel", found, "5.10 or newer is tested"),
        _ => Finding::fail("kernel", found, "use a kernel of 5.10 or newer"),
    }
}

pub fn rights(root: bool) -> Finding {
    match root {
        true => Finding::ok("root", "this is root"),
        false => Finding::warn(
            "root",
            "not root: Wasm workloads only, on loopback addresses",
            "sudo sampan up",
        ),
    }
}

pub fn user_namespaces(root: bool) -> Finding {
    let check = "user namespaces";
    let most = kernel_text("/proc/sys/user/max_user_namespaces").and_then(|text| text.parse::<u64>().ok());
    let forbidden = kernel_text("/proc/sys/kernel/unprivileged_userns_clone").is_some_and(|text| text == "0")
        || kernel_text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").is_some_and(|text| text == "1");
    match most {
        Some(0) => Finding::warn(check, "switched off", "sysctl -w user.max_user_namespaces=10000"),
        Some(_) if forbidden && !root => Finding::warn(check, "for root alone", "not needed as root: sudo sampan up"),
        Some(_) => Finding::ok(check, "there"),
        None => Finding::warn(check, "not in this kernel", "only wanted without root"),
    }
}

/// Which cgroups this host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hierarchy {
    Unified,
    /// v1 controllers, and a v2 tree without.
    Hybrid,
    Legacy,
    Missing,
}

fn hierarchy(mounts: &str) -> Hierarchy {
    // "… - TYPE SOURCE OPTIONS"
    let kinds = mounts
        .lines()
        .filter_map(|line| line.split(" - ").nth(1)?.split(' ').next());
    let kinds: Vec<&str> = kinds.filter(|kind| kind.starts_with("cgroup")).collect();
    match (kinds.contains(&"cgroup"), kinds.contains(&"cgroup2")) {
        (false, true) => Hierarchy::Unified,
        (true, true) => Hierarchy::Hybrid,
        (true, false) => Hierarchy::Legacy,
        (false, false) => Hierarchy::Missing,
    }
}

pub fn cgroups(root: bool) -> Finding {
    let check = "cgroups";
    let mounts = kernel_text("/proc/self/mountinfo").unwrap_or_default();
    let kind = hierarchy(&mounts);
    let (word, controllers) = match kind {
        Hierarchy::Unified => (
            "v2",
            kernel_text("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default(),
        ),
        Hierarchy::Hybrid => ("hybrid (v1 controllers)", legacy_controllers()),
        Hierarchy::Legacy => ("v1", legacy_controllers()),
        Hierarchy::Missing => {
            return Finding::fail(
                check,
                "not mounted",
                "mount -t cgroup2 none /sys/fs/cgroup (systemd does it by itself)",
            );
        }
    };
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|c| !controllers.split([' ', ',']).any(|have| have == *c))
        .collect();
    let found = format!("{word}, with {}", controllers.replace(',', " "));
    if !missing.is_empty() {
        let remedy = format!(
            "boot with {} enabled, as in cgroup_enable=memory; limits do not hold without",
            missing.join(", ")
        );
        return Finding::warn(check, format!("{word}, without {}", missing.join(", ")), remedy);
    }
    let writable =
        rustix::fs::access("/sys/fs/cgroup", rustix::fs::Access::WRITE_OK).is_ok() || kind != Hierarchy::Unified;
    match root && !writable {
        true => Finding::fail(
            check,
            format!("{found}; read-only"),
            "in a container: run it privileged, with its own cgroup namespace",
        ),
        false => Finding::ok(check, found),
    }
}

/// The v1 controllers that are mounted.
fn legacy_controllers() -> String {
    let known = ["cpu", "memory", "pids", "freezer", "devices"];
    let there = known
        .into_iter()
        .filter(|name| Path::new("/sys/fs/cgroup").join(name).is_dir());
    there.collect::<Vec<_>>().join(" ")
}

pub fn overlay(root: bool) -> Finding {
    let check = "overlayfs";
    let known = kernel_text("/proc/filesystems").unwrap_or_default();
    if known
        .lines()
        .any(|line| line.trim_start_matches("nodev").trim() == "overlay")
    {
        return Finding::ok(check, "there");
    }
    match root {
        true => Finding::fail(check, "not loaded", "modprobe overlay"),
        false => Finding::warn(
            check,
            "not loaded",
            "wanted for containers, which need root: modprobe overlay",
        ),
    }
}

pub fn seccomp() -> Finding {
    match Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        true => Finding::ok("seccomp", "there"),
        false => Finding::fail(
            "seccomp",
            "not in this kernel",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

pub fn inotify() -> Finding {
    let check = "inotify";
    let read =
        |name: &str| kernel_text(&format!("/proc/sys/fs/inotify/{name}")).and_then(|text| text.parse::<u64>().ok());
    let (instances, watches) = (
        read("max_user_instances").unwrap_or(0),
        read("max_user_watches").unwrap_or(0),
    );
    let found = format!("{instances} instances, {watches} watches");
    if instances >= 128 && watches >= 8192 {
        return Finding::ok(check, found);
    }
    Finding::warn(
        check,
        found,
        "sysctl -w fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=65536",
    )
}

pub fn memory() -> Finding {
    let check = "memory";
    let info = kernel_text("/proc/meminfo").unwrap_or_default();
    let available = info.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    match available {
        Some(kib) if kib >= 256 << 10 => Finding::ok(check, format!("{} available", crate::progress::size(kib << 10))),
        Some(kib) => Finding::warn(
            check,
            format!("{} available", crate::progress::size(kib << 10)),
            "a node wants 256 MiB and what its pods need",
        ),
        None => Finding::warn(check, "not known", "is /proc mounted?"),
    }
}

/// Certificates do not hold where it is another year.
pub fn clock() -> Finding {
    let now = jiff::Timestamp::now();
    let found = format!("{now:.0}");
    match now.as_second() {
        // 2025 to 2100.
        1_735_689_600..4_102_444_800 => Finding::ok("clock", found),
        _ => Finding::fail("clock", found, "set the time: timedatectl set-ntp true"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_different_cgroups() {
        let v1 = "30 20 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let v2 = "31 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(hierarchy(v2), Hierarchy::Unified);
        assert_eq!(hierarchy(v1), Hierarchy::Legacy);
        assert_eq!(hierarchy(&format!("{v1}\n{v2}")), Hierarchy::Hybrid);
        assert_eq!(hierarchy("1 1 0:1 / / rw - ext4 /dev/vda1 rw"), Hierarchy::Missing);
    }
}
