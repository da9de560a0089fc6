//! The addresses and ports of a cluster where nothing else is said, and what ranges of addresses may be.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

/// The range that Services have their cluster addresses from, as kubeadm has it: its first address and its prefix.
pub const SERVICES: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 12);

/// The range that nodes get the ranges of their pods from: its first address and its prefix.
pub const PODS: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 42, 0, 0), 16);

/// The ports that Services get on nodes, as Kubernetes has them.
pub const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// The UDP port that nodes exchange their pods' packets on.
pub const OVERLAY_PORT: u16 = 7444;

/// A range of IPv4 addresses: its first address and its prefix.
pub type RangeV4 = (Ipv4Addr, u8);

/// The same of IPv6.
pub type RangeV6 = (Ipv6Addr, u8);

/// A range of either family.
pub type Range = (IpAddr, u8);

/// The bits of an IPv4 address that are not the range's own.
pub(crate) fn host_bits(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

/// The same of an IPv6 address.
pub(crate) fn host_bits_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

/// The first address of the range that an address is in.
pub fn base((address, prefix): Range) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & !host_bits(prefix)).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !host_bits_v6(prefix)).into(),
    }
}

/// Whether two ranges have an address in common.
pub fn overlap(one: Range, other: Range) -> bool {
    let wider = one.1.min(other.1);
    one.0.is_ipv4() == other.0.is_ipv4() && base((one.0, wider)) == base((other.0, wider))
}

/// A range as people write it.
pub fn text((base, prefix): Range) -> String {
    format!("{base}/{prefix}")
}

/// Whether a range has all addresses of another. None if either is no range.
pub fn covers(outer: &str, inner: &str) -> Option<bool> {
    let (outer, inner) = (any(outer)?, any(inner)?);
    let within = outer.0.is_ipv4() == inner.0.is_ipv4() && outer.1 <= inner.1;
    Some(within && base(outer) == base((inner.0, outer.1)))
}

/// An address and a prefix of either family, as policies have them.
pub fn any(range: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = range.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix: u8 = prefix.parse().ok().filter(|prefix| digits && *prefix <= most)?;
    Some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        any(text).unwrap()
    }

    #[test]
    fn ranges_overlap_where_they_have_an_address_in_common() {
        for (one, other, expected) in [
            ("10.42.0.0/24", "10.42.1.0/24", false),
            ("10.42.0.0/24", "10.42.0.0/24", true),
            ("10.42.0.0/16", "10.42.7.0/24", true),
            ("10.42.7.128/25", "10.42.0.0/16", true),
            ("0.0.0.0/0", "192.0.2.0/24", true),
            ("10.43.0.0/16", "10.42.0.0/16", false),
            ("fd42::/56", "fd42:0:0:ff::/64", true),
            ("fd42::/56", "fd42:0:0:100::/64", false),
            ("::/0", "10.42.0.0/16", false),
        ] {
            assert_eq!(overlap(range(one), range(other)), expected, "{one} {other}");
            assert_eq!(overlap(range(other), range(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_range_covers_what_is_in_it() {
        for (outer, inner, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", Some(true)),
            ("10.1.0.0/16", "10.0.0.0/8", Some(false)),
            ("0.0.0.0/0", "10.1.2.3/32", Some(true)),
            ("fd00::/8", "fd12::/16", Some(true)),
            ("::/0", "10.0.0.0/8", Some(false)),
            ("10.0.0.0/33", "10.0.0.0/8", None),
            ("10.0.0.0/+8", "10.0.0.0/8", None),
            ("rubbish", "10.0.0.0/8", None),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} {inner}");
        }
    }
}
