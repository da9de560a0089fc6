//! Ranges of IPv4 addresses that Services get theirs from: `192.0.2.0/28`, `192.0.2.16-192.0.2.31`.
use std::{collections::BTreeSet, net::Ipv4Addr, ops::RangeInclusive};

/// The most addresses that a pool has.
const MOST: u32 = 1 << 16;

/// A pool: its ranges, in the order in which they are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool(Vec<RangeInclusive<u32>>);

impl Pool {
    /// Reads the ranges.
    ///
    /// # Errors
    /// Which one is none, and what is expected.
    pub fn parse<'a>(ranges: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let ranges: Vec<_> = ranges.into_iter().map(range).collect::<Result<_, _>>()?;
        let size: u64 = ranges
            .iter()
            .map(|range| u64::from(range.end() - range.start()) + 1)
            .sum();
        if size > u64::from(MOST) {
            return Err(format!("the pool has {size} addresses: {MOST} are the limit"));
        }
        Ok(Pool(ranges))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.0.iter().any(|range| range.contains(&address.to_bits()))
    }

    /// The first address that nobody has.
    pub fn free(&self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let all = self.0.iter().cloned().flatten().map(Ipv4Addr::from_bits);
        all.into_iter().find(|address| !taken.contains(address))
    }
}

fn range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let wrong =
        || format!("\"{text}\" is no range of addresses: expected one as in 192.0.2.0/28 or 192.0.2.1-192.0.2.9");
    let address = |text: &str| {
        text.trim()
            .parse::<Ipv4Addr>()
            .map(Ipv4Addr::to_bits)
            .map_err(|_| wrong())
    };
    let range = match (text.split_once('-'), text.split_once('/')) {
        (Some((first, last)), _) => address(first)?..=address(last)?,
        (None, Some((base, prefix))) => {
            let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(wrong)?;
            let others = u32::MAX.checked_shr(prefix).unwrap_or(0);
            let base = address(base)? & !others;
            base..=base | others
        }
        (None, None) => address(text)?..=address(text)?,
    };
    match range.is_empty() {
        true => Err(wrong()),
        false => Ok(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let pool = Pool::parse(["192.0.2.8/30", "198.51.100.1-198.51.100.2", "203.0.113.9"]).unwrap();
        let mut taken = BTreeSet::new();
        while let Some(free) = pool.free(&taken) {
            assert!(pool.contains(free));
            taken.insert(free);
        }
        let all: Vec<String> = taken.iter().map(ToString::to_string).collect();
        let first = ["192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11"];
        assert_eq!(all[..4], first);
        assert_eq!(all[4..], ["198.51.100.1", "198.51.100.2", "203.0.113.9"]);
        assert!(!pool.contains(Ipv4Addr::new(192, 0, 2, 12)));
        for wrong in ["", "x", "192.0.2.0/33", "192.0.2.2-192.0.2.1", "fd00::/64"] {
            assert!(Pool::parse([wrong]).unwrap_err().contains("192.0.2.0/28"), "{wrong}");
        }
        assert!(Pool::parse(["10.0.0.0/8"]).unwrap_err().contains("limit"));
    }
}
