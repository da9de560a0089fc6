//! What a node knows of the cluster, whatever its plugins say: what their operations are held against.
use super::Secret;
use crate::network::{Address, NodeBounds, Range};
use std::collections::{BTreeMap, BTreeSet};

/// What may be in the routing table of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// All nodes by name: backends are pods of theirs, and pods on a node's own network have its addresses.
    pub nodes: BTreeMap<String, NodeBounds>,
    /// Where Services have their cluster addresses.
    pub service_ranges: Vec<Range>,
    /// The Secrets that Ingress objects name for TLS.
    pub secrets: BTreeSet<Secret>,
}

/// The addresses that backends may have: intervals that do not meet, in order.
pub struct Reach(Vec<(Address, Address)>);

impl Reach {
    pub fn of(bounds: &Bounds) -> Self {
        let nodes = bounds.nodes.values();
        let ranges = nodes.clone().flat_map(|node| &node.pod_ranges);
        let ranges = ranges.chain(&bounds.service_ranges);
        let ranges = ranges.map(|range| (range.address, range.last()));
        let addresses = nodes.flat_map(|node| &node.addresses);
        let mut all: Vec<(Address, Address)> = ranges.chain(addresses.map(|one| (*one, *one))).collect();
        all.sort();
        let mut joined: Vec<(Address, Address)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match joined.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Reach(joined)
    }

    pub fn covers(&self, address: Address) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        let before = after.checked_sub(1).and_then(|index| self.0.get(index));
        before.is_some_and(|(_, last)| address <= *last)
    }
}
