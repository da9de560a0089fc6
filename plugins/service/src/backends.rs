//! Which endpoints of a Service's port take connections: the ready ones, or, where there are none, those that serve on
//! their way out. Of a policy `Local` only those of this node.
use sampan_sdk::network::{
    Address, Backend, EndpointConditions, EndpointPort, Fallback, Family, Name, Pool, ServicePort, View, address,
};
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

    /// Who takes the connections that go so far.
    pub fn pool(&self, reach: Reach) -> Pool {
        let within = |(_, remote, _): &(State, bool, bool)| reach == Reach::Cluster || !remote;
        let best = self.0.values().filter(|known| within(known)).map(|known| known.0).min();
        let backends = self
            .0
            .iter()
            .filter(|(_, known)| within(known) && Some(known.0) == best);
        let backends = backends.map(|(&(address, port), &(_, remote, terminating))| Backend {
            address,
            port,
            weight: 1,
            local: !remote,
            terminating,
        });
        let otherwise = if self.0.is_empty() {
            Fallback::Reject
        } else {
            Fallback::Drop
        };
        Pool {
            backends: backends.collect(),
            otherwise,
        }
    }
}
