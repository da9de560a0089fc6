//! Whether the kernel passes packets on at all.
use super::DatapathError;
use sampan_sandbox::network::Family;
use std::fs;

fn path(family: Family) -> &'static str {
    match family {
        Family::V4 => "/proc/sys/net/ipv4/ip_forward",
        Family::V6 => "/proc/sys/net/ipv6/conf/all/forwarding",
    }
}

fn is_on(family: Family) -> bool {
    fs::read_to_string(path(family)).is_ok_and(|text| text.trim() == "1")
}

/// A router hears no other routers unless it is told to (`accept_ra` 2): a machine that has its own way out from them would lose
/// it when it begins to pass on what is for its pods.
fn keep_advertisements() {
    let interfaces = fs::read_dir("/proc/sys/net/ipv6/conf").into_iter().flatten().flatten();
    for path in interfaces.map(|interface| interface.path().join("accept_ra")) {
        if fs::read_to_string(&path).is_ok_and(|text| text.trim() == "1")
            && let Err(error) = fs::write(&path, "2")
        {
            tracing::warn!(path = %path.display(), %error, "routers may not be heard any more");
        }
    }
}

/// Has the network namespace of this thread pass packets on; whether that was new. It stays so: others may need it by now.
///
/// # Errors
/// If that cannot be.
pub(super) fn enable(families: impl Iterator<Item = Family>) -> Result<bool, DatapathError> {
    let mut changed = false;
    for family in families {
        if is_on(family) {
            continue;
        }
        let path = path(family);
        let what = format!("have packets passed on to pods: set {path} to 1, or let the node do it");
        if family == Family::V6 {
            keep_advertisements();
        }
        fs::write(path, "1").map_err(DatapathError::step(what))?;
        changed = true;
    }
    Ok(changed)
}
