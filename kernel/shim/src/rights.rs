//! What a container's processes may do: capabilities, resource limits, whom they run as.
use crate::{
    error::{Doing, SetupError},
    protocol::{ContainerSpec, User},
    sys,
};
use rustix::{
    process::{Gid, Uid},
    thread::{self, CapabilitySet, CapabilitySets},
};

/// By the kernel's number.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// By the kernel's number.
const RLIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// What Docker gives a container.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Capabilities as a mask of bits.
pub fn capability_mask(names: &[String]) -> Result<u64, SetupError> {
    names.iter().try_fold(0, |mask, name| {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        let known = CAPABILITIES.iter().position(|known| *known == bare);
        let number =
            known.ok_or_else(|| SetupError(format!("unknown capability \"{name}\": expected one as CAP_CHOWN")))?;
        Ok(mask | 1u64 << number)
    })
}

/// Resource limits as (number, soft, hard).
pub fn resource_limits(spec: &ContainerSpec) -> Result<Vec<(u32, u64, u64)>, SetupError> {
    let limits = spec.rlimits.iter().map(|(name, (soft, hard))| {
        let bare = name.to_ascii_lowercase().trim_start_matches("rlimit_").to_owned();
        let known = RLIMITS
            .iter()
            .position(|known| *known == bare)
            .and_then(|number| u32::try_from(number).ok());
        let number =
            known.ok_or_else(|| SetupError(format!("unknown resource limit \"{name}\": expected one as nofile")))?;
        Ok((number, *soft, *hard))
    });
    limits.collect()
}

/// Becomes a user with no more than the capabilities of `mask`, none of them inheritable. Whoever is not root has none in
/// force, but gets them from files that carry them.
pub fn become_user(user: &User, mask: u64) -> Result<(), SetupError> {
    for number in (0..64).filter(|number| mask & 1 << number == 0) {
        if !sys::drop_bounding(number).doing(|| "cannot drop capabilities".to_owned())? {
            break;
        }
    }
    let groups: Vec<Gid> = user.additional_gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    thread::set_thread_groups(&groups).doing(|| "cannot set the supplementary groups".to_owned())?;
    thread::set_thread_res_gid(gid, gid, gid).doing(|| format!("cannot become group {}", user.gid))?;
    thread::set_thread_res_uid(uid, uid, uid).doing(|| format!("cannot become user {}", user.uid))?;
    let held = if user.uid == 0 {
        CapabilitySet::from_bits_retain(mask)
    } else {
        CapabilitySet::empty()
    };
    let sets = CapabilitySets {
        effective: held,
        permitted: held,
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, sets).doing(|| "cannot set the capabilities".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_dockers() {
        let names = DEFAULT_CAPABILITIES.map(str::to_owned);
        assert_eq!(capability_mask(&names).unwrap(), 0xa804_25fb);
        assert!(
            capability_mask(&["CAP_FLY".to_owned()])
                .unwrap_err()
                .to_string()
                .contains("\"CAP_FLY\"")
        );
    }

    #[test]
    fn resource_limits_by_name() {
        let mut spec = ContainerSpec::default();
        spec.rlimits.insert("RLIMIT_NOFILE".to_owned(), (10, 20));
        assert_eq!(resource_limits(&spec).unwrap(), [(7, 10, 20)]);
        spec.rlimits.insert("wings".to_owned(), (0, 0));
        assert!(resource_limits(&spec).unwrap_err().to_string().contains("\"wings\""));
    }
}
