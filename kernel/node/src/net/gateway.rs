//! The node's own place in the network of pods: its address towards them, on the interface that leads to other nodes.
use super::{
    address::PodCidr,
    netlink::Netlink,
    step::{Step, WireError},
};
use std::{fs, net::Ipv4Addr};

/// The interface that leads to other nodes.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub interface: String,
    /// What the overlay carries. Bytes.
    pub mtu: u32,
    /// The range of this node's pods, whose first address is the node's.
    pub range: PodCidr,
    /// The range of Services: the node's own connections to them begin with its address towards pods, as no other comes back
    /// through the overlay.
    pub services: (Ipv4Addr, u8),
}

impl Gateway {
    /// Puts it up. Blocks, for a moment.
    ///
    /// # Errors
    /// Names the step that the kernel refused.
    pub fn raise(&self) -> Result<(), WireError> {
        let mut node = Netlink::open().step("open a netlink socket")?;
        let index = node.index_of(&self.interface).step("find the overlay's interface")?;
        node.set_mtu(index, self.mtu).step("set the overlay's MTU")?;
        node.add_address(index, self.range.gateway())
            .step("set the node's address towards pods")?;
        node.set_up(index).step("set the overlay's interface up")?;
        node.add_route(index, self.services, self.range.gateway())
            .step("set the route to Services")?;
        // An address that is no pod's is nobody's: else it would be looked for outside.
        node.refuse_range(self.range.range())
            .step("refuse what is to nobody of this node")?;
        let forwarding = format!("/proc/sys/net/ipv4/conf/{}/forwarding", self.interface);
        fs::write(forwarding, "1").step("let the overlay forward")
    }

    /// What does not vanish with the interface. Blocks, for a moment.
    pub fn clear(range: PodCidr) {
        // Where it is not there, there is nothing to do.
        let _ = Netlink::open().and_then(|mut node| node.forget_range(range.range()));
    }
}
