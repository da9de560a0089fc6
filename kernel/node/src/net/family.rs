//! IPv6 on this machine and its interfaces: whether it is there at all, and what an interface of pods is told of it.
use super::netlink::Netlink;
use rtnetlink::{
    packet_core::NLM_F_DUMP,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    },
};
use std::{fs, io, net::IpAddr, path::Path};

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

/// What an address of others is not: about to go, not known to be its own yet, or one that changes every day.
const PASSING: AddressHeaderFlags = AddressHeaderFlags::Deprecated
    .union(AddressHeaderFlags::Tentative)
    .union(AddressHeaderFlags::Dadfailed)
    .union(AddressHeaderFlags::Secondary);

/// The address of IPv6 by which others may know this machine, beside the one of IPv4: the first that lasts on the same
/// interface. Blocks, for microseconds.
pub fn beside(address: IpAddr) -> Option<IpAddr> {
    let mut netlink = Netlink::open().ok()?;
    let mut all = |family| {
        let mut message = AddressMessage::default();
        message.header.family = family;
        let answers = netlink.exchange(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP);
        answers
            .unwrap_or_default()
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(found) => Some(found),
                _ => None,
            })
    };
    let has = |found: &AddressMessage, own: &IpAddr| found.attributes.contains(&AddressAttribute::Local(*own));
    let on = all(AddressFamily::Inet)
        .find(|found| has(found, &address))?
        .header
        .index;
    let lasts = |found: &AddressMessage| {
        let header = &found.header;
        header.index == on && header.scope == AddressScope::Universe && !header.flags.intersects(PASSING)
    };
    let lasting = all(AddressFamily::Inet6).find(lasts)?;
    lasting.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(own @ IpAddr::V6(_)) => Some(*own),
        _ => None,
    })
}
