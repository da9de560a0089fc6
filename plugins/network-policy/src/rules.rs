//! The rules of one pod: what each rule of a policy comes to for it, with the names of ports turned into numbers.
use crate::peers::{self, Direction};
use sampan_sdk::{
    Value,
    network::{Name, NetworkPolicy, Pod, PolicyPort, PolicyRule, Ports, Protocol, Rule, View},
};

/// A port that a rule names by its name.
pub struct NamedPort<'a> {
    pub name: &'a str,
    pub protocol: Protocol,
}

/// The ports that a rule names by their names.
pub fn named(rule: &PolicyRule) -> impl Iterator<Item = NamedPort<'_>> {
    rule.ports.iter().filter_map(|port| {
        Some(NamedPort {
            name: port.port.as_str()?,
            protocol: port.protocol.0,
        })
    })
}

/// What a policy's rules of a direction come to for a pod.
pub fn of(policy: &Name, object: &NetworkPolicy, direction: Direction, pod: &Pod, view: &View) -> Vec<Rule> {
    let rules = direction.rules(object).iter().enumerate();
    rules
        .flat_map(|(number, rule)| one(policy, number, rule, direction, pod, view))
        .collect()
}

fn one(policy: &Name, number: usize, rule: &PolicyRule, direction: Direction, pod: &Pod, view: &View) -> Vec<Rule> {
    let set = peers::name_of(policy, direction, number);
    let everybody = rule.peers.is_empty();
    let allow = |ports: Option<Vec<Ports>>| Rule {
        peers: (!everybody).then(|| set.clone()),
        ports,
    };
    if rule.ports.is_empty() {
        return vec![allow(None)];
    }
    let mut ports: Vec<Ports> = rule.ports.iter().filter_map(numbered).collect();
    let mut rules = Vec::new();
    for port in named(rule) {
        let single = |number| Ports {
            protocol: port.protocol,
            first: number,
            last: number,
        };
        match direction {
            // The name is one of the pod itself.
            Direction::Ingress => ports.extend(pod.ports_named(port.name, port.protocol).map(single)),
            // The name is one of the pod that is spoken to: each number has the set of those that give it.
            Direction::Egress => {
                let numbers = peers::by_number(policy, rule, &port, view).into_keys();
                rules.extend(numbers.map(|number| Rule {
                    peers: Some(peers::name_of_port(&set, &port, number)),
                    ports: Some(vec![single(number)]),
                }));
            }
        }
    }
    ports.sort();
    ports.dedup();
    if !ports.is_empty() {
        rules.push(allow(Some(ports)));
    }
    rules
}

/// A port that is given by numbers, or all of a protocol. What makes no sense allows nothing.
fn numbered(port: &PolicyPort) -> Option<Ports> {
    let protocol = port.protocol.0;
    let (first, last) = match &port.port {
        Value::Null => (0, u16::MAX),
        Value::Number(number) => {
            let first = u16::try_from(number.as_u64()?).ok()?;
            (first, port.end_port.unwrap_or(first))
        }
        _ => return None,
    };
    (first <= last).then_some(Ports { protocol, first, last })
}
