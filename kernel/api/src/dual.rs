//! Ranges of addresses in one family or two: those that a cluster gives to pods and to Services, and those that a node has of
//! the first. IPv4 is always there and comes first; with IPv6 beside it a cluster is dual-stack, as Kubernetes calls it.
use crate::ranges::{self, Range, RangeV4, RangeV6, host_bits, host_bits_v6};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

/// The prefixes of the ranges that nodes are given.
const OF_NODE: (u8, u8) = (24, 64);

/// Nodes that are given ranges at the most.
const MOST_NODES: u32 = 1 << 16;

/// A range of IPv4, and one of IPv6 where there are both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dual {
    pub v4: RangeV4,
    pub v6: Option<RangeV6>,
}

/// The ranges of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterRanges {
    /// What nodes get the ranges of their pods from.
    pub pods: Dual,
    /// What Services get their cluster addresses from.
    pub services: Dual,
}

impl Default for ClusterRanges {
    /// IPv4 alone, as it is where nothing else is said.
    fn default() -> Self {
        ClusterRanges {
            pods: Dual::of_v4(ranges::PODS),
            services: Dual::of_v4(ranges::SERVICES),
        }
    }
}

impl Dual {
    pub const fn of_v4(v4: RangeV4) -> Self {
        Dual { v4, v6: None }
    }

    pub fn is_dual(self) -> bool {
        self.v6.is_some()
    }

    /// The ranges, IPv4's first.
    pub fn iter(self) -> impl Iterator<Item = Range> {
        let v4 = (IpAddr::V4(self.v4.0), self.v4.1);
        let v6 = self.v6.map(|(base, prefix)| (IpAddr::V6(base), prefix));
        std::iter::once(v4).chain(v6)
    }

    /// The ranges as people write them, each for itself.
    pub fn texts(self) -> Vec<String> {
        self.iter().map(ranges::text).collect()
    }

    /// A range of the one and one of the other that have an address in common.
    pub fn clash(self, other: Dual) -> Option<(Range, Range)> {
        let pairs = self.iter().flat_map(|one| other.iter().map(move |other| (one, other)));
        pairs.into_iter().find(|(one, other)| ranges::overlap(*one, *other))
    }
}

impl fmt::Display for Dual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(","))
    }
}

/// What a range is for, with the prefixes that it may have.
struct Kind {
    name: &'static str,
    v4: RangeInclusive<u8>,
    v6: RangeInclusive<u8>,
    example: &'static str,
}

const NODE: Kind = Kind {
    name: "pod CIDR",
    v4: 8..=29,
    v6: 48..=112,
    example: "10.42.0.0/24 or 10.42.0.0/24,fd42::/64",
};

const PODS: Kind = Kind {
    name: "cluster CIDR",
    v4: 8..=OF_NODE.0,
    v6: 48..=OF_NODE.1,
    example: "10.42.0.0/16 or 10.42.0.0/16,fd42::/56",
};

const SERVICES: Kind = Kind {
    name: "service CIDR",
    v4: 8..=28,
    v6: 108..=124,
    example: "10.96.0.0/12 or 10.96.0.0/12,fd96::/112",
};

impl Kind {
    /// Reads one range or two.
    fn read(&self, text: &str) -> Result<Dual, String> {
        let (name, example) = (self.name, self.example);
        let wrong = |what: &str| format!("the {name} \"{text}\" {what}, as in {example}");
        let mut found = Vec::new();
        for one in text.split(',') {
            found.push(self.one(one.trim())?);
        }
        match found[..] {
            [(IpAddr::V4(base), prefix)] => Ok(Dual::of_v4((base, prefix))),
            [(IpAddr::V4(v4), prefix), (IpAddr::V6(v6), prefix_v6)] => Ok(Dual {
                v4: (v4, prefix),
                v6: Some((v6, prefix_v6)),
            }),
            [(IpAddr::V6(_), _)] => Err(wrong(
                "is of IPv6 alone: a range of IPv4 is needed, with that of IPv6 after it",
            )),
            [(IpAddr::V6(_), _), (IpAddr::V4(_), _)] => Err(wrong("begins with IPv6: name the range of IPv4 first")),
            [(one, _), _] => {
                let family = if one.is_ipv4() { "IPv4" } else { "IPv6" };
                Err(wrong(&format!(
                    "has two ranges of {family}: expected one of each family at the most"
                )))
            }
            _ => Err(wrong(
                "has more than two ranges: expected one of each family at the most",
            )),
        }
    }

    fn one(&self, text: &str) -> Result<Range, String> {
        let (name, example) = (self.name, self.example);
        let range = ranges::any(text)
            .ok_or_else(|| format!("the {name} \"{text}\" is none: expected a range of addresses, as in {example}"))?;
        let (family, prefixes) = match range.0 {
            IpAddr::V4(_) => ("IPv4", &self.v4),
            IpAddr::V6(_) => ("IPv6", &self.v6),
        };
        if !prefixes.contains(&range.1) {
            let (least, most) = (prefixes.start(), prefixes.end());
            let what = if range.1 > *most { "small" } else { "large" };
            return Err(format!(
                "the {name} \"{text}\" is too {what}: expected a range of {family} of /{least} to /{most}, as in {example}"
            ));
        }
        let base = ranges::base(range);
        if base != range.0 {
            let right = ranges::text((base, range.1));
            return Err(format!(
                "the {name} \"{text}\" has bits after its prefix: did you mean {right}?"
            ));
        }
        Ok(range)
    }
}

