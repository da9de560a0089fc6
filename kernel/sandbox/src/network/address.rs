//! Addresses, ranges and keys of the contract: read, written and compared.
use super::{Address, Destination, EntryKey, Family, FrontendKey, Protocol, Range, Table};
use std::{
    fmt::{Display, Formatter, Result},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

impl Address {
    pub fn family(self) -> Family {
        match self {
            Address::V4(_) => Family::V4,
            Address::V6(_) => Family::V6,
        }
    }

    /// Whether something can be sent there from another machine.
    pub(super) fn is_unicast(self) -> bool {
        match IpAddr::from(self) {
            IpAddr::V4(address) => {
                !(address.is_unspecified()
                    || address.is_loopback()
                    || address.is_link_local()
                    || address.is_multicast()
                    || address.is_broadcast())
            }
            IpAddr::V6(address) => {
                !(address.is_unspecified()
                    || address.is_loopback()
                    || address.is_unicast_link_local()
                    || address.is_multicast()
                    || address.to_ipv4_mapped().is_some())
            }
        }
    }

    fn width(self) -> u8 {
        match self {
            Address::V4(_) => 32,
            Address::V6(_) => 128,
        }
    }

    /// Its bits, the first one uppermost.
    fn bits(self) -> u128 {
        match self {
            Address::V4(bits) => u128::from(bits) << 96,
            Address::V6((upper, lower)) => u128::from(upper) << 64 | u128::from(lower),
        }
    }

    fn with_bits(self, bits: u128) -> Self {
        match self {
            Address::V4(_) => Address::V4((bits >> 96) as u32),
            Address::V6(_) => Address::V6(((bits >> 64) as u64, bits as u64)),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Address::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                Address::V6(((bits >> 64) as u64, bits as u64))
            }
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        match address {
            Address::V4(bits) => Ipv4Addr::from_bits(bits).into(),
            Address::V6(_) => Ipv6Addr::from_bits(address.bits()).into(),
        }
    }
}

impl Range {
    /// Reads `10.244.0.0/16`, whose bits beyond the prefix must be 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let range = Range {
            address: address.into(),
            prefix: prefix.parse().ok()?,
        };
        range.is_sound().then_some(range)
    }

    /// Whether its prefix fits its address, and all other bits are 0.
    pub(super) fn is_sound(self) -> bool {
        self.prefix <= self.address.width() && self.address.bits() & mask(self.prefix) == self.address.bits()
    }

    pub fn contains(self, address: Address) -> bool {
        self.address.family() == address.family() && address.bits() & mask(self.prefix) == self.address.bits()
    }

    /// The last address in it.
    pub(crate) fn last(self) -> Address {
        self.address.with_bits(self.address.bits() | !mask(self.prefix))
    }

    /// Whether all of another range is in this one.
    pub fn covers(self, other: Range) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

fn mask(prefix: u8) -> u128 {
    let others = 128_u32.saturating_sub(u32::from(prefix));
    u128::MAX.checked_shl(others).unwrap_or(0)
}

impl EntryKey {
    pub fn table(&self) -> Table {
        match self {
            EntryKey::Route(_) => Table::Routes,
            EntryKey::Frontend(_) => Table::Frontends,
            EntryKey::Peers(_) | EntryKey::Rules(_) => Table::Policies,
        }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Display for FrontendKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.destination {
            Destination::Address(address @ Address::V4(_)) => write!(f, "{address}:{}", self.port)?,
            Destination::Address(address @ Address::V6(_)) => write!(f, "[{address}]:{}", self.port)?,
            Destination::Node(Family::V4) => write!(f, "node:{}", self.port)?,
            Destination::Node(Family::V6) => write!(f, "node6:{}", self.port)?,
        }
        f.write_str(match self.protocol {
            Protocol::Tcp => "/tcp",
            Protocol::Udp => "/udp",
            Protocol::Sctp => "/sctp",
        })
    }
}

impl Display for EntryKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            EntryKey::Route(range) => write!(f, "route {range}"),
            EntryKey::Frontend(key) => write!(f, "frontend {key}"),
            EntryKey::Peers(name) => write!(f, "peer set {}", name.escape_debug()),
            EntryKey::Rules(pod) => {
                let (namespace, name) = (pod.namespace.escape_debug(), pod.name.escape_debug());
                write!(f, "rules of pod {namespace}/{name}")
            }
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Table::Routes => "routes",
            Table::Frontends => "frontends",
            Table::Policies => "policies",
        })
    }
}
