//! Limits as the files of a cgroup.
use crate::protocol::Limits;
use std::{fs, io, path::Path};

/// Microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// Whether a limit depends on one of these controllers. A weight does not: without contention it is nothing.
pub fn insists(limits: &Limits, controllers: &[&str]) -> bool {
    controllers.iter().any(|controller| match *controller {
        "cpu" => limits.cpu_quota.is_some(),
        "memory" => limits.memory.is_some(),
        "pids" => limits.pids.is_some(),
        _ => false,
    })
}

/// Writes the limits that these controllers enforce.
pub fn apply(dir: &Path, v2: bool, controllers: &[&str], limits: &Limits) -> io::Result<()> {
    for controller in controllers {
        for (file, value, needed) in files(controller, v2, limits) {
            match fs::write(dir.join(file), value) {
                Err(error) if needed => return Err(error),
                // Swap accounting and the like, which a kernel may be built without.
                _ => {}
            }
        }
    }
    Ok(())
}

/// File, content, and whether it is an error if it cannot be written. The order matters to the kernel.
fn files(controller: &str, v2: bool, limits: &Limits) -> Vec<(&'static str, String, bool)> {
    let mut files = Vec::new();
    let period = limits.cpu_period.unwrap_or(DEFAULT_PERIOD);
    match (controller, v2) {
        ("cpu", true) => {
            files.extend(
                limits
                    .cpu_shares
                    .map(|shares| ("cpu.weight", weight(shares).to_string(), false)),
            );
            files.extend(
                limits
                    .cpu_quota
                    .map(|quota| ("cpu.max", format!("{quota} {period}"), true)),
            );
        }
        ("cpu", false) => {
            files.extend(
                limits
                    .cpu_shares
                    .map(|shares| ("cpu.shares", shares.clamp(2, 262_144).to_string(), false)),
            );
            if let Some(quota) = limits.cpu_quota {
                files.push(("cpu.cfs_period_us", period.to_string(), true));
                files.push(("cpu.cfs_quota_us", quota.to_string(), true));
            }
        }
        ("memory", true) => {
            if let Some(memory) = limits.memory {
                files.push(("memory.max", memory.to_string(), true));
                files.push(("memory.swap.max", "0".to_owned(), false));
                files.push(("memory.oom.group", "1".to_owned(), false));
            }
        }
        ("memory", false) => {
            if let Some(memory) = limits.memory {
                files.push(("memory.limit_in_bytes", memory.to_string(), true));
                files.push(("memory.memsw.limit_in_bytes", memory.to_string(), false));
            }
        }
        ("pids", _) => files.extend(limits.pids.map(|pids| ("pids.max", pids.to_string(), true))),
        _ => {}
    }
    files
}

/// Version 1's shares (2 to 262144) on version 2's scale (1 to 10000).
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_the_same() {
        let limits = Limits {
            cpu_quota: Some(50_000),
            cpu_shares: Some(1024),
            memory: Some(4096),
            ..Limits::default()
        };
        let names = |controller, v2| {
            files(controller, v2, &limits)
                .into_iter()
                .map(|(f, v, _)| format!("{f}={v}"))
                .collect()
        };
        let (one, two): (Vec<String>, Vec<String>) = (names("cpu", false), names("cpu", true));
        assert_eq!(
            one,
            ["cpu.shares=1024", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"]
        );
        assert_eq!(two, ["cpu.weight=39", "cpu.max=50000 100000"]);
        assert_eq!(files("memory", true, &limits)[0].1, "4096");
        assert!(files("pids", true, &limits).is_empty());
        assert!(
            insists(&limits, &["cpu"])
                && !insists(
                    &Limits {
                        cpu_shares: Some(2),
                        ..Limits::default()
                    },
                    &["cpu"]
                )
        );
    }
}
