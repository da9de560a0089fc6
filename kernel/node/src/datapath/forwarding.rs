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
        fs::write(path, "1").map_err(DatapathError::step(what))?;
        changed = true;
    }
    Ok(changed)
}
