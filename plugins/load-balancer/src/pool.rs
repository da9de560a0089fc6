//! Ranges of addresses that Services get theirs from: `192.0.2.0/28`, `192.0.2.16-192.0.2.31`, `2001:db8:0:7::/64`.
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The most addresses of IPv4 that a pool has.
const MOST: u128 = 1 << 16;

/// What is expected instead of what is none.
const NO_RANGE: &str =
    "is no range of addresses: expected one as in 192.0.2.0/28, 192.0.2.1-192.0.2.9 or 2001:db8:0:7::/64";

/// What no range has: addresses of one machine, of one link, or of many machines.
const NEVER: [&str; 7] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",
    "::/8",
    "fe80::/10",
    "ff00::/8",
];

/// A pool: its ranges, in the order in which they are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool(Vec<Range>);

/// A range of one family, with its first and its last address as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    is_v6: bool,
    first: u128,
    last: u128,
    /// As it was written.
    text: String,
}

impl Range {
    fn size(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.is_v6 == address.is_ipv6() && (self.first..=self.last).contains(&number(address))
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.last && other.first <= self.last
    }

    fn free(&self, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let all = (self.first..=self.last).map(|number| address(self.is_v6, number));
        all.into_iter().find(|address| !taken.contains(address))
    }
}

/// A family as people call it.
pub fn family(is_v6: bool) -> &'static str {
    if is_v6 { "IPv6" } else { "IPv4" }
}

/// The bits of an address, and the shortest prefix that a range may have: what is larger was meant otherwise.
fn bounds(is_v6: bool) -> (u32, u32) {
    if is_v6 { (128, 64) } else { (32, 16) }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(is_v6: bool, number: u128) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if !is_v6 => Ipv4Addr::from_bits(number).into(),
        _ => Ipv6Addr::from_bits(number).into(),
    }
}

impl Pool {
    /// Reads the ranges.
    ///
    /// # Errors
    /// Which one is none, and what is expected.
    pub fn parse<'a>(ranges: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let read = |(at, text): (usize, &'a str)| range(text).map_err(|why| format!("pool[{at}]: \"{text}\" {why}"));
        let ranges: Vec<Range> = ranges.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let size: u128 = ranges.iter().filter(|range| !range.is_v6).map(Range::size).sum();
        if size > MOST {
            return Err(format!("pool has {size} addresses of IPv4: {MOST} are the limit"));
        }
        Ok(Pool(ranges))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has ranges of a family.
    pub fn has(&self, is_v6: bool) -> bool {
        self.0.iter().any(|range| range.is_v6 == is_v6)
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }

    /// The first address of a family that nobody has.
    pub fn free(&self, is_v6: bool, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let mut ranges = self.0.iter().filter(|range| range.is_v6 == is_v6);
        ranges.find_map(|range| range.free(taken))
    }

    /// The first of its ranges, as it was written, that has an address in common with one of others (`10.96.0.0/12`).
    pub fn clash<'a>(&self, mut others: impl Iterator<Item = &'a str>) -> Option<(&str, &'a str)> {
        others.find_map(|text| {
            let other = of_prefix(text)?;
            let found = self.0.iter().find(|range| range.overlaps(&other))?;
            Some((found.text.as_str(), text))
        })
    }
}

/// An address with a prefix; none if it is no such thing.
fn of_prefix(text: &str) -> Option<Range> {
    let (base, prefix) = text.split_once('/')?;
    let base: IpAddr = base.trim().parse().ok()?;
    let is_v6 = base.is_ipv6();
    let (bits, _) = bounds(is_v6);
    let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix: u32 = prefix.parse().ok().filter(|prefix| is_number && *prefix <= bits)?;
    let others = u128::MAX.checked_shr(128 - bits + prefix).unwrap_or(0);
    let first = number(base) & !others;
    Some(Range {
        is_v6,
        first,
        last: first | others,
        text: text.to_owned(),
    })
}

fn range(text: &str) -> Result<Range, String> {
    let one = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| NO_RANGE.to_owned());
    let (mut range, is_by_prefix) = match text.split_once('-') {
        Some((first, last)) => (between(one(first)?, one(last)?, text)?, false),
        None if text.contains('/') => (of_prefix(text).ok_or_else(|| no_prefix(text))?, true),
        None => (between(one(text)?, one(text)?, text)?, false),
    };
    let (bits, shortest) = bounds(range.is_v6);
    if range.size() > 1 << (bits - shortest) {
        let family = family(range.is_v6);
        return Err(format!(
            "is too large: expected a range of {family} of /{shortest} to /{bits}"
        ));
    }
    if NEVER
        .into_iter()
        .filter_map(of_prefix)
        .any(|never| never.overlaps(&range))
    {
        return Err("has addresses that nobody can be sent to: expected such as are routed to the nodes".to_owned());
    }
    // The first address of a subnet is that of its routers (RFC 4291, 2.6.1), where there can be some.
    if is_by_prefix && range.is_v6 && range.size() > 2 {
        range.first += 1;
    }
    Ok(range)
}

fn between(first: IpAddr, last: IpAddr, text: &str) -> Result<Range, String> {
    if first.is_ipv6() != last.is_ipv6() {
        let [begins, ends] = [first, last].map(|address| family(address.is_ipv6()));
        return Err(format!(
            "begins in {begins} and ends in {ends}: expected two addresses of one family"
        ));
    }
    if first > last {
        return Err("ends before it begins: expected the lower address first".to_owned());
    }
    Ok(Range {
        is_v6: first.is_ipv6(),
        first: number(first),
        last: number(last),
        text: text.to_owned(),
    })
}

