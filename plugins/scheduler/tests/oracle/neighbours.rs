//! Kubernetes' hard rules between pods: spread constraints, affinity, anti-affinity.
use crate::{
    filters::{Settings, cordon_against, label, taint_against, wants_node},
    model::{Placed, World},
};
use scheduler::types::{Inclusion, Node, PodClass, PodTerm, Rule, SpreadConstraint, Unsatisfiable};
use std::collections::{BTreeMap, BTreeSet};

/// Whom a term of a pod means.
pub fn means(world: &World, owner: &PodClass, term: &PodTerm, other: &PodClass) -> bool {
    let own_namespace = term.namespaces.is_empty() && term.namespace_selector.is_none();
    let labels = world.namespaces.get(&other.namespace).cloned().unwrap_or_default();
    let selected = term
        .namespace_selector
        .as_ref()
        .is_some_and(|selector| world.selects(selector, &labels));
    let namespace =
        term.namespaces.contains(&other.namespace) || selected || own_namespace && owner.namespace == other.namespace;
    let own = |key: &u32| label(&owner.labels, *key);
    let same = |key: &u32| own(key).is_none() || own(key) == label(&other.labels, *key);
    let differs = |key: &u32| own(key).is_none() || own(key) != label(&other.labels, *key);
    let selector = term.selector.as_ref();
    namespace
        && selector.is_some_and(|selector| world.selects(selector, &other.labels))
        && term.match_label_keys.iter().all(same)
        && term.mismatch_label_keys.iter().all(differs)
}

/// The constraints that hold for a class, each with whether it counts a pod of another class.
pub type Counts<'a> = Box<dyn Fn(&PodClass) -> bool + 'a>;

pub fn constraints<'a>(
    world: &'a World,
    settings: &Settings,
    class: &'a PodClass,
    kind: Unsatisfiable,
) -> Vec<(SpreadConstraint, Counts<'a>)> {
    let mut all: Vec<(SpreadConstraint, Counts<'a>)> = Vec::new();
    for constraint in &class.spread {
        let counts = move |other: &PodClass| {
            let same = |key: &u32| {
                label(&class.labels, *key).is_none() || label(&class.labels, *key) == label(&other.labels, *key)
            };
            let selector = constraint.selector.as_ref();
            other.namespace == class.namespace
                && selector.is_some_and(|selector| world.selects(selector, &other.labels))
                && constraint.match_label_keys.iter().all(same)
        };
        all.push((constraint.clone(), Box::new(counts)));
    }
    if class.spread.is_empty() && (class.siblings.is_some() || class.owner != 0) {
        for (key, max_skew, must) in &settings.defaults {
            let counts = move |other: &PodClass| {
                let alike = match &class.siblings {
                    Some(selector) => world.selects(selector, &other.labels),
                    None => other.owner == class.owner,
                };
                other.namespace == class.namespace && alike
            };
            let constraint = SpreadConstraint {
                max_skew: *max_skew,
                topology_key: world.known(key).unwrap_or(u32::MAX),
                when_unsatisfiable: if *must {
                    Unsatisfiable::DoNotSchedule
                } else {
                    Unsatisfiable::ScheduleAnyway
                },
                selector: None,
                match_label_keys: Vec::new(),
                min_domains: 1,
                node_affinity_policy: Inclusion::Honor,
                node_taints_policy: Inclusion::Ignore,
            };
            all.push((constraint, Box::new(counts)));
        }
    }
    all.retain(|(constraint, _)| constraint.when_unsatisfiable == kind);
    all
}

/// Whether a constraint looks at a node at all, but for labels.
pub fn looks_at(world: &World, class: &PodClass, constraint: &SpreadConstraint, node: &Node) -> bool {
    let affinity = constraint.node_affinity_policy == Inclusion::Ignore || wants_node(world, class, node);
    let tainted = cordon_against(world, class, node) || taint_against(world, class, node).is_some();
    affinity && (constraint.node_taints_policy == Inclusion::Ignore || !tainted)
}

/// Pods on a node that a constraint counts: those that are not ending.
pub fn counted(world: &World, node: u32, counts: &dyn Fn(&PodClass) -> bool) -> i64 {
    let here = world
        .pods
        .values()
        .filter(|placed| placed.node == node && !placed.ending);
    here.filter(|placed| counts(&world.classes[&placed.class])).count() as i64
}

fn spread_against(world: &World, settings: &Settings, class: &PodClass, node: &Node) -> Option<Rule> {
    let all = constraints(world, settings, class, Unsatisfiable::DoNotSchedule);
    let has_all = |node: &Node| {
        all.iter()
            .all(|(constraint, _)| label(&node.labels, constraint.topology_key).is_some())
    };
    for (constraint, counts) in &all {
        let Some(domain) = label(&node.labels, constraint.topology_key) else {
            return Some(Rule::SpreadLabel);
        };
        let mut domains: BTreeMap<u32, i64> = BTreeMap::new();
        for other in world.nodes.values() {
            if let Some(domain) = label(&other.labels, constraint.topology_key)
                && has_all(other)
                && looks_at(world, class, constraint, other)
            {
                *domains.entry(domain).or_default() += counted(world, other.id, counts);
            }
        }
        let least = domains.values().min().copied().unwrap_or(0);
        let least = if domains.len() < constraint.min_domains as usize {
            0
        } else {
            least
        };
        let there = domains.get(&domain).copied().unwrap_or(0);
        if there + i64::from(counts(class)) - least > i64::from(constraint.max_skew) {
            return Some(Rule::Spread);
        }
    }
    None
}

/// Pods in the part of the cluster that a node is in, by a topology key.
fn near<'a>(world: &'a World, node: &Node, key: u32) -> Vec<&'a Placed> {
    let Some(domain) = label(&node.labels, key) else {
        return Vec::new();
    };
    let there = |placed: &&Placed| label(&world.nodes[&placed.node].labels, key) == Some(domain);
    world.pods.values().filter(there).collect()
}

