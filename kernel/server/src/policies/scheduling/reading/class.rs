//! From a pod's spec to its class.
use super::{TooMuch, amounts, check, select};
use crate::policies::scheduling::mirror::{nodes::effect, symbols::Symbols};
use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorTerm, PodSpec, PreferredSchedulingTerm, Toleration, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};
use sampan_sandbox::scheduler::{self as wire, MOST_LABELS, MOST_SPREAD, MOST_TERMS};
use std::collections::BTreeMap;

/// The classes of priority that are always there.
const SYSTEM: [(&str, i32); 2] = [
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];

/// A pod's class without number and siblings, and the only node that will do, if one alone will.
pub fn read(
    spec: &PodSpec,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    owner: Option<&str>,
    symbols: &mut Symbols,
) -> Result<(wire::PodClass, Option<String>), TooMuch> {
    check("labels", labels.len(), MOST_LABELS)?;
    let (asks, scored_cpu, scored_memory) = amounts::of_pod(spec).map_err(|error| TooMuch(error.to_string()))?;
    let none = Affinity::default();
    let affinity = spec.affinity.as_ref().unwrap_or(&none);
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    let (required_nodes, pinned) = required_nodes(affinity, constraints.is_empty(), symbols)?;
    let mut class = wire::PodClass {
        id: 0,
        namespace: symbols.number(namespace),
        labels: named(labels, symbols),
        owner: owner.map_or(0, |owner| symbols.number(owner)),
        siblings: None,
        priority: priority(spec),
        may_preempt: spec.preemption_policy.as_deref() != Some("Never"),
        requests: asks.resources,
        scored_cpu,
        scored_memory,
        extended: asks.extended(symbols),
        ports: ports(spec, symbols)?,
        node_selector: named(spec.node_selector.as_ref().unwrap_or(&BTreeMap::new()), symbols),
        required_nodes,
        preferred_nodes: preferred_nodes(affinity, symbols)?,
        tolerations: tolerations(spec, symbols)?,
        affinity: Vec::new(),
        anti_affinity: Vec::new(),
        preferred_affinity: Vec::new(),
        preferred_anti_affinity: Vec::new(),
        spread: Vec::new(),
        images: images(spec, symbols)?,
    };
    check("labels of the node selector", class.node_selector.len(), MOST_LABELS)?;
    check("extended resources", class.extended.len(), MOST_LABELS)?;
    near(affinity, &mut class, symbols)?;
    check("spread constraints", constraints.len(), MOST_SPREAD)?;
    for constraint in constraints {
        class.spread.push(spread(constraint, symbols)?);
    }
    Ok((class, pinned))
}

pub fn priority(spec: &PodSpec) -> i32 {
    let by_name = || {
        let name = spec.priority_class_name.as_deref();
        SYSTEM.iter().find(|(known, _)| Some(*known) == name)
    };
    spec.priority
        .or_else(|| by_name().map(|(_, value)| *value))
        .unwrap_or_default()
}

fn named(labels: &BTreeMap<String, String>, symbols: &mut Symbols) -> Vec<wire::Label> {
    let label = |(key, value): (&String, &String)| wire::Label {
        key: symbols.number(key),
        value: symbols.number(value),
    };
    labels.iter().map(label).collect()
}

/// The terms of which one must hold; a single one on a name alone, as DaemonSets write it, becomes the name.
fn required_nodes(
    affinity: &Affinity,
    may_pin: bool,
    symbols: &mut Symbols,
) -> Result<(Option<Vec<wire::NodeTerm>>, Option<String>), TooMuch> {
    let node = affinity.node_affinity.as_ref();
    let Some(required) = node.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref()) else {
        return Ok((None, None));
    };
    let terms = &required.node_selector_terms;
    if let [term] = terms.as_slice()
        && may_pin
        && let Some(name) = only_name(term)
    {
        let rest = NodeSelectorTerm {
            match_expressions: term.match_expressions.clone().filter(|all| !all.is_empty()),
            match_fields: None,
        };
        let rest = match rest.match_expressions {
            None => None,
            Some(_) => Some(vec![select::node_term(&rest, symbols)?]),
        };
        return Ok((rest, Some(name)));
    }
    check("terms of node affinity", terms.len(), MOST_TERMS)?;
    let terms: Result<Vec<_>, _> = terms.iter().map(|term| select::node_term(term, symbols)).collect();
    Ok((Some(terms?), None))
}

