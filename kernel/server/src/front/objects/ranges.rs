//! What Services are given addresses and node ports from, and what is free there.
use sampan_api::{
    ApiError, Reason,
    dual::Dual,
    ranges::{self, Range},
};
use sampan_state::{Snapshot, claims::Claim};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

/// So often a free one is looked for at random before all are looked at.
const DRAWS: usize = 32;

/// What Services are given addresses and ports from.
#[derive(Clone, Debug)]
pub struct ServiceRanges {
    pub addresses: Dual,
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceRanges {
    fn default() -> Self {
        ServiceRanges::of(Dual::of_v4(ranges::SERVICES))
    }
}

/// How many addresses a range has.
fn size((address, prefix): Range) -> u32 {
    let bits = if address.is_ipv4() { 32 } else { 128_u32 };
    1_u32
        .checked_shl(bits.saturating_sub(prefix.into()))
        .unwrap_or(u32::MAX)
}

/// Where those begin that are given to who names none. Kubernetes leaves the lower ones to those who do.
fn first_given(range: Range) -> u32 {
    let size = size(range);
    (size / 16).clamp(16, 256).min(size / 2).max(1)
}

fn at((base, _): Range, offset: u32) -> IpAddr {
    match base {
        IpAddr::V4(base) => Ipv4Addr::from(u32::from(base) + offset).into(),
        IpAddr::V6(base) => Ipv6Addr::from(u128::from(base) + u128::from(offset)).into(),
    }
}

impl ServiceRanges {
    /// With the usual node ports.
    pub fn of(addresses: Dual) -> Self {
        ServiceRanges {
            addresses,
            node_ports: ranges::NODE_PORTS,
        }
    }

    /// The range of an address's family.
    pub fn of_family(&self, is_v6: bool) -> Option<Range> {
        self.addresses.iter().find(|(base, _)| base.is_ipv6() == is_v6)
    }

    /// Whether an address may be a Service's.
    pub fn contains(&self, address: IpAddr) -> bool {
        let Some(range) = self.of_family(address.is_ipv6()) else {
            return false;
        };
        // Neither the range's own nor its last.
        let within = ranges::base((address, range.1)) == range.0;
        within && address != range.0 && address != at(range, size(range) - 1)
    }

    /// # Errors
    /// `Forbidden` if none is.
    pub fn free_address(&self, range: Range, state: &Snapshot) -> Result<IpAddr, ApiError> {
        let (first, end) = (first_given(range), size(range) - 1);
        let free = |offset: &u32| state.holder(&Claim::Address(at(range, *offset))).is_none();
        let drawn = (0..DRAWS).map(|_| rand::random_range(first..end)).find(free);
        let found = drawn.or_else(|| (first..end).chain(1..first).find(free));
        let none = || {
            let range = ranges::text(range);
            ApiError::new(
                Reason::Forbidden,
                format!("no address is free in {range}: delete Services that are not needed"),
            )
        };
        found.map(|offset| at(range, offset)).ok_or_else(none)
    }

    /// # Errors
    /// `Forbidden` if none is.
    pub fn free_port(&self, protocol: &str, state: &Snapshot, own: &BTreeSet<Claim>) -> Result<u16, ApiError> {
        let free = |port: &u16| {
            let claim = Claim::NodePort(*port, protocol.to_owned());
            state.holder(&claim).is_none() && !own.contains(&claim)
        };
        let all = self.node_ports.clone();
        let drawn = (0..DRAWS).map(|_| rand::random_range(all.clone())).find(free);
        let none = || {
            let (first, last) = (all.start(), all.end());
            ApiError::new(
                Reason::Forbidden,
                format!("no node port is free between {first} and {last}: delete Services that are not needed"),
            )
        };
        drawn.or_else(|| all.clone().find(free)).ok_or_else(none)
    }
}
