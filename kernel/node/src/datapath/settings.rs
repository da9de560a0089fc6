//! What the datapath of a node is told once.
use super::DatapathError;
use sampan_sandbox::network::{Address, Family, Range};
use std::net::IpAddr;

/// Bytes of an interface's name, with the zero after it.
const LONGEST_INTERFACE: usize = 16;

/// Where a node's pods are, and what is the datapath's own in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The table's name; whoever has it replaces what is there.
    pub table: String,
    /// The interface that leads to other nodes' pods. Where there is none no routes are set.
    pub overlay_interface: Option<String>,
    /// What the names of pods' interfaces on the node begin with. No other interface may begin so.
    pub pod_interface_prefix: String,
    /// The ranges of this node's pods.
    pub pod_ranges: Vec<Range>,
    /// The ranges of all pods of the cluster, as far as they are known; those of routes are part of it anyway.
    pub cluster_ranges: Vec<Range>,
    /// The ranges of Services: what is there and served by nobody is refused.
    pub service_ranges: Vec<Range>,
    /// The node's own addresses in its pods' ranges, which its packets to other nodes' pods come from. They must be set on
    /// an interface that stays, the overlay's best, before there is a route: the kernel takes no other source.
    pub node_addresses: Vec<IpAddr>,
    /// Whether traffic of pods to the outside of the cluster leaves with the node's address.
    pub masquerade: bool,
    /// The one bit of a packet's mark that the datapath uses, to note what is to leave with the node's address.
    pub masquerade_mark: u32,
    /// Tells routes of ours from others'.
    pub route_protocol: u8,
}

impl Default for Settings {
    /// For no pods at all; with the mark that Kubernetes' own proxy uses.
    fn default() -> Self {
        Settings {
            table: "sampan".to_owned(),
            overlay_interface: None,
            pod_interface_prefix: "sp".to_owned(),
            pod_ranges: Vec::new(),
            cluster_ranges: Vec::new(),
            service_ranges: Vec::new(),
            node_addresses: Vec::new(),
            masquerade: true,
            masquerade_mark: 0x4000,
            route_protocol: 201,
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), DatapathError> {
        let wrong = |what: String| Err(DatapathError::Settings(what));
        let prefix = &self.pod_interface_prefix;
        if self.table.is_empty() || self.table.len() > 128 || self.table.contains('\0') {
            return wrong(format!("a table's name has 1 to 128 bytes: {:?}", self.table));
        }
        if prefix.is_empty() || prefix.len() >= LONGEST_INTERFACE {
            return wrong(format!("the prefix of pods' interfaces has 1 to 15 bytes: {prefix:?}"));
        }
        if let Some(overlay) = &self.overlay_interface {
            interface(overlay).map_err(DatapathError::Settings)?;
            if overlay.starts_with(prefix.as_str()) {
                return wrong(format!("the overlay's interface {overlay} is named like a pod's"));
            }
        }
        if self.masquerade_mark.count_ones() != 1 {
            return wrong(format!("the mark {:#x} is not one bit", self.masquerade_mark));
        }
        // Those below are the kernel's and those of its own tools.
        if self.route_protocol <= 4 {
            return wrong(format!("routes of protocol {} are others'", self.route_protocol));
        }
        Ok(())
    }

    /// The families of which packets are passed on: always IPv4's, and IPv6's where there are pods or Services of it.
    pub(super) fn forwards(&self) -> impl Iterator<Item = Family> + use<> {
        let mut all = self
            .pod_ranges
            .iter()
            .chain(&self.cluster_ranges)
            .chain(&self.service_ranges);
        let v6 = all.any(|range| range.address.family() == Family::V6);
        [Family::V4, Family::V6].into_iter().take(if v6 { 2 } else { 1 })
    }
}

/// An interface's name as nf_tables has it: sixteen bytes.
pub(super) fn interface(name: &str) -> Result<Vec<u8>, String> {
    if name.is_empty() || name.len() >= LONGEST_INTERFACE || name.contains('\0') {
        return Err(format!("an interface's name has 1 to 15 bytes: {name:?}"));
    }
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(LONGEST_INTERFACE, 0);
    Ok(bytes)
}

/// An address's bytes as packets have them.
pub(super) fn octets(address: Address) -> Vec<u8> {
    match IpAddr::from(address) {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
