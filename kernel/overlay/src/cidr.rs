//! Ranges of addresses, and what belongs to the longest one that an address is in.
use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range of addresses: `10.42.1.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    base: IpAddr,
    prefix: u8,
}

/// A text or numbers that are no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no range of addresses: expected one as in 10.42.1.0/24, with no bits after the prefix")]
pub struct NoCidr(String);

impl Cidr {
    /// # Errors
    /// If the prefix is longer than the address, or the address has bits after it.
    pub fn new(base: IpAddr, prefix: u8) -> Result<Self, NoCidr> {
        let cidr = Cidr { base, prefix };
        match prefix <= width(base) && masked(base, prefix) == base {
            true => Ok(cidr),
            false => Err(NoCidr(format!("{base}/{prefix}"))),
        }
    }

    pub fn base(&self) -> IpAddr {
        self.base
    }

    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.base.is_ipv4() && masked(address, self.prefix) == self.base
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address without the bits after the prefix.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let wrong = || NoCidr(text.to_owned());
        let (base, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let base = base.parse().map_err(|_| wrong())?;
        let prefix = prefix.parse().map_err(|_| wrong())?;
        Cidr::new(base, prefix).map_err(|_| wrong())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// What belongs to which range. Of several that an address is in, the longest prefix counts.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// By length of prefix, the longest first; few lengths are in use at once.
    lengths: Vec<(u8, HashMap<IpAddr, T>)>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { lengths: Vec::new() }
    }
}

impl<T: Copy> Table<T> {
    pub fn insert(&mut self, range: Cidr, of: T) {
        let at = self.lengths.partition_point(|(prefix, _)| *prefix > range.prefix);
        if self.lengths.get(at).is_none_or(|(prefix, _)| *prefix != range.prefix) {
            self.lengths.insert(at, (range.prefix, HashMap::new()));
        }
        self.lengths[at].1.insert(range.base, of);
    }

    /// What belongs to this very range.
    pub fn of(&self, range: Cidr) -> Option<T> {
        let (_, ranges) = self.lengths.iter().find(|(prefix, _)| *prefix == range.prefix)?;
        ranges.get(&range.base).copied()
    }

    pub fn get(&self, address: IpAddr) -> Option<T> {
        let mut fitting = self.lengths.iter().filter(|(prefix, _)| *prefix <= width(address));
        fitting.find_map(|(prefix, ranges)| ranges.get(&masked(address, *prefix)).copied())
    }
}

impl FromIterator<Cidr> for Table<()> {
    fn from_iter<I: IntoIterator<Item = Cidr>>(ranges: I) -> Self {
        let mut table = Table::default();
        for range in ranges {
            table.insert(range, ());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_read_and_said_alike() {
        for text in ["10.42.1.0/24", "0.0.0.0/0", "10.42.1.7/32", "fd00::/8", "::/0"] {
            assert_eq!(cidr(text).to_string(), text);
        }
        for wrong in [
            "10.42.1.1/24",
            "10.42.0.0",
            "10.42.0.0/33",
            "fd00::/129",
            "x/8",
            "",
            "10.0.0.0/-1",
        ] {
            let error = wrong.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("10.42.1.0/24"), "{error}");
        }
    }

    #[test]
    fn the_longest_prefix_counts() {
        let mut table = Table::default();
        for (range, of) in [
            ("10.0.0.0/8", 1),
            ("10.42.0.0/16", 2),
            ("10.42.1.0/24", 3),
            ("fd00::/8", 4),
        ] {
            table.insert(cidr(range), of);
        }
        let of = |address: &str| table.get(address.parse().unwrap());
        assert_eq!(
            [of("10.1.1.1"), of("10.42.7.1"), of("10.42.1.255")],
            [Some(1), Some(2), Some(3)]
        );
        assert_eq!([of("11.1.1.1"), of("fd12::1"), of("fe80::1")], [None, Some(4), None]);
        let very = |range: &str| table.of(cidr(range));
        assert_eq!(
            [very("10.42.0.0/16"), very("10.42.0.0/24"), very("10.43.0.0/16")],
            [Some(2), None, None]
        );
    }

    #[test]
    fn it_agrees_with_a_search_of_all_ranges() {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..50 {
            let ranges: Vec<Cidr> = (0..40)
                .map(|_| {
                    let prefix = random.random_range(0..=32);
                    let base = IpAddr::from(Ipv4Addr::from_bits(random.random::<u32>() & 0xff03_00ff));
                    Cidr::new(masked(base, prefix), prefix).unwrap()
                })
                .collect();
            let mut table = Table::default();
            ranges.iter().for_each(|range| table.insert(*range, *range));
            for _ in 0..200 {
                let address = IpAddr::from(Ipv4Addr::from_bits(random.random::<u32>() & 0xff03_00ff));
                let longest = ranges
                    .iter()
                    .filter(|range| range.contains(address))
                    .max_by_key(|range| range.prefix);
                assert_eq!(table.get(address), longest.copied(), "{address} of {ranges:?}");
            }
        }
    }
}
