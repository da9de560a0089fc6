//! The kernel's check of a plan: whatever a plugin answers, no packet leaves the ranges that the cluster gave out.
//!
//! A plan is checked whole, against what the node itself knows and what the datapath is, before any of it is carried out.
use super::{
    Address, Bounds, Datapath, Destination, Entry, EntryKey, Family, Frontend, Op, PeerSet, PodRules, Pool, Range,
    Route, Rule, Scope, Table,
};
use crate::tables::After;

/// Backends of a frontend, members of a set, rules of a pod, ports of a rule.
const MOST_BACKENDS: usize = 10_000;
const MOST_MEMBERS: usize = 200_000;
const MOST_RULES: usize = 10_000;
const MOST_PORTS: usize = 1000;

/// Bytes of a name.
const LONGEST_NAME: usize = 1024;

/// Kubernetes' longest session affinity, a day.
const LONGEST_AFFINITY: u32 = 86_400;

/// Checks a plan of a plugin that fills some tables.
///
/// # Errors
/// Which operation is refused, and why.
pub fn check(ops: &[Op], tables: &[Table], bounds: &Bounds, datapath: &Datapath) -> Result<(), String> {
    let after = After::of(ops, tables, datapath, |entry| check_entry(entry, bounds))?;
    let is_set = |key: &EntryKey| matches!(key, EntryKey::Peers(_));
    after.check_references(datapath, is_set, |entry| {
        let Entry::Rules(rules) = entry else {
            return Vec::new();
        };
        let rules = rules.ingress.iter().chain(&rules.egress).flatten();
        rules
            .filter_map(|rule| rule.peers.clone())
            .map(EntryKey::Peers)
            .collect()
    })
}

fn check_entry(entry: &Entry, bounds: &Bounds) -> Result<(), String> {
    match entry {
        Entry::Route(route) => check_route(route, bounds),
        Entry::Frontend(frontend) => check_frontend(frontend, bounds),
        Entry::Peers(set) => check_peers(set),
        Entry::Rules(rules) => check_rules(rules, bounds),
    }
}

fn check_range(range: Range) -> Result<(), String> {
    if range.is_sound() {
        return Ok(());
    }
    Err(format!("{range} is no range: the bits beyond its prefix must be 0"))
}

/// A text that is shown to people.
fn short(text: &str) -> String {
    text.escape_debug().take(128).collect()
}

fn check_route(route: &Route, bounds: &Bounds) -> Result<(), String> {
    check_range(route.range)?;
    let known = |name: &str| {
        bounds
            .nodes
            .get(name)
            .ok_or_else(|| format!("there is no node {}", short(name)))
    };
    let (peer, via) = (known(&route.peer)?, known(&route.via)?);
    if route.peer == bounds.node || route.via == bounds.node {
        return Err("it leads to this node itself".to_owned());
    }
    if !peer.pod_ranges.iter().any(|range| range.covers(route.range)) {
        return Err(format!("the pods of node {} are not there", route.peer));
    }
    if let Some(own) = bounds.nodes.get(&bounds.node)
        && own
            .pod_ranges
            .iter()
            .any(|own| own.covers(route.range) || route.range.covers(*own))
    {
        return Err("this node's own pods are there".to_owned());
    }
    if !via.addresses.contains(&route.underlay) {
        return Err(format!("node {} has no address {}", route.via, route.underlay));
    }
    Ok(())
}

fn check_frontend(frontend: &Frontend, bounds: &Bounds) -> Result<(), String> {
    let key = frontend.key;
    let within = |ranges: &[Range], address| ranges.iter().any(|range| range.contains(address));
    let (family, allowed) = match (key.destination, frontend.scope) {
        (Destination::Address(address), scope) => (
            address.family(),
            match scope {
                Scope::Cluster => within(&bounds.service_ranges, address),
                Scope::LoadBalancer => within(&bounds.load_balancer_ranges, address),
                Scope::External => bounds.external_addresses.contains(&address),
                Scope::NodePort => false,
            },
        ),
        (Destination::Node(family), scope) => (
            family,
            scope == Scope::NodePort && bounds.node_ports.contains(&key.port),
        ),
    };
    if key.port == 0 {
        return Err("port 0 is no port".to_owned());
    }
    if !allowed {
        return Err(match frontend.scope {
            Scope::Cluster => "the address is in no range of Services".to_owned(),
            Scope::LoadBalancer => "the address is in no range of load balancers".to_owned(),
            Scope::External => "the address is no external address of a Service".to_owned(),
            Scope::NodePort => format!(
                "a node port is one of every address of the node, and in {}-{}",
                bounds.node_ports.start(),
                bounds.node_ports.end()
            ),
        });
    }
    if frontend.service.len() > LONGEST_NAME {
        return Err(format!(
            "the Service's name has {} bytes: {LONGEST_NAME} are the limit",
            frontend.service.len()
        ));
    }
    if frontend.affinity_seconds > LONGEST_AFFINITY {
        return Err(format!(
            "an affinity of {} s: {LONGEST_AFFINITY} s are the limit",
            frontend.affinity_seconds
        ));
    }
    if frontend.sources.len() > MOST_PORTS {
        return Err(format!(
            "{} sources: {MOST_PORTS} are the limit",
            frontend.sources.len()
        ));
    }
    frontend.sources.iter().try_for_each(|range| check_range(*range))?;
    check_pool(&frontend.inside, family)?;
    frontend.outside.iter().try_for_each(|pool| check_pool(pool, family))
}

fn check_pool(pool: &Pool, family: Family) -> Result<(), String> {
    if pool.backends.len() > MOST_BACKENDS {
        return Err(format!(
            "{} backends: {MOST_BACKENDS} are the limit",
            pool.backends.len()
        ));
    }
    for backend in &pool.backends {
        let address: Address = backend.address;
        if address.family() != family {
            return Err(format!("the backend {address} is of the other address family"));
        }
        if !address.is_unicast() {
            return Err(format!("nothing can be sent to a backend at {address}"));
        }
        if backend.port == 0 {
            return Err(format!("the backend {address} has port 0"));
        }
    }
    Ok(())
}

fn check_peers(set: &PeerSet) -> Result<(), String> {
    if set.name.is_empty() || set.name.len() > LONGEST_NAME {
        return Err(format!(
            "a name has 1 to {LONGEST_NAME} bytes, and this one {}",
            set.name.len()
        ));
    }
    if set.members.len() > MOST_MEMBERS {
        return Err(format!("{} members: {MOST_MEMBERS} are the limit", set.members.len()));
    }
    set.members.iter().try_for_each(|range| check_range(*range))
}

fn check_rules(rules: &PodRules, bounds: &Bounds) -> Result<(), String> {
    if !bounds.pods.contains(&rules.pod) {
        return Err("no such pod is on this node".to_owned());
    }
    let count = rules.ingress.iter().chain(&rules.egress).map(Vec::len).sum::<usize>();
    if count > MOST_RULES {
        return Err(format!("{count} rules: {MOST_RULES} are the limit"));
    }
    rules
        .ingress
        .iter()
        .chain(&rules.egress)
        .flatten()
        .try_for_each(check_ports)
}

fn check_ports(rule: &Rule) -> Result<(), String> {
    let ports = rule.ports.as_deref().unwrap_or_default();
    if ports.len() > MOST_PORTS {
        return Err(format!(
            "{} ranges of ports in a rule: {MOST_PORTS} are the limit",
            ports.len()
        ));
    }
    match ports.iter().find(|ports| ports.first > ports.last) {
        Some(ports) => Err(format!("{} to {} is no range of ports", ports.first, ports.last)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
