//! What a container may do: its user, its capabilities, its confinement.
use super::ConfigError;
use k8s_openapi::api::core::v1::{self as core, Pod};
use std::collections::BTreeSet;

/// What a container is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The user as the pod says it, none: as the image does.
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub groups: Vec<u32>,
    /// Refuse to run as root.
    pub non_root: bool,
    /// `CAP_…` names, sorted.
    pub capabilities: Vec<String>,
    pub privileged: bool,
    pub no_new_privileges: bool,
    pub read_only_root: bool,
    /// No system call filter.
    pub unconfined: bool,
}

/// What Docker gives by default.
const DEFAULT: [&str; 14] = [
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

/// All that Linux has.
const ALL: [&str; 41] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

/// Reads the security contexts of a pod and its container; the container's is above the pod's.
///
/// # Errors
/// Where a user, a group or a capability makes no sense.
pub fn rights(pod: &Pod, container: &core::Container) -> Result<Rights, ConfigError> {
    let of_pod = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.clone())
        .unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let privileged = own.privileged == Some(true);
    let mut groups = Vec::new();
    for group in of_pod.supplemental_groups.iter().flatten().chain(&of_pod.fs_group) {
        groups.extend(id("group", Some(*group))?);
    }
    let profile = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    let unconfined = match profile.map(|profile| profile.type_.as_str()) {
        Some("Localhost") => {
            return Err(ConfigError::config(
                "seccompProfile Localhost is not supported: use RuntimeDefault or Unconfined",
            ));
        }
        kind => kind == Some("Unconfined") || privileged,
    };
    Ok(Rights {
        user: id("runAsUser", own.run_as_user.or(of_pod.run_as_user))?,
        group: id("runAsGroup", own.run_as_group.or(of_pod.run_as_group))?,
        groups,
        non_root: own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true),
        capabilities: if privileged {
            every()
        } else {
            capabilities(own.capabilities.as_ref())?
        },
        privileged,
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
        read_only_root: own.read_only_root_filesystem == Some(true),
        unconfined,
    })
}

fn id(what: &str, value: Option<i64>) -> Result<Option<u32>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    let id = u32::try_from(value).ok().filter(|id| i32::try_from(*id).is_ok());
    id.map(Some)
        .ok_or_else(|| ConfigError::config(format!("{what} {value} is out of range: expected 0 to 2147483647")))
}

fn every() -> Vec<String> {
    ALL.iter().map(|&name| name.to_owned()).collect()
}

/// The default ones, without those dropped, with those added.
fn capabilities(asked: Option<&core::Capabilities>) -> Result<Vec<String>, ConfigError> {
    let mut set: BTreeSet<&str> = DEFAULT.into();
    let lists = asked.map(|asked| {
        (
            asked.drop.clone().unwrap_or_default(),
            asked.add.clone().unwrap_or_default(),
        )
    });
    let (drop, add) = lists.unwrap_or_default();
    for name in drop.iter().map(|name| name.to_ascii_uppercase()) {
        match name.as_str() {
            "ALL" => set.clear(),
            name => {
                set.remove(capability(name)?);
            }
        }
    }
    for name in add.iter().map(|name| name.to_ascii_uppercase()) {
        match name.as_str() {
            "ALL" => set.extend(ALL),
            name => set.extend([capability(name)?]),
        }
    }
    Ok(set.into_iter().map(str::to_owned).collect())
}

fn capability(name: &str) -> Result<&'static str, ConfigError> {
    let bare = name.strip_prefix("CAP_").unwrap_or(name);
    let known = ALL.into_iter().find(|known| known.strip_prefix("CAP_") == Some(bare));
    known.ok_or_else(|| ConfigError::config(format!("unknown capability \"{name}\": expected one as in NET_ADMIN")))
}

/// Whether the user it would run as is allowed.
///
/// # Errors
/// Where it must not be root and would be.
pub fn check_user(rights: &Rights, uid: u32, container: &str) -> Result<(), ConfigError> {
    if rights.non_root && uid == 0 {
        let message = format!(
            "container has runAsNonRoot and image will run as root (container: {container}): set runAsUser, or use an \
             image with another user"
        );
        return Err(ConfigError::config(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(pod: Value, own: Value) -> Result<Rights, String> {
        let spec = json!({"securityContext": pod, "containers": [{"name": "c", "securityContext": own}]});
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        rights(&pod, &container).map_err(|error| error.message)
    }

    #[test]
    fn the_containers_context_is_above_the_pods() {
        let rights = of(
            json!({"runAsUser": 1000, "fsGroup": 2000, "runAsNonRoot": true}),
            json!({"runAsUser": 5}),
        )
        .unwrap();
        assert_eq!(
            (rights.user, rights.groups.as_slice(), rights.non_root),
            (Some(5), [2000].as_slice(), true)
        );
        assert!(check_user(&rights, 5, "c").is_ok() && check_user(&rights, 0, "c").is_err());
        assert!(!rights.no_new_privileges && !rights.unconfined);
        assert!(
            of(json!({"runAsUser": -1}), json!({}))
                .unwrap_err()
                .contains("runAsUser -1")
        );
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        let of = |drop: Value, add: Value| {
            of(json!({}), json!({"capabilities": {"drop": drop, "add": add}})).map(|r| r.capabilities)
        };
        assert_eq!(of(json!([]), json!([])).unwrap(), DEFAULT);
        assert_eq!(
            of(json!(["ALL"]), json!(["NET_BIND_SERVICE", "cap_sys_time"])).unwrap(),
            ["CAP_NET_BIND_SERVICE", "CAP_SYS_TIME"]
        );
        assert_eq!(of(json!(["NET_RAW"]), json!([])).unwrap().len(), 13);
        assert_eq!(of(json!([]), json!(["ALL"])).unwrap().len(), 41);
        assert!(of(json!([]), json!(["FLY"])).unwrap_err().contains("\"FLY\""));
    }

    #[test]
    fn privileged_has_it_all() {
        let rights = of(
            json!({}),
            json!({"privileged": true, "allowPrivilegeEscalation": false}),
        )
        .unwrap();
        assert!(rights.privileged && rights.unconfined && !rights.no_new_privileges && rights.capabilities.len() == 41);
    }
}
