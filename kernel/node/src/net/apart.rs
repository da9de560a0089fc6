//! The cluster's ranges and the networks that this machine is in itself must be apart: of an address that is in both, one of the
//! two can never be reached.
use super::{address::PodCidr, netlink::Netlink};
use rtnetlink::{
    packet_core::NLM_F_DUMP,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
    },
};
use sampan_api::{
    dual::Dual,
    ranges::{self, Range},
};
use std::{io, net::IpAddr};

/// Looks whether a range of this node's pods is one of the machine's own networks. Blocks, for microseconds.
///
/// # Errors
/// Which one it is, and what to do. That the kernel does not tell is none.
pub fn from_host(range: PodCidr, services: Dual) -> Result<(), String> {
    let networks = match networks() {
        Ok(networks) => networks,
        Err(error) => {
            tracing::warn!(%error, "the kernel does not tell what networks this machine is in");
            return Ok(());
        }
    };
    if let Some(((own, _), services)) = clash(&networks, services) {
        let (own, services) = (ranges::text(*own), ranges::text(services));
        tracing::warn!(
            network = own,
            "this machine is in a network that Services have their addresses from ({services}): what has an address of both is \
             not reached from here"
        );
    }
    match clash(&networks, range.ranges()) {
        None => Ok(()),
        Some(((own, address), range)) => Err(format!(
            "the pod CIDR {} overlaps with {}, a network that this machine is in itself (by its address {address}): choose \
             another with --pod-cidr",
            ranges::text(range),
            ranges::text(*own)
        )),
    }
}

/// A network that the machine is in, and its address there.
type Own = (Range, IpAddr);

/// A network and a range that have an address in common.
fn clash(networks: &[Own], ranges: Dual) -> Option<(&Own, Range)> {
    let mut pairs = networks
        .iter()
        .flat_map(|own| ranges.iter().map(move |range| (own, range)));
    pairs.find(|((own, _), range)| ranges::overlap(*own, *range))
}

/// The networks that the machine's interfaces are in. One of a single address is none: such are our own, too.
fn networks() -> io::Result<Vec<Own>> {
    let mut netlink = Netlink::open()?;
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = AddressMessage::default();
        message.header.family = family;
        let answers = netlink.exchange(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP)?;
        found.extend(answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(address) => network(&address),
            _ => None,
        }));
    }
    Ok(found)
}

fn network(message: &AddressMessage) -> Option<Own> {
    let prefix = message.header.prefix_len;
    // Of IPv6 the kernel says one that is its own as the address alone.
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address @ IpAddr::V4(_)) | AddressAttribute::Address(address @ IpAddr::V6(_)) => {
            Some(*address)
        }
        _ => None,
    })?;
    let (whole, of_link) = match address {
        IpAddr::V4(_) => (32, false),
        IpAddr::V6(address) => (128, address.is_unicast_link_local()),
    };
    let base = ranges::base((address, prefix));
    (prefix < whole && !of_link && !address.is_loopback()).then_some(((base, prefix), address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_range_that_is_the_machines_own_is_refused_by_name() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("SKIPPED: needs root, to make a network namespace");
        }
        // On a thread of its own, in a namespace that goes with it.
        let in_namespace = || {
            super::super::own_namespace().unwrap();
            let mut netlink = Netlink::open().unwrap();
            let lo = netlink.index_of("lo").unwrap();
            let mut message = AddressMessage::default();
            message.header.family = AddressFamily::Inet;
            message.header.prefix_len = 20;
            message.header.index = lo;
            for attribute in [
                AddressAttribute::Address(IpAddr::V4(Ipv4Addr::new(10, 42, 17, 3))),
                AddressAttribute::Local(IpAddr::V4(Ipv4Addr::new(10, 42, 17, 3))),
            ] {
                message.attributes.push(attribute);
            }
            let add = RouteNetlinkMessage::NewAddress(message);
            netlink.request(add, super::super::netlink::CREATE).unwrap();
            // One of our own, from a life before.
            netlink.add_address(lo, Ipv4Addr::new(10, 42, 1, 1).into()).unwrap();
            let from_host = |range: &str| from_host(range.parse().unwrap(), Dual::of_v4(ranges::SERVICES));
            let refused = from_host("10.42.30.0/24").unwrap_err();
            assert!(
                refused.contains("10.42.30.0/24 overlaps with 10.42.16.0/20") && refused.contains("10.42.17.3"),
                "{refused}"
            );
            for apart in ["10.42.1.0/24", "10.42.32.0/24"] {
                from_host(apart).unwrap();
            }
        };
        std::thread::spawn(in_namespace).join().unwrap();
    }
}