/// Reads the ranges of a node's pods: `10.42.0.0/24`, or `10.42.0.0/24,fd42::/64`.
///
/// # Errors
/// What is wrong with them, and what they could be.
pub fn of_node(text: &str) -> Result<Dual, String> {
    let range = NODE.read(text)?;
    match range.v6 {
        Some((_, v6)) if 128 - v6 < 32 - range.v4.1 => Err(format!(
            "the pod CIDR \"{text}\" has fewer addresses of IPv6 than of IPv4, and each pod has one of both: choose a larger \
             range of IPv6, as in {}",
            NODE.example
        )),
        _ => Ok(range),
    }
}

impl ClusterRanges {
    /// Reads both; what is empty is as it is where nothing is said.
    ///
    /// # Errors
    /// What is wrong with one of them, or that they do not go together.
    pub fn read(pods: &str, services: &str) -> Result<Self, String> {
        let usual = ClusterRanges::default();
        let pods = match pods {
            "" => usual.pods,
            pods => PODS.read(pods)?,
        };
        let services = match services {
            "" => usual.services,
            services => SERVICES.read(services)?,
        };
        if pods.is_dual() != services.is_dual() {
            let (with, without, flag, example) = match pods.is_dual() {
                true => (PODS.name, SERVICES.name, "--service-cidr", SERVICES.example),
                false => (SERVICES.name, PODS.name, "--cluster-cidr", PODS.example),
            };
            return Err(format!(
                "the {with} has a range of IPv6 and the {without} has none: give both or neither one ({flag}, as in {example})"
            ));
        }
        if let Some((one, other)) = pods.clash(services) {
            let (one, other) = (ranges::text(one), ranges::text(other));
            return Err(format!(
                "the cluster CIDR {one} overlaps with the service CIDR {other}: choose two that are apart"
            ));
        }
        Ok(ClusterRanges { pods, services })
    }

    pub fn is_dual(self) -> bool {
        self.pods.is_dual()
    }

    /// The ranges that nodes are given, in order.
    pub fn nodes(self) -> impl Iterator<Item = Dual> {
        let (v4, prefix) = self.pods.v4;
        let mut count = u64::from(host_bits(prefix) >> (32 - OF_NODE.0)) + 1;
        if let Some((_, prefix)) = self.pods.v6 {
            let of_v6 = u64::try_from(host_bits_v6(prefix) >> (128 - OF_NODE.1)).unwrap_or(u64::MAX);
            count = count.min(of_v6.saturating_add(1));
        }
        let count = u32::try_from(count).unwrap_or(MOST_NODES).min(MOST_NODES);
        (0..count).map(move |number| Dual {
            v4: (Ipv4Addr::from(u32::from(v4) | (number << (32 - OF_NODE.0))), OF_NODE.0),
            v6: self.pods.v6.map(|(base, _)| {
                let number = u128::from(number) << (128 - OF_NODE.1);
                (Ipv6Addr::from(u128::from(base) | number), OF_NODE.1)
            }),
        })
    }

    /// Whether a node of this cluster may have these for its pods.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(self, node: Dual) -> Result<(), String> {
        if let Some((own, services)) = node.clash(self.services) {
            let (own, services) = (ranges::text(own), ranges::text(services));
            return Err(format!(
                "the pod CIDR \"{own}\" overlaps with {services}, which Services have their addresses from: choose another, as \
                 in {}",
                NODE.example
            ));
        }
        match (self.is_dual(), node.is_dual()) {
            (true, false) => Err(format!(
                "the pod CIDR \"{node}\" has no range of IPv6, and this cluster is dual-stack: give one of each family, as in \
                 {}",
                NODE.example
            )),
            (false, true) => Err(format!(
                "the pod CIDR \"{node}\" has a range of IPv6, and this cluster has none: leave it out, or make the cluster with \
                 --cluster-cidr and --service-cidr of both families"
            )),
            _ => self.covers(node),
        }
    }

    /// Whether the ranges of a node are parts of the cluster's, of as many families. What is said of the cluster's pods as a whole
    /// goes by its ranges, and would leave out those that have addresses outside.
    fn covers(self, node: Dual) -> Result<(), String> {
        let within = |(own, all): &(Range, Range)| own.1 >= all.1 && ranges::overlap(*own, *all);
        match node.iter().zip(self.pods.iter()).find(|pair| !within(pair)) {
            None => Ok(()),
            Some((own, all)) => Err(format!(
                "the pod CIDR \"{}\" lies outside of {}, which nodes of this cluster have theirs from: choose one within, as in \
                 {}, or leave it out",
                ranges::text(own),
                ranges::text(all),
                self.nodes().next().unwrap_or(self.pods)
            )),
        }
    }
}

#[cfg(test)]
mod tests;
