//! Which rules, Services, routes and peers a packet would meet here, and where it would stop: told from what is wanted, in the
//! order in which the datapath goes about it.
mod overlay;
mod policies;

use super::{ground::LocalPod, objects::Objects};
use overlay::toward;
use policies::Direction;
use sampan_overlay::PeerStatus;
use sampan_sandbox::network::{
    Address, Backend, Datapath, Destination, Entry, EntryKey, Fallback, Frontend, FrontendKey, NodeBounds, Pool,
    Protocol, Range,
};
use std::{collections::BTreeMap, net::IpAddr};

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Of the destination.
    pub port: u16,
    pub protocol: Protocol,
}

/// Where a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// It has just left a pod of this node.
    Pod,
    /// This node itself has just sent it, or a pod that has the node's network.
    Host,
    /// It comes from another node; by name, where that is known.
    Peer(Option<String>),
}

/// What becomes of a packet at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoesOn,
    /// It is there.
    Arrives,
    /// It leaves the cluster.
    Leaves,
    Stops,
}

/// A step of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `service`, `egress`, `ingress`, `route`, `peer`, `pod`, `node`.
    pub what: &'static str,
    pub text: String,
    pub verdict: Verdict,
    /// Which of several ways it is, as one for each backend; none before they part.
    pub way: Option<u32>,
    /// The node that goes on with it, and the packet as it gets there.
    pub next: Option<(String, Packet)>,
}

impl Step {
    /// One after which it goes on here.
    pub fn on(what: &'static str, text: String) -> Self {
        step(what, text, Verdict::GoesOn, None)
    }
}

/// What is known here.
pub struct Here<'a> {
    pub datapath: &'a Datapath,
    pub objects: &'a Objects,
    pub pods: Vec<&'a LocalPod>,
    pub peers: Vec<PeerStatus>,
    /// This node's name, and its addresses towards its pods.
    pub me: &'a str,
    pub gateways: Vec<IpAddr>,
    /// What is known of all nodes, this one among them.
    pub nodes: &'a BTreeMap<String, NodeBounds>,
    /// The ranges of this node's pods, those of all pods, and those of Services.
    pub own: Vec<Range>,
    pub cluster: Vec<Range>,
    pub services: Vec<Range>,
}

