//! What a policy's rules name as peers, as sets of addresses.
use crate::rules::{self, NamedPort};
use sampan_sdk::network::{
    Entry, IpBlock, Labels, Name, NetworkPolicy, PeerSet, Pod, PolicyPeer, PolicyRule, Range, View, range, tidied,
};
use std::{borrow::Cow, collections::BTreeMap};

/// Every namespace has its name as a label, whoever made it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub fn rules(self, policy: &NetworkPolicy) -> &[PolicyRule] {
        match self {
            Direction::Ingress => &policy.spec.ingress,
            Direction::Egress => &policy.spec.egress,
        }
    }
}

/// The name of the set of all peers of a rule.
pub fn name_of(policy: &Name, direction: Direction, rule: usize) -> String {
    let direction = match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    format!("{policy}/{direction}/{rule}")
}

/// The name of the set of those peers for which a port's name is a number.
pub fn name_of_port(set: &str, port: &NamedPort<'_>, number: u16) -> String {
    let protocol = match port.protocol {
        sampan_sdk::network::Protocol::Tcp => "tcp",
        sampan_sdk::network::Protocol::Udp => "udp",
        sampan_sdk::network::Protocol::Sctp => "sctp",
    };
    format!("{set}/{protocol}/{}/{number}", port.name)
}

/// All sets that the rules of a policy name.
pub fn sets(policy: &Name, object: &NetworkPolicy, view: &View) -> Vec<Entry> {
    let mut sets = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        for (number, rule) in direction.rules(object).iter().enumerate() {
            let name = name_of(policy, direction, number);
            if direction == Direction::Egress {
                for port in rules::named(rule) {
                    let by_number = by_number(policy, rule, &port, view);
                    let set = |(number, members)| set(name_of_port(&name, &port, number), members);
                    sets.extend(by_number.into_iter().map(set));
                }
            }
            if !rule.peers.is_empty() {
                sets.push(set(name, members(policy, rule, view)));
            }
        }
    }
    sets
}

fn set(name: String, members: Vec<Range>) -> Entry {
    Entry::Peers(PeerSet {
        name,
        members: tidied(members),
    })
}

/// The addresses of a rule's peers.
fn members(policy: &Name, rule: &PolicyRule, view: &View) -> Vec<Range> {
    let blocks = rule
        .peers
        .iter()
        .filter_map(|peer| peer.ip_block.as_ref())
        .flat_map(ranges);
    let pods = pods(policy, rule, view)
        .flat_map(|(_, pod)| pod.addresses())
        .map(Range::from);
    blocks.chain(pods).collect()
}

/// The addresses of the pods among a rule's peers, by what number each gives to a port's name.
pub fn by_number(policy: &Name, rule: &PolicyRule, port: &NamedPort<'_>, view: &View) -> BTreeMap<u16, Vec<Range>> {
    let mut found: BTreeMap<u16, Vec<Range>> = BTreeMap::new();
    for (_, pod) in pods(policy, rule, view) {
        for number in pod.ports_named(port.name, port.protocol) {
            found
                .entry(number)
                .or_default()
                .extend(pod.addresses().into_iter().map(Range::from));
        }
    }
    found
}

/// The pods among a rule's peers; all where it names none.
fn pods<'a>(policy: &'a Name, rule: &'a PolicyRule, view: &'a View) -> impl Iterator<Item = (&'a Name, &'a Pod)> {
    view.pods.iter().filter(move |(name, pod)| {
        pod.is_networked()
            && (rule.peers.is_empty() || rule.peers.iter().any(|peer| names(policy, peer, name, pod, view)))
    })
}

/// A block without its exceptions. One that cannot be read names nobody; an exception that cannot be read excepts nothing
/// less than all.
fn ranges(block: &IpBlock) -> Vec<Range> {
    let except: Option<Vec<Range>> = block.except.iter().map(|text| range(text)).collect();
    match (range(&block.cidr), except) {
        (Some(all), Some(except)) => all.without(&except),
        _ => Vec::new(),
    }
}

/// Whether a peer of a policy names a pod.
fn names(policy: &Name, peer: &PolicyPeer, name: &Name, pod: &Pod, view: &View) -> bool {
    let within = match (&peer.namespace_selector, &peer.pod_selector) {
        (None, None) => false,
        (None, Some(_)) => name.namespace == policy.namespace,
        (Some(selector), _) => selector.matches(&labels(&name.namespace, view)),
    };
    within
        && peer
            .pod_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(&pod.metadata.labels))
}

/// Whether a change of a pod may change the sets of a policy.
pub fn may_be_named(policy: &Name, object: &NetworkPolicy, name: &Name, pod: &Pod, view: &View) -> bool {
    let mut rules = object.spec.ingress.iter().chain(&object.spec.egress);
    rules.any(|rule| {
        let everybody = rule.peers.is_empty() && rules::named(rule).next().is_some();
        everybody || rule.peers.iter().any(|peer| names(policy, peer, name, pod, view))
    })
}

/// The labels of a namespace, its name among them.
fn labels<'a>(namespace: &str, view: &'a View) -> Cow<'a, Labels> {
    let found = view
        .namespaces
        .get(&Name::new("", namespace))
        .map(|namespace| &namespace.metadata.labels);
    match found {
        Some(labels) if labels.contains_key(NAME_LABEL) => Cow::Borrowed(labels),
        found => {
            let mut labels = found.cloned().unwrap_or_default();
            labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
            Cow::Owned(labels)
        }
    }
}
