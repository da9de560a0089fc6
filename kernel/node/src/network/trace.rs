//! Which rules, Services, routes and peers a packet would meet here, and where it would stop: told from what is wanted, in the
//! order in which the datapath goes about it.
use super::ground::LocalPod;
use sampan_overlay::PeerStatus;
use sampan_sandbox::network::{
    Address, Backend, Datapath, Destination, Entry, EntryKey, Fallback, Frontend, FrontendKey, PodKey, PodRules, Pool,
    Protocol, Range, Route, Rule,
};
use std::net::IpAddr;

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
    /// `service`, `egress`, `ingress`, `route`, `peer`, `pod`.
    pub what: &'static str,
    pub text: String,
    pub verdict: Verdict,
    /// Which of several ways it is, as one for each backend; none before they part.
    pub way: Option<u32>,
    /// The node that goes on with it, and the packet as it gets there.
    pub next: Option<(String, Packet)>,
}

/// What is known here.
pub struct Here<'a> {
    pub datapath: &'a Datapath,
    pub pods: Vec<&'a LocalPod>,
    pub peers: Vec<PeerStatus>,
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
        let address = Address::from(packet.destination);
        match self.frontend(packet) {
            Some(frontend) => self.by_service(packet, frontend, &mut steps),
            None if self.services.iter().any(|range| range.contains(address)) => {
                let text = format!("no Service has {}", said(packet));
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
        of(Destination::Address(packet.destination.into()))
    }

    fn by_service(&self, packet: Packet, frontend: &Frontend, steps: &mut Vec<Step>) {
        let Pool { backends, otherwise } = &frontend.inside;
        let taking: Vec<&Backend> = backends.iter().filter(|backend| backend.weight > 0).collect();
        if taking.is_empty() {
            let what = match otherwise {
                Fallback::Reject => "it is refused",
                Fallback::Drop => "it is dropped, as this node has none",
            };
            let text = format!("{} has no endpoint: {what}", frontend.service);
            return steps.push(step("service", text, Verdict::Stops, None));
        }
        let stays = match frontend.affinity_seconds {
            0 => String::new(),
            seconds => format!(", and a client stays with its own for {seconds} s"),
        };
        let text = format!(
            "{} is {}: one of {} endpoints{stays}",
            said(packet),
            frontend.service,
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
        let source = self.pod_at(packet.source);
        if let Some(rules) = source.and_then(|pod| self.rules(pod))
            && let Some(egress) = &rules.egress
        {
            let allows = self.allows(egress, packet.destination, packet);
            let text = allowed("to", packet, allows, egress.len());
            steps.push(step("egress", text, verdict(allows), way));
            if !allows {
                return;
            }
        }
        let address = Address::from(packet.destination);
        if self.own.iter().any(|range| range.contains(address)) {
            return self.arrive(packet, way, steps);
        }
        let Some(route) = self.route(packet.destination) else {
            let (text, verdict) = match self.cluster.iter().any(|range| range.contains(address)) {
                true => (format!("no node has {}", packet.destination), Verdict::Stops),
                false => (
                    format!("{} is outside: it leaves with the node's address", packet.destination),
                    Verdict::Leaves,
                ),
            };
            return steps.push(step("route", text, verdict, way));
        };
        steps.push(step("route", toward(packet, route), Verdict::GoesOn, way));
        steps.push(self.peer(&route.via, packet, way));
    }

    /// From a peer, as the overlay goes about it: what nobody who may say it says is dropped, and what is for none of this node's
    /// addresses is passed on by this node's own routes.
    fn hear(&self, packet: Packet, from: Option<&str>, steps: &mut Vec<Step>) {
        let source = Address::from(packet.source);
        let may_say = |from: &str| {
            self.routes()
                .any(|route| route.via == from && route.range.contains(source))
        };
        let mut stops = |text| steps.push(step("route", text, Verdict::Stops, None));
        if let Some(from) = from.filter(|from| !may_say(from)) {
            let text = match self.route(packet.source) {
                Some(back) => format!(
                    "{} is reached through {} here: not heard from {from}",
                    packet.source, back.via
                ),
                None => format!(
                    "{} is reached through nobody here: not heard from {from}",
                    packet.source
                ),
            };
            return stops(text);
        }
        let address = Address::from(packet.destination);
        if self.own.iter().any(|range| range.contains(address)) {
            return self.arrive(packet, None, steps);
        }
        match self.route(packet.destination) {
            None => stops(format!(
                "{} is not of this node, and no other has it",
                packet.destination
            )),
            Some(route) if Some(&*route.via) == from => {
                let (to, via) = (packet.destination, &route.via);
                stops(format!(
                    "{to} is reached through {via}, from where it comes: it goes nowhere"
                ));
            }
            Some(route) => {
                let text = format!("passed on: {}", toward(packet, route));
                steps.push(step("route", text, Verdict::GoesOn, None));
                steps.push(self.peer(&route.via, packet, None));
            }
        }
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.datapath.entries().filter_map(|entry| match entry {
            Entry::Route(route) => Some(route),
            _ => None,
        })
    }

    fn route(&self, to: IpAddr) -> Option<&Route> {
        let there = self.routes().filter(|route| route.range.contains(to.into()));
        there.max_by_key(|route| route.range.prefix)
    }

    fn peer(&self, name: &str, packet: Packet, way: Option<u32>) -> Step {
        let peer = self.peers.iter().find(|peer| peer.name == name);
        match peer.map(|peer| (peer.address, peer.connected)) {
            None => step("peer", format!("{name} is no peer of this node"), Verdict::Stops, way),
            Some((address, None)) => {
                let text = format!("{name} is away: it is dialled at {address}");
                step("peer", text, Verdict::Stops, way)
            }
            Some((_, Some(connected))) => {
                let rtt = connected.rtt.as_secs_f64() * 1000.0;
                let text = format!("{name} at {}, round trip {rtt:.2} ms", connected.address);
                Step {
                    next: Some((name.to_owned(), packet)),
                    ..step("peer", text, Verdict::GoesOn, way)
                }
            }
        }
    }

    /// At a pod of this node.
    fn arrive(&self, packet: Packet, way: Option<u32>, steps: &mut Vec<Step>) {
        let Some(pod) = self.pod_at(packet.destination) else {
            let text = format!("no pod of this node has {}", packet.destination);
            return steps.push(step("pod", text, Verdict::Stops, way));
        };
        if let Some(rules) = self.rules(pod)
            && let Some(ingress) = &rules.ingress
        {
            let allows = self.allows(ingress, packet.source, packet);
            let text = allowed("from", packet, allows, ingress.len());
            steps.push(step("ingress", text, verdict(allows), way));
            if !allows {
                return;
            }
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

    fn rules(&self, pod: &LocalPod) -> Option<&PodRules> {
        let key = EntryKey::Rules(PodKey {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
        });
        match self.datapath.get(&key) {
            Some(Entry::Rules(rules)) => Some(rules),
            _ => None,
        }
    }

    fn allows(&self, rules: &[Rule], other: IpAddr, packet: Packet) -> bool {
        rules.iter().any(|rule| {
            let peers = rule.peers.as_ref().is_none_or(|set| self.is_in(set, other.into()));
            let ports = rule.ports.as_ref().is_none_or(|ports| {
                ports
                    .iter()
                    .any(|range| range.protocol == packet.protocol && (range.first..=range.last).contains(&packet.port))
            });
            peers && ports
        })
    }

    fn is_in(&self, set: &str, address: Address) -> bool {
        match self.datapath.get(&EntryKey::Peers(set.to_owned())) {
            Some(Entry::Peers(set)) => set.members.iter().any(|range| range.contains(address)),
            _ => false,
        }
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

fn verdict(allows: bool) -> Verdict {
    match allows {
        true => Verdict::GoesOn,
        false => Verdict::Stops,
    }
}

fn toward(packet: Packet, route: &Route) -> String {
    let through = match route.via == route.peer {
        true => String::new(),
        false => format!(" through {}", route.via),
    };
    let (to, Route { peer, range, .. }) = (packet.destination, route);
    format!("{to} is on node {peer}{through} ({range})")
}

fn said(packet: Packet) -> String {
    let key = FrontendKey {
        destination: Destination::Address(packet.destination.into()),
        port: packet.port,
        protocol: packet.protocol,
    };
    key.to_string()
}

fn allowed(toward: &str, packet: Packet, allows: bool, rules: usize) -> String {
    let other = match toward {
        "to" => packet.destination,
        _ => packet.source,
    };
    match (allows, rules) {
        (true, _) => format!("a policy allows it {toward} {other}"),
        (false, 0) => format!("policies allow nothing: not {toward} {other}"),
        (false, rules) => format!(
            "none of {rules} rules of policies allows it {toward} {other}, port {}",
            packet.port
        ),
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