impl Here<'_> {
    /// The way of a packet from here on.
    pub fn trace(&self, packet: Packet, at: &At) -> Vec<Step> {
        let mut steps = Vec::new();
        if let At::Peer(from) = at {
            self.hear(packet, from.as_deref(), &mut steps);
            return steps;
        }
        if packet.destination.is_loopback() {
            let (what, whose) = match at {
                At::Host => ("node", "this node itself"),
                _ => ("pod", "the pod itself, and does not leave it"),
            };
            let text = format!("{} is {whose}", packet.destination);
            steps.push(step(what, text, Verdict::Arrives, None));
            return steps;
        }
        let address = Address::from(packet.destination);
        match self.frontend(packet) {
            Some(frontend) => self.by_service(packet, frontend, &mut steps),
            None if self.services.iter().any(|range| range.contains(address)) => {
                let text = format!("no Service has {}{}", said(packet), self.others_at(packet));
                steps.push(step("service", text, Verdict::Stops, None));
            }
            None => self.leave(packet, None, &mut steps),
        }
        steps
    }

    fn frontend(&self, packet: Packet) -> Option<&Frontend> {
        let of = |destination| {
            let key = EntryKey::Frontend(FrontendKey {
                destination,
                port: packet.port,
                protocol: packet.protocol,
            });
            match self.datapath.get(&key) {
                Some(Entry::Frontend(frontend)) => Some(frontend),
                _ => None,
            }
        };
        let address = Address::from(packet.destination);
        let at_node = || {
            self.is_here(packet.destination)
                .then(|| Destination::Node(address.family()))
        };
        of(Destination::Address(address)).or_else(|| of(at_node()?))
    }

    /// What there is at other ports of an address of a Service, in words.
    fn others_at(&self, packet: Packet) -> String {
        let at = Destination::Address(packet.destination.into());
        let there = self.datapath.entries().filter_map(|entry| match entry {
            Entry::Frontend(frontend) if frontend.key.destination == at => Some(frontend),
            _ => None,
        });
        let there: Vec<String> = there.map(|one| format!("{} ({})", one.key, named(one))).collect();
        match there.is_empty() {
            true => String::new(),
            false => format!(": there is {}", there.join(", ")),
        }
    }

    fn by_service(&self, packet: Packet, frontend: &Frontend, steps: &mut Vec<Step>) {
        let Pool { backends, otherwise } = &frontend.inside;
        let taking: Vec<&Backend> = backends.iter().filter(|backend| backend.weight > 0).collect();
        if taking.is_empty() {
            let what = match otherwise {
                Fallback::Reject => "it is refused",
                Fallback::Drop => "it is dropped, as this node has none",
            };
            let text = format!("{} has no endpoint: {what}", named(frontend));
            return steps.push(step("service", text, Verdict::Stops, None));
        }
        let stays = match frontend.affinity_seconds {
            0 => String::new(),
            seconds => format!(", and a client stays with its own for {seconds} s"),
        };
        let text = format!(
            "{} is {}: one of {} endpoints{stays}",
            said(packet),
            named(frontend),
            taking.len()
        );
        steps.push(step("service", text, Verdict::GoesOn, None));
        for (number, backend) in (1..).zip(taking) {
            let packet = Packet {
                destination: backend.address.into(),
                port: backend.port,
                ..packet
            };
            self.leave(packet, Some(number), steps);
        }
    }

    /// From a pod of this node to wherever it is bound for.
    fn leave(&self, packet: Packet, way: Option<u32>, steps: &mut Vec<Step>) {
        if let Some(pod) = self.pod_at(packet.source)
            && packet.source != packet.destination
            && !self.passes(pod, Direction::Egress, packet, way, steps)
        {
            return;
        }
        if self.ends_here(packet.destination) {
            return self.arrive(packet, way, steps);
        }
        let to = packet.destination;
        let Some(route) = self.route(to) else {
            let (text, verdict) = match (
                self.cluster.iter().any(|range| range.contains(to.into())),
                self.node_at(to),
            ) {
                (true, _) => (format!("no node has {to}"), Verdict::Stops),
                (false, Some(node)) => (
                    format!("{to} is node {node} itself: it leaves with this node's address"),
                    Verdict::Leaves,
                ),
                (false, None) => (
                    format!("{to} is outside: it leaves with the node's address"),
                    Verdict::Leaves,
                ),
            };
            return steps.push(step("route", text, verdict, way));
        };
        steps.push(step("route", toward(packet, route), Verdict::GoesOn, way));
        steps.push(self.peer(&route.via, packet, way));
    }

    fn node_at(&self, address: IpAddr) -> Option<&str> {
        let has = |known: &NodeBounds| known.addresses.contains(&address.into());
        let mut having = self.nodes.iter().filter(|(_, known)| has(known));
        having.next().map(|(name, _)| &**name)
    }

    /// Whether an address is this node's own.
    fn is_here(&self, address: IpAddr) -> bool {
        self.gateways.contains(&address) || self.node_at(address) == Some(self.me)
    }

    fn ends_here(&self, address: IpAddr) -> bool {
        self.is_here(address) || self.own.iter().any(|range| range.contains(address.into()))
    }

    /// At a pod of this node, or at the node itself.
    fn arrive(&self, packet: Packet, way: Option<u32>, steps: &mut Vec<Step>) {
        if self.is_here(packet.destination) {
            let text = format!("{} is this node's own: whatever listens there gets it", said(packet));
            return steps.push(step("node", text, Verdict::Arrives, way));
        }
        let Some(pod) = self.pod_at(packet.destination) else {
            let text = format!("no pod of this node has {}", packet.destination);
            return steps.push(step("pod", text, Verdict::Stops, way));
        };
        // What the node itself says to its pods passes always, and what they say to themselves by way of a Service.
        let always = self.is_here(packet.source) || packet.source == packet.destination;
        if !always && !self.passes(pod, Direction::Ingress, packet, way, steps) {
            return;
        }
        let text = format!(
            "{}/{} at {}, by {}",
            pod.namespace,
            pod.name,
            said(packet),
            pod.interface
        );
        steps.push(step("pod", text, Verdict::Arrives, way));
    }

    fn pod_at(&self, address: IpAddr) -> Option<&LocalPod> {
        self.pods
            .iter()
            .find(|pod| pod.addresses.iter().any(|own| own == address))
            .copied()
    }
}

fn step(what: &'static str, text: String, verdict: Verdict, way: Option<u32>) -> Step {
    Step {
        what,
        text,
        verdict,
        way,
        next: None,
    }
}

/// Whose a frontend is. A port without a name is called by its number.
fn named(frontend: &Frontend) -> String {
    match frontend.service.ends_with(':') {
        true => format!("{}{}", frontend.service, frontend.key.port),
        false => frontend.service.clone(),
    }
}

fn said(packet: Packet) -> String {
    let key = FrontendKey {
        destination: Destination::Address(packet.destination.into()),
        port: packet.port,
        protocol: packet.protocol,
    };
    key.to_string()
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