/// What is wrong with the prefix of an address.
fn no_prefix(text: &str) -> String {
    let base = text.split_once('/').and_then(|(base, _)| base.trim().parse().ok());
    let Some(is_v6) = base.map(|base: IpAddr| base.is_ipv6()) else {
        return NO_RANGE.to_owned();
    };
    let (bits, shortest) = bounds(is_v6);
    let family = family(is_v6);
    format!("has no prefix of {family}: expected one of /{shortest} to /{bits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All addresses of a small pool, in the order in which they are given.
    fn all(pool: &Pool, is_v6: bool) -> Vec<String> {
        let (mut taken, mut given) = (BTreeSet::new(), Vec::new());
        while let Some(free) = pool.free(is_v6, &taken) {
            assert!(pool.contains(free));
            taken.insert(free);
            given.push(free.to_string());
        }
        given
    }

    #[test]
    fn ranges_are_read() {
        let pool = Pool::parse(["198.51.100.1-198.51.100.2", "192.0.2.8/30", "203.0.113.9"]).unwrap();
        assert_eq!(
            all(&pool, false),
            [
                "198.51.100.1",
                "198.51.100.2",
                "192.0.2.8",
                "192.0.2.9",
                "192.0.2.10",
                "192.0.2.11",
                "203.0.113.9"
            ]
        );
        assert!(pool.has(false) && !pool.has(true));
        assert!(!pool.contains("192.0.2.12".parse().unwrap()));
        // A number is an address of one family alone.
        assert!(!pool.contains("::192.0.2.8".parse().unwrap()));
    }

    #[test]
    fn ranges_of_both_families_are_told_apart() {
        let texts = [
            "2001:db8:0:7::/126",
            "192.0.2.8/31",
            "2001:db8::a-2001:db8::b",
            "fd00::1",
            "fd00::8/127",
        ];
        let pool = Pool::parse(texts).unwrap();
        assert_eq!(all(&pool, false), ["192.0.2.8", "192.0.2.9"]);
        assert_eq!(
            all(&pool, true),
            [
                "2001:db8:0:7::1",
                "2001:db8:0:7::2",
                "2001:db8:0:7::3",
                "2001:db8::a",
                "2001:db8::b",
                "fd00::1",
                "fd00::8",
                "fd00::9"
            ]
        );
        // What has more addresses than can be counted through is none the slower.
        let large = Pool::parse(["2001:db8:0:7::/64"]).unwrap();
        let taken = BTreeSet::from(["2001:db8:0:7::1", "2001:db8:0:7::2"].map(|text| text.parse().unwrap()));
        assert_eq!(large.free(true, &taken), Some("2001:db8:0:7::3".parse().unwrap()));
        assert!(large.contains("2001:db8:0:7:ffff:ffff:ffff:ffff".parse().unwrap()));
        assert!(!large.contains("2001:db8:0:8::".parse().unwrap()));
    }

    #[test]
    fn what_is_no_range_is_told_why() {
        for (wrong, said) in [
            ("", "expected one as in 192.0.2.0/28"),
            ("x", "expected one as in 192.0.2.0/28"),
            ("x/24", "expected one as in 192.0.2.0/28"),
            ("192.0.2.1-", "expected one as in 192.0.2.0/28"),
            ("192.0.2.0/33", "expected one of /16 to /32"),
            ("192.0.2.0/", "expected one of /16 to /32"),
            ("2001:db8::/129", "expected one of /64 to /128"),
            ("2001:db8::/+64", "expected one of /64 to /128"),
            ("198.51.0.0/15", "too large: expected a range of IPv4 of /16 to /32"),
            ("2001:db8::/63", "too large: expected a range of IPv6 of /64 to /128"),
            ("2001:db8::-2001:db8:0:1::", "too large"),
            ("::/0", "too large"),
            ("192.0.2.2-192.0.2.1", "ends before it begins"),
            ("192.0.2.1-2001:db8::1", "begins in IPv4 and ends in IPv6"),
            ("2001:db8::1-192.0.2.1", "begins in IPv6 and ends in IPv4"),
            ("127.0.0.1", "nobody can be sent to"),
            ("ff02::/112", "nobody can be sent to"),
            ("::ffff:192.0.2.1", "nobody can be sent to"),
            ("223.255.255.255-224.0.0.0", "nobody can be sent to"),
        ] {
            let error = Pool::parse(["192.0.2.1", wrong]).unwrap_err();
            assert!(
                error.starts_with(&format!("pool[1]: \"{wrong}\" ")) && error.contains(said),
                "{error}"
            );
        }
        let many = Pool::parse(["192.0.0.0/16", "198.51.100.1"]).unwrap_err();
        assert!(
            many.contains("pool has 65537 addresses of IPv4: 65536 are the limit"),
            "{many}"
        );
    }

    #[test]
    fn what_others_have_is_found() {
        let pool = Pool::parse(["192.0.2.8/30", "fd42::7:0/112"]).unwrap();
        for (others, clash) in [
            (&["10.96.0.0/12", "fd96::/112"][..], None),
            (&["10.96.0.0/12", "fd42::/64"], Some(("fd42::7:0/112", "fd42::/64"))),
            (&["192.0.2.11/32"], Some(("192.0.2.8/30", "192.0.2.11/32"))),
            (&["192.0.2.12/30", "fd42::8:0/112", "rubbish"], None),
            (&["::/0"], Some(("fd42::7:0/112", "::/0"))),
        ] {
            assert_eq!(pool.clash(others.iter().copied()), clash, "{others:?}");
        }
    }
}
