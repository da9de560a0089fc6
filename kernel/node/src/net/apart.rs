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
use sampan_api::ranges::{self, RangeV4};
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

/// Looks whether the range of this node's pods is one of the machine's own networks. Blocks, for microseconds.
///
/// # Errors
/// Which one it is, and what to do. That the kernel does not tell is none.
pub fn from_host(range: PodCidr) -> Result<(), String> {
    let networks = match networks() {
        Ok(networks) => networks,
        Err(error) => {
            tracing::warn!(%error, "the kernel does not tell what networks this machine is in");
            return Ok(());
        }
    };
    if let Some((own, _)) = clash(&networks, ranges::SERVICES) {
        let (own, services) = (ranges::text(*own), ranges::text(ranges::SERVICES));
        tracing::warn!(
            network = own,
            "this machine is in a network that Services have their addresses from ({services}): what has an address of both is \
             not reached from here"
        );
    }
    match clash(&networks, range.range()) {
        None => Ok(()),
        Some((own, address)) => Err(format!(
            "the pod CIDR {range} overlaps with {}, a network that this machine is in itself (by its address {address}): choose \
             another with --pod-cidr",
            ranges::text(*own)
        )),
    }
}

/// A network that the machine is in, and its address there.
type Own = (RangeV4, Ipv4Addr);

fn clash(networks: &[Own], range: RangeV4) -> Option<&Own> {
    networks.iter().find(|(own, _)| ranges::overlap(*own, range))
}

/// The networks that the machine's interfaces are in. One of a single address is none: such are our own, too.
fn networks() -> io::Result<Vec<Own>> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    let answers = Netlink::open()?.exchange(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP)?;
    let own = |answer| match answer {
        RouteNetlinkMessage::NewAddress(address) => network(&address),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(own).collect())
}

fn network(message: &AddressMessage) -> Option<Own> {
    let prefix = message.header.prefix_len;
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    let base = Ipv4Addr::from(u32::from(address) & mask);
    (prefix < 32 && !address.is_loopback()).then_some(((base, prefix), address))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            netlink.add_address(lo, Ipv4Addr::new(10, 42, 1, 1)).unwrap();
            let refused = from_host("10.42.30.0/24".parse().unwrap()).unwrap_err();
            assert!(
                refused.contains("10.42.30.0/24 overlaps with 10.42.16.0/20") && refused.contains("10.42.17.3"),
                "{refused}"
            );
            for apart in ["10.42.1.0/24", "10.42.32.0/24"] {
                from_host(apart.parse().unwrap()).unwrap();
            }
        };
        std::thread::spawn(in_namespace).join().unwrap();
    }
}
