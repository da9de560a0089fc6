//! The node's own place in the network of pods: its address towards them, on the interface that leads to other nodes.
use super::{
    address::PodCidr,
    family,
    netlink::Netlink,
    step::{Step, WireError},
};
use sampan_api::dual::Dual;
use std::{fs, io, net::IpAddr};

/// The interface that leads to other nodes.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub interface: String,
    /// What the overlay carries. Bytes.
    pub mtu: u32,
    /// The range of this node's pods, whose first address is the node's.
    pub range: PodCidr,
    /// The ranges of Services: the node's own connections to them begin with its address towards pods, as no other comes back
    /// through the overlay.
    pub services: Dual,
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
        if self.range.ranges().is_dual() {
            family::enable(&self.interface).step("let the overlay's interface have IPv6")?;
        }
        let own: Vec<IpAddr> = self.range.gateway().iter().collect();
        for address in &own {
            node.add_address(index, *address)
                .step("set the node's address towards pods")?;
        }
        node.set_up(index).step("set the overlay's interface up")?;
        for (services, address) in self.services.iter().zip(own) {
            node.add_route(index, services, address)
                .step("set the route to Services")?;
        }
        // An address that is no pod's is nobody's: else it would be looked for outside.
        for range in self.range.ranges().iter() {
            node.refuse_range(range).step("refuse what is to nobody of this node")?;
        }
        let forwarding = format!("/proc/sys/net/ipv4/conf/{}/forwarding", self.interface);
        fs::write(forwarding, "1").step("let the overlay forward")
    }

    /// What does not vanish with the interface. Blocks, for a moment.
    pub fn clear(range: PodCidr) {
        // Where it is not there, there is nothing to do.
        let forget = |mut node: Netlink| -> io::Result<()> {
            let each = range.ranges().iter().map(|range| node.forget_range(range));
            each.fold(Ok(()), io::Result::and)
        };
        let _ = Netlink::open().and_then(forget);
    }
}