fn affinity_against(world: &World, class: &PodClass, node: &Node) -> bool {
    let wanted = |other: &PodClass| class.affinity.iter().all(|term| means(world, class, term, other));
    if class
        .affinity
        .iter()
        .any(|term| label(&node.labels, term.topology_key).is_none())
    {
        return true;
    }
    let has = |placed: &&Placed| wanted(&world.classes[&placed.class]);
    if class
        .affinity
        .iter()
        .all(|term| near(world, node, term.topology_key).iter().any(has))
    {
        return false;
    }
    // The first of its kind may go anywhere: nobody whom it wants is at any node with one of the labels.
    let keys: BTreeSet<u32> = class.affinity.iter().map(|term| term.topology_key).collect();
    let known = |placed: &Placed| {
        keys.iter()
            .any(|key| label(&world.nodes[&placed.node].labels, *key).is_some())
    };
    let nobody = !world
        .pods
        .values()
        .any(|placed| wanted(&world.classes[&placed.class]) && known(placed));
    !(nobody && wanted(class))
}

pub fn pods_against(world: &World, settings: &Settings, class: &PodClass, node: &Node) -> Option<Rule> {
    if let Some(rule) = spread_against(world, settings, class, node) {
        return Some(rule);
    }
    if !class.affinity.is_empty() && affinity_against(world, class, node) {
        return Some(Rule::Affinity);
    }
    let unwanted = class.anti_affinity.iter().any(|term| {
        let near = near(world, node, term.topology_key);
        near.iter()
            .any(|placed| means(world, class, term, &world.classes[&placed.class]))
    });
    if unwanted {
        return Some(Rule::AntiAffinity);
    }
    let objects = |placed: &Placed| {
        let owner = &world.classes[&placed.class];
        owner.anti_affinity.iter().any(|term| {
            let there = label(&world.nodes[&placed.node].labels, term.topology_key);
            means(world, owner, term, class) && there.is_some() && there == label(&node.labels, term.topology_key)
        })
    };
    world.pods.values().any(objects).then_some(Rule::ExistingAntiAffinity)
}