fn only_name(term: &NodeSelectorTerm) -> Option<String> {
    match term.match_fields.as_deref() {
        Some([field]) if field.key == "metadata.name" && field.operator == "In" => match field.values.as_deref() {
            Some([name]) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn preferred_nodes(affinity: &Affinity, symbols: &mut Symbols) -> Result<Vec<wire::PreferredNode>, TooMuch> {
    let node = affinity.node_affinity.as_ref();
    let preferred = node.and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_deref());
    let preferred = preferred.unwrap_or_default();
    check("preferred terms of node affinity", preferred.len(), MOST_TERMS)?;
    let one = |one: &PreferredSchedulingTerm| {
        Ok(wire::PreferredNode {
            weight: one.weight,
            term: select::node_term(&one.preference, symbols)?,
        })
    };
    preferred.iter().map(one).collect()
}

fn tolerations(spec: &PodSpec, symbols: &mut Symbols) -> Result<Vec<wire::Toleration>, TooMuch> {
    let all = spec.tolerations.as_deref().unwrap_or_default();
    check("tolerations", all.len(), MOST_LABELS)?;
    let one = |one: &Toleration| {
        let exists = one.operator.as_deref() == Some("Exists");
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        wire::Toleration {
            key: given(&one.key).map(|key| symbols.number(&key)),
            value: (!exists).then(|| symbols.number(one.value.as_deref().unwrap_or_default())),
            effect: given(&one.effect).map(|text| effect(&text)),
        }
    };
    Ok(all.iter().map(one).collect())
}

/// Who it wants to be near to, and far from.
fn near(affinity: &Affinity, class: &mut wire::PodClass, symbols: &mut Symbols) -> Result<(), TooMuch> {
    let weighed = |all: Option<&Vec<WeightedPodAffinityTerm>>, symbols: &mut Symbols| {
        let all = all.map(Vec::as_slice).unwrap_or_default();
        check("preferred terms of pod affinity", all.len(), MOST_TERMS)?;
        let one = |one: &WeightedPodAffinityTerm| {
            Ok(wire::PreferredPod {
                weight: one.weight,
                term: select::pod_term(&one.pod_affinity_term, symbols)?,
            })
        };
        all.iter().map(one).collect::<Result<Vec<_>, TooMuch>>()
    };
    if let Some(to) = &affinity.pod_affinity {
        let required = to
            .required_during_scheduling_ignored_during_execution
            .as_deref()
            .unwrap_or_default();
        check("terms of pod affinity", required.len(), MOST_TERMS)?;
        class.affinity = required
            .iter()
            .map(|term| select::pod_term(term, symbols))
            .collect::<Result<_, _>>()?;
        class.preferred_affinity = weighed(
            to.preferred_during_scheduling_ignored_during_execution.as_ref(),
            symbols,
        )?;
    }
    if let Some(from) = &affinity.pod_anti_affinity {
        let required = from
            .required_during_scheduling_ignored_during_execution
            .as_deref()
            .unwrap_or_default();
        check("terms of pod anti-affinity", required.len(), MOST_TERMS)?;
        class.anti_affinity = required
            .iter()
            .map(|term| select::pod_term(term, symbols))
            .collect::<Result<_, _>>()?;
        class.preferred_anti_affinity = weighed(
            from.preferred_during_scheduling_ignored_during_execution.as_ref(),
            symbols,
        )?;
    }
    Ok(())
}

fn spread(given: &TopologySpreadConstraint, symbols: &mut Symbols) -> Result<wire::SpreadConstraint, TooMuch> {
    let keys = given.match_label_keys.as_deref().unwrap_or_default();
    check("label keys of a spread constraint", keys.len(), MOST_LABELS)?;
    let inclusion = |text: &Option<String>, usual| match text.as_deref() {
        Some("Honor") => wire::Inclusion::Honor,
        Some("Ignore") => wire::Inclusion::Ignore,
        _ => usual,
    };
    let count = |number: i32| u32::try_from(number).unwrap_or_default().max(1);
    Ok(wire::SpreadConstraint {
        max_skew: count(given.max_skew),
        topology_key: symbols.number(&given.topology_key),
        when_unsatisfiable: match given.when_unsatisfiable.as_str() {
            "ScheduleAnyway" => wire::Unsatisfiable::ScheduleAnyway,
            _ => wire::Unsatisfiable::DoNotSchedule,
        },
        selector: given
            .label_selector
            .as_ref()
            .map(|all| select::selector(all, symbols))
            .transpose()?,
        match_label_keys: keys.iter().map(|key| symbols.number(key)).collect(),
        min_domains: count(given.min_domains.unwrap_or(1)),
        node_affinity_policy: inclusion(&given.node_affinity_policy, wire::Inclusion::Honor),
        node_taints_policy: inclusion(&given.node_taints_policy, wire::Inclusion::Ignore),
    })
}

fn ports(spec: &PodSpec, symbols: &mut Symbols) -> Result<Vec<wire::HostPort>, TooMuch> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let mut all = Vec::new();
    for port in ports {
        let number = port.host_port.and_then(|number| u32::try_from(number).ok());
        let Some(number) = number.filter(|number| *number > 0) else {
            continue;
        };
        let address = port.host_ip.as_deref().filter(|address| *address != "0.0.0.0");
        all.push(wire::HostPort {
            port: number,
            protocol: match port.protocol.as_deref() {
                Some("UDP") => wire::Protocol::Udp,
                Some("SCTP") => wire::Protocol::Sctp,
                _ => wire::Protocol::Tcp,
            },
            address: address.map_or(0, |address| symbols.number(address)),
        });
    }
    check("host ports", all.len(), MOST_LABELS)?;
    Ok(all)
}

fn images(spec: &PodSpec, symbols: &mut Symbols) -> Result<Vec<u32>, TooMuch> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let images = containers.filter_map(|container| container.image.as_deref());
    let images: Vec<u32> = images
        .map(|image| symbols.number(&amounts::image_name(image)))
        .collect();
    check("containers", images.len(), MOST_LABELS)?;
    Ok(images)
}
