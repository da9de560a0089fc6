//! What a node knows of itself and of the cluster, whatever its plugins say: what their operations are held against.
use super::{Address, PodKey, Range};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

/// What a Node object says of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeBounds {
    pub pod_ranges: Vec<Range>,
    pub addresses: Vec<Address>,
}

/// What may be in the datapath of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// This node's name.
    pub node: String,
    /// All nodes by name.
    pub nodes: BTreeMap<String, NodeBounds>,
    /// Where Services have their cluster addresses.
    pub service_ranges: Vec<Range>,
    /// Where load balancers have theirs.
    pub load_balancer_ranges: Vec<Range>,
    /// The external addresses that Service objects name.
    pub external_addresses: BTreeSet<Address>,
    pub node_ports: RangeInclusive<u16>,
    /// The pods of this node that have a network of their own.
    pub pods: BTreeSet<PodKey>,
}

impl Default for Bounds {
    /// Nothing but Kubernetes' range of node ports.
    fn default() -> Self {
        Bounds {
            node: String::new(),
            nodes: BTreeMap::new(),
            service_ranges: Vec::new(),
            load_balancer_ranges: Vec::new(),
            external_addresses: BTreeSet::new(),
            node_ports: 30_000..=32_767,
            pods: BTreeSet::new(),
        }
    }
}
