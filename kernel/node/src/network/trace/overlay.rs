//! How the overlay goes about a packet: by which peer it is sent, from whom it is heard, and that it is passed on.
use super::{Here, Packet, Step, Verdict, step};
use sampan_sandbox::network::{Address, Entry, Route};
use std::net::IpAddr;

impl Here<'_> {
    pub(super) fn peer(&self, name: &str, packet: Packet, way: Option<u32>) -> Step {
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

    /// From a peer, as the overlay goes about it: what nobody who may say it says is dropped, and what is for none of this node's
    /// addresses is passed on by this node's own routes.
    pub(super) fn hear(&self, packet: Packet, from: Option<&str>, steps: &mut Vec<Step>) {
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
        if self.ends_here(packet.destination) {
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

    pub(super) fn route(&self, to: IpAddr) -> Option<&Route> {
        let there = self.routes().filter(|route| route.range.contains(to.into()));
        there.max_by_key(|route| route.range.prefix)
    }
}

pub(super) fn toward(packet: Packet, route: &Route) -> String {
    let through = match route.via == route.peer {
        true => String::new(),
        false => format!(" through {}", route.via),
    };
    let (to, Route { peer, range, .. }) = (packet.destination, route);
    format!("{to} is on node {peer}{through} ({range})")
}
