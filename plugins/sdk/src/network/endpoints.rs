//! Which endpoints of a Service's port take connections: the ready ones, or, where there are none, those that serve on
//! their way out.
use super::{Address, EndpointConditions, EndpointPort, Family, Name, ServicePort, View, address};
use std::collections::BTreeMap;

/// How far connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Cluster,
    Node,
}

/// Whether an endpoint takes connections; the better comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ready,
    ServesUntilGone,
}

impl State {
    fn of(conditions: &EndpointConditions) -> Option<Self> {
        if conditions.is_ready() {
            Some(State::Ready)
        } else if conditions.is_serving() && conditions.is_terminating() {
            Some(State::ServesUntilGone)
        } else {
            None
        }
    }
}

/// An endpoint that takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub address: Address,
    pub port: u16,
    /// It runs on this node.
    pub local: bool,
    /// It is on its way out and serves until it is gone.
    pub terminating: bool,
}

/// The endpoints of a Service's port that may be used at all, each address once.
pub struct Endpoints(BTreeMap<(Address, u16), (State, bool, bool)>);

impl Endpoints {
    pub fn of(view: &View, service: &Name, port: &ServicePort, family: Family) -> Self {
        let mut found = BTreeMap::new();
        for slice in view.slices_of(service) {
            let same = |other: &&EndpointPort| other.name == port.name && other.protocol == port.protocol;
            let Some(number) = slice.ports.iter().find(same).and_then(|port| port.port) else {
                continue;
            };
            for endpoint in &slice.endpoints {
                let Some(state) = State::of(&endpoint.conditions) else {
                    continue;
                };
                // The addresses of one endpoint are as good as each other: the first stands for it.
                let Some(address) = endpoint.addresses.first().and_then(|text| address(text)) else {
                    continue;
                };
                if address.family() != family {
                    continue;
                }
                let local = endpoint.node_name == view.node;
                let known = (state, !local, endpoint.conditions.is_terminating());
                // While an endpoint moves from slice to slice it may be in both.
                let best = found.entry((address, number)).or_insert(known);
                *best = known.min(*best);
            }
        }
        Endpoints(found)
    }

    /// Whether there are none, however far one goes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who takes the connections that go so far.
    pub fn chosen(&self, reach: Reach) -> impl Iterator<Item = Chosen> {
        let within = move |(_, remote, _): &(State, bool, bool)| reach == Reach::Cluster || !remote;
        let best = self.0.values().filter(|known| within(known)).map(|known| known.0).min();
        let chosen = self.0.iter();
        let chosen = chosen.filter(move |(_, known)| within(known) && Some(known.0) == best);
        chosen.map(|(&(address, port), &(_, remote, terminating))| Chosen {
            address,
            port,
            local: !remote,
            terminating,
        })
    }
}
