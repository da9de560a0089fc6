//! Addresses and ranges: read from Kubernetes' texts, compared, and taken away from one another.
use crate::sampan::network::types::{Address, Family, Range};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Address {
    pub fn family(self) -> Family {
        match self {
            Address::V4(_) => Family::V4,
            Address::V6(_) => Family::V6,
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

    /// The range of a prefix that it is in; none if there is no such prefix.
    pub fn within(self, prefix: u8) -> Option<Range> {
        (prefix <= self.width()).then(|| Range {
            address: self.with_bits(self.bits() & mask(prefix)),
            prefix,
        })
    }

    fn with_bits(self, bits: u128) -> Address {
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
            IpAddr::V6(address) => Address::V6(((address.to_bits() >> 64) as u64, address.to_bits() as u64)),
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

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl From<Address> for Range {
    /// That address alone.
    fn from(address: Address) -> Self {
        Range {
            address,
            prefix: address.width(),
        }
    }
}

impl Range {
    pub fn contains(self, address: Address) -> bool {
        self.address.family() == address.family() && address.bits() & mask(self.prefix) == self.address.bits()
    }

    /// Whether all of another range is in this one.
    pub fn covers(self, other: Range) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// What is left of it without some others: the fewest ranges, in order.
    pub fn without(self, others: &[Range]) -> Vec<Range> {
        if others.iter().any(|other| other.covers(self)) {
            return Vec::new();
        }
        let inside: Vec<Range> = others.iter().copied().filter(|other| self.covers(*other)).collect();
        if inside.is_empty() {
            return vec![self];
        }
        self.halves()
            .into_iter()
            .flat_map(|half| half.without(&inside))
            .collect()
    }

    /// Its two halves. Only asked of a range that has something smaller within.
    fn halves(self) -> [Range; 2] {
        let prefix = self.prefix + 1;
        let upper = self.address.with_bits(self.address.bits() | 1 << (128 - prefix));
        [self.address, upper].map(|address| Range { address, prefix })
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// Reads an address.
pub fn address(text: &str) -> Option<Address> {
    text.parse::<IpAddr>().ok().map(Address::from)
}

/// Reads a range, `10.244.0.0/16`; bits beyond the prefix are let go of.
pub fn range(text: &str) -> Option<Range> {
    let (start, prefix) = text.split_once('/')?;
    let (start, prefix) = (address(start)?, prefix.parse::<u8>().ok()?);
    start.within(prefix)
}

/// Each range once and in order, without those that are within another.
pub fn tidied(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort();
    let mut kept: Vec<Range> = Vec::new();
    for range in ranges {
        // What covers a range begins no later and is wider, so it comes before it in this order.
        if !kept.last().is_some_and(|last| last.covers(range)) {
            kept.push(range);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Vec<Range> {
        texts.iter().map(|text| range(text).unwrap()).collect()
    }

    fn texts(ranges: &[Range]) -> Vec<String> {
        ranges.iter().map(Range::to_string).collect()
    }

    #[test]
    fn texts_are_read_and_written() {
        for text in [
            "10.1.2.0/24",
            "0.0.0.0/0",
            "10.0.0.1/32",
            "::/0",
            "fd00:1::/48",
            "fd00::1/128",
        ] {
            assert_eq!(range(text).unwrap().to_string(), text);
        }
        assert_eq!(range("10.1.2.3/16").unwrap().to_string(), "10.1.0.0/16");
        for text in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "10.0.0.0/-1"] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    #[test]
    fn exceptions_are_taken_away() {
        let all = range("10.0.0.0/8").unwrap();
        assert_eq!(
            texts(&all.without(&ranges(&["10.128.0.0/10", "10.0.0.0/9"]))),
            ["10.192.0.0/10"]
        );
        assert!(all.without(&ranges(&["0.0.0.0/0"])).is_empty());
        assert_eq!(
            texts(&all.without(&ranges(&["11.0.0.0/16", "fd00::/8"]))),
            ["10.0.0.0/8"]
        );
        assert_eq!(all.without(&ranges(&["10.9.9.9/32"])).len(), 24);
        assert_eq!(range("::/0").unwrap().without(&ranges(&["::1/128"])).len(), 128);
        let (some, hole) = (
            range("192.168.0.0/28").unwrap(),
            ranges(&["192.168.0.4/31", "192.168.0.11/32"]),
        );
        let left = some.without(&hole);
        for last in 0..=255 {
            let one = address(&format!("192.168.0.{last}")).unwrap();
            let expected = some.contains(one) && !hole.iter().any(|range| range.contains(one));
            assert_eq!(
                left.iter().filter(|range| range.contains(one)).count(),
                usize::from(expected),
                "{one}"
            );
        }
    }

    #[test]
    fn what_is_within_another_goes() {
        let mixed = ranges(&[
            "10.0.1.0/24",
            "10.0.0.0/8",
            "fd00::/8",
            "10.0.0.0/16",
            "11.0.0.1/32",
            "11.0.0.1/32",
        ]);
        assert_eq!(texts(&tidied(mixed)), ["10.0.0.0/8", "11.0.0.1/32", "fd00::/8"]);
    }
}
