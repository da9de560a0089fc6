//! IPv6 on this machine and its interfaces: whether it is there at all, and what an interface of pods is told of it.
use std::{fs, io, path::Path};

const OF_ALL: &str = "/proc/sys/net/ipv6/conf/all";

fn set(interface: &str, name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/{name}"), value)
}

/// Whether this machine can have addresses of IPv6.
///
/// # Errors
/// That it cannot, and what to do.
pub fn available() -> Result<(), String> {
    let of_all = Path::new(OF_ALL);
    let what = match of_all.exists() {
        false => "its kernel has none (ipv6.disable=1?)".to_owned(),
        true => {
            let path = of_all.join("disable_ipv6");
            let disabled = fs::read_to_string(&path).is_ok_and(|text| text.trim() != "0");
            if !disabled {
                return Ok(());
            }
            format!("{} is 1", path.display())
        }
    };
    Err(format!(
        "the cluster is dual-stack, and this machine has no IPv6: {what}. Enable it there, or run this node in a cluster of IPv4 \
         alone"
    ))
}

/// Lets an interface of the thread's network namespace have addresses of IPv6, whatever new ones begin with.
///
/// # Errors
/// If the kernel refuses.
pub fn enable(interface: &str) -> io::Result<()> {
    set(interface, "disable_ipv6", "0")
}

/// The same for one that is a pod's own: its addresses and routes are set, nobody is asked for others, and that of the link is
/// used at once, too.
///
/// # Errors
/// If the kernel refuses.
pub fn enable_in_pod(interface: &str) -> io::Result<()> {
    for name in ["accept_dad", "accept_ra", "autoconf"] {
        set(interface, name, "0")?;
    }
    enable(interface)
}
