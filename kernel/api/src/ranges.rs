//! The addresses and ports of a cluster where nothing else is said, and what ranges of addresses may be.
use std::{
    net::{IpAddr, Ipv4Addr},
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

/// Prefixes that a node's range of pods may have.
const POD_PREFIXES: RangeInclusive<u8> = 8..=29;

/// A range of IPv4 addresses: its first address and its prefix.
pub type RangeV4 = (Ipv4Addr, u8);

/// The addresses of a prefix that are not the range's first.
fn host_bits(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

/// Whether two ranges have an address in common.
pub fn overlap(one: RangeV4, other: RangeV4) -> bool {
    let wider = one.1.min(other.1);
    let first = |range: RangeV4| u32::from(range.0) & !host_bits(wider);
    first(one) == first(other)
}

/// A range as people write it.
pub fn text((base, prefix): RangeV4) -> String {
    format!("{base}/{prefix}")
}

/// Reads the range of a node's pods: `10.42.0.0/24`.
///
/// # Errors
/// What is wrong with it, and what it could be; that it overlaps with the range of Services.
pub fn pods_of_node(range: &str) -> Result<RangeV4, String> {
    let wrong = || {
        let (least, most) = (POD_PREFIXES.start(), POD_PREFIXES.end());
        format!("the pod CIDR \"{range}\" is none: expected an IPv4 range of /{least} to /{most}, as in 10.42.0.0/24")
    };
    let (address, prefix) = range.split_once('/').ok_or_else(wrong)?;
    let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if !POD_PREFIXES.contains(&prefix) {
        return Err(wrong());
    }
    let base = Ipv4Addr::from(u32::from(address) & !host_bits(prefix));
    if base != address {
        return Err(format!(
            "the pod CIDR \"{range}\" has bits after its prefix: did you mean {base}/{prefix}?"
        ));
    }
    if overlap((base, prefix), SERVICES) {
        let services = text(SERVICES);
        return Err(format!(
            "the pod CIDR \"{range}\" overlaps with {services}, which Services have their addresses from: choose another, as in \
             10.42.0.0/24"
        ));
    }
    Ok((base, prefix))
}

/// Whether a range has all addresses of another. None if either is no range.
pub fn covers(outer: &str, inner: &str) -> Option<bool> {
    let (outer, inner) = (any(outer)?, any(inner)?);
    Some(match (outer.0, inner.0) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let mask = !host_bits(outer.1);
            outer.1 <= inner.1 && u32::from(one) & mask == u32::from(other) & mask
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let mask = !u128::MAX.checked_shr(outer.1.into()).unwrap_or(0);
            outer.1 <= inner.1 && u128::from(one) & mask == u128::from(other) & mask
        }
        _ => false,
    })
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

    fn range(text: &str) -> RangeV4 {
        let (base, prefix) = text.split_once('/').unwrap();
        (base.parse().unwrap(), prefix.parse().unwrap())
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
        ] {
            assert_eq!(overlap(range(one), range(other)), expected, "{one} {other}");
            assert_eq!(overlap(range(other), range(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn ranges_of_pods_are_sound_and_away_from_services() {
        assert_eq!(pods_of_node("10.42.3.0/24"), Ok(range("10.42.3.0/24")));
        for (wrong, said) in [
            ("10.42.0.0", "expected an IPv4 range"),
            ("10.42.0.0/30", "/8 to /29"),
            ("fd00::/64", "expected an IPv4 range"),
            ("10.42.0.7/24", "did you mean 10.42.0.0/24?"),
            ("10.96.3.0/24", "overlaps with 10.96.0.0/12, which Services"),
            ("10.111.255.0/24", "overlaps with 10.96.0.0/12"),
            ("10.0.0.0/8", "overlaps with 10.96.0.0/12"),
        ] {
            let error = pods_of_node(wrong).unwrap_err();
            assert!(error.contains(said) && error.contains(wrong), "{error}");
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
