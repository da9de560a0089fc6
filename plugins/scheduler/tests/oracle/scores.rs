//! Kubernetes' scores, and the choice among nodes that will do.
use crate::{
    filters::{
        Settings, Strategy, against_with_awaited, extended_of, extended_requested, label, node_term_holds, requested,
        tolerated,
    },
    model::World,
    neighbours::{constraints, counted, looks_at, means},
};
use scheduler::types::{Effect, Node, Pod, PodClass, PodTerm, Unsatisfiable};
use std::collections::{BTreeMap, BTreeSet};

/// A node that will do.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub node: u32,
    pub normalized: [i64; 7],
    pub total: i64,
    pub pods: usize,
}

/// What is asked of a resource with the pod there, and how much there is; nothing where it does not matter.
fn amounts(world: &World, class: &PodClass, node: &Node, resource: &str, scored: bool) -> (u64, u64, u64) {
    let here = || {
        world
            .pods
            .values()
            .filter(|placed| placed.node == node.id)
            .map(|placed| &world.classes[&placed.class])
    };
    let used = requested(world, node.id);
    match (resource, scored) {
        ("cpu", true) => (
            class.scored_cpu,
            here().map(|class| class.scored_cpu).sum(),
            node.allocatable.milli_cpu,
        ),
        ("memory", true) => (
            class.scored_memory,
            here().map(|class| class.scored_memory).sum(),
            node.allocatable.memory,
        ),
        ("cpu", false) => (class.requests.milli_cpu, used.milli_cpu, node.allocatable.milli_cpu),
        ("memory", false) => (class.requests.memory, used.memory, node.allocatable.memory),
        ("ephemeral-storage", _) => (
            class.requests.ephemeral_storage,
            used.ephemeral_storage,
            node.allocatable.ephemeral_storage,
        ),
        (name, _) => {
            let Some(symbol) = world.known(name) else {
                return (0, 0, 0);
            };
            match extended_of(&class.extended, symbol) {
                0 => (0, 0, 0),
                asked => (
                    asked,
                    extended_requested(world, node.id, symbol),
                    extended_of(&node.extended, symbol),
                ),
            }
        }
    }
}

fn fit(world: &World, settings: &Settings, class: &PodClass, node: &Node) -> i64 {
    let (mut sum, mut weights) = (0, 0);
    for (resource, weight) in &settings.resources {
        let (asked, used, all) = amounts(world, class, node, resource, true);
        let (requested, all) = ((asked + used) as i64, all as i64);
        if all == 0 {
            continue;
        }
        let score = match &settings.strategy {
            Strategy::Least if requested > all => 0,
            Strategy::Least => (all - requested) * 100 / all,
            Strategy::Most => requested.min(all) * 100 / all,
            Strategy::Ratio(shape) => {
                let score = on_shape(shape, requested.min(all) * 100 / all);
                if score == 0 {
                    continue;
                }
                score
            }
        };
        sum += score * weight;
        weights += weight;
    }
    match (&settings.strategy, weights) {
        (_, 0) => 0,
        (Strategy::Ratio(_), _) => (sum as f64 / weights as f64).round() as i64,
        _ => sum / weights,
    }
}

fn on_shape(shape: &[(i64, i64)], at: i64) -> i64 {
    let mut before: Option<(i64, i64)> = None;
    for &(utilization, score) in shape {
        if at <= utilization {
            return match before {
                None => score,
                Some((from, low)) => low + (score - low) * (at - from) / (utilization - from),
            };
        }
        before = Some((utilization, score));
    }
    before.map_or(0, |(_, score)| score)
}

fn balance(world: &World, settings: &Settings, class: &PodClass, node: &Node) -> i64 {
    let all: Vec<(u64, u64, u64)> = settings
        .balanced
        .iter()
        .map(|resource| amounts(world, class, node, resource, false))
        .collect();
    if all.iter().all(|(asked, _, _)| *asked == 0) {
        return 0;
    }
    let there = all.iter().filter(|(_, _, all)| *all > 0);
    let fractions: Vec<f64> = there
        .map(|(asked, used, all)| ((asked + used) as f64 / *all as f64).min(1.0))
        .collect();
    let deviation = match fractions.len() {
        0 | 1 => 0.0,
        2 => ((fractions[0] - fractions[1]) / 2.0).abs(),
        count => {
            let mean = fractions.iter().sum::<f64>() / count as f64;
            let squares: f64 = fractions
                .iter()
                .map(|fraction| (fraction - mean) * (fraction - mean))
                .sum();
            (squares / count as f64).sqrt()
        }
    };
    ((1.0 - deviation) * 100.0) as i64
}

fn images(world: &World, class: &PodClass, node: &Node) -> i64 {
    const MIB: i64 = 1 << 20;
    let mut sum = 0;
    for wanted in &class.images {
        if let Some(image) = node.images.iter().find(|image| image.name == *wanted) {
            let has = |node: &&Node| node.images.iter().any(|image| image.name == *wanted);
            let nodes = world.nodes.values().filter(has).count();
            let spread = nodes as f64 / world.nodes.len() as f64;
            sum += ((i64::from(image.kib) * 1024) as f64 * spread) as i64;
        }
    }
    if class.images.is_empty() {
        return 0;
    }
    let (least, most) = (23 * MIB, 1000 * MIB * class.images.len() as i64);
    100 * (sum.clamp(least, most) - least) / (most - least)
}

fn liked(world: &World, class: &PodClass, node: &Node) -> i64 {
    let held = class
        .preferred_nodes
        .iter()
        .filter(|preferred| node_term_holds(world, &preferred.term, node));
    held.map(|preferred| i64::from(preferred.weight)).sum()
}

fn disliked(class: &PodClass, node: &Node) -> i64 {
    let taints = node
        .taints
        .iter()
        .filter(|taint| taint.effect == Effect::PreferNoSchedule);
    taints.filter(|taint| !tolerated(&class.tolerations, taint)).count() as i64
}

fn pulled(world: &World, settings: &Settings, class: &PodClass, node: &Node) -> i64 {
    let mut sum = 0;
    for placed in world.pods.values() {
        let (other, there) = (&world.classes[&placed.class], &world.nodes[&placed.node]);
        let near = |term: &PodTerm| {
            let domain = label(&there.labels, term.topology_key);
            domain.is_some() && domain == label(&node.labels, term.topology_key)
        };
        let wants = |term: &PodTerm| near(term) && means(world, class, term, other);
        let wanted = |term: &PodTerm| near(term) && means(world, other, term, class);
        let weigh = |all: &[scheduler::types::PreferredPod], holds: &dyn Fn(&PodTerm) -> bool| -> i64 {
            all.iter()
                .filter(|one| holds(&one.term))
                .map(|one| i64::from(one.weight))
                .sum()
        };
        sum += weigh(&class.preferred_affinity, &wants) - weigh(&class.preferred_anti_affinity, &wants);
        sum += settings.hard_weight * other.affinity.iter().filter(|term| wanted(term)).count() as i64;
        if settings.count_preferred {
            sum += weigh(&other.preferred_affinity, &wanted) - weigh(&other.preferred_anti_affinity, &wanted);
        }
    }
    sum
}

/// What spreading says of each node; none for nodes that lack a label they need.
fn spread(world: &World, settings: &Settings, class: &PodClass, nodes: &[&Node]) -> Vec<Option<i64>> {
    let all = constraints(world, settings, class, Unsatisfiable::ScheduleAnyway);
    let need_all = !class.spread.is_empty() || !settings.system;
    let has_all = |node: &Node| {
        all.iter()
            .all(|(constraint, _)| label(&node.labels, constraint.topology_key).is_some())
    };
    let scored: Vec<&&Node> = nodes.iter().filter(|node| !need_all || has_all(node)).collect();
    let hostname = world.known("kubernetes.io/hostname");
    let mut weights = Vec::new();
    let mut counts_by_domain: Vec<BTreeMap<Option<u32>, i64>> = Vec::new();
    for (constraint, counts) in &all {
        let key = constraint.topology_key;
        let domains: BTreeSet<Option<u32>> = scored.iter().map(|node| label(&node.labels, key)).collect();
        let size = if Some(key) == hostname {
            scored.len()
        } else {
            domains.len()
        };
        weights.push(((size + 2) as f64).ln());
        let mut by_domain: BTreeMap<Option<u32>, i64> = BTreeMap::new();
        for other in world.nodes.values() {
            if (!need_all || has_all(other)) && looks_at(world, class, constraint, other) {
                *by_domain.entry(label(&other.labels, key)).or_default() += counted(world, other.id, counts);
            }
        }
        counts_by_domain.push(by_domain);
    }
    let score = |node: &Node| {
        let mut sum = 0.0;
        for (place, (constraint, counts)) in all.iter().enumerate() {
            let Some(domain) = label(&node.labels, constraint.topology_key) else {
                continue;
            };
            let count = if Some(constraint.topology_key) == hostname {
                counted(world, node.id, counts)
            } else {
                counts_by_domain[place].get(&Some(domain)).copied().unwrap_or(0)
            };
            sum += count as f64 * weights[place] + f64::from(constraint.max_skew - 1);
        }
        sum.round() as i64
    };
    let of = |node: &&Node| (!all.is_empty() && (!need_all || has_all(node))).then(|| score(node));
    nodes.iter().map(of).collect()
}

/// All nodes that will do, with their scores.
pub fn scored(world: &World, settings: &Settings, pod: &Pod) -> Vec<Scored> {
    let class = &world.classes[&pod.class];
    let will_do = |node: &&Node| against_with_awaited(world, settings, pod, node).is_empty();
    let nodes: Vec<&Node> = world.nodes.values().filter(will_do).collect();
    let raw = |of: &dyn Fn(&Node) -> i64| -> Vec<i64> { nodes.iter().map(|node| of(node)).collect() };
    let liked = raw(&|node| liked(world, class, node));
    let disliked = raw(&|node| disliked(class, node));
    let pulled = raw(&|node| pulled(world, settings, class, node));
    let spread = spread(world, settings, class, &nodes);
    let most = |all: &[i64]| all.iter().max().copied().unwrap_or(0);
    let (least_spread, most_spread) = (spread.iter().flatten().min(), spread.iter().flatten().max());
    let least_pulled = pulled.iter().min().copied().unwrap_or(0);
    let range = most(&pulled) - least_pulled;
    let score = |(place, node): (usize, &&Node)| {
        let normalized = [
            fit(world, settings, class, node),
            balance(world, settings, class, node),
            images(world, class, node),
            if most(&liked) == 0 {
                0
            } else {
                100 * liked[place] / most(&liked)
            },
            if most(&disliked) == 0 {
                100
            } else {
                100 - 100 * disliked[place] / most(&disliked)
            },
            if range == 0 {
                0
            } else {
                (100.0 * ((pulled[place] - least_pulled) as f64 / range as f64)) as i64
            },
            match (spread[place], least_spread, most_spread) {
                (Some(_), _, Some(0)) => 100,
                (Some(raw), Some(least), Some(most)) => 100 * (most + least - raw) / most,
                _ => 0,
            },
        ];
        Scored {
            node: node.id,
            normalized,
            total: normalized
                .iter()
                .zip(settings.weights)
                .map(|(score, weight)| score * weight)
                .sum(),
            pods: world.pods.values().filter(|placed| placed.node == node.id).count(),
        }
    };
    nodes.iter().enumerate().map(score).collect()
}

/// The node that a pod goes to: the one it was nominated to if that will do, else the one with the highest total; of equals
/// that with the fewest pods, then that with the lowest number.
pub fn choice(world: &World, settings: &Settings, pod: &Pod) -> Option<u32> {
    let all = scored(world, settings, pod);
    let nominated = world.nominations.get(&pod.id).map(|nomination| nomination.node);
    if let Some(node) = nominated.filter(|nominated| all.iter().any(|scored| scored.node == *nominated)) {
        return Some(node);
    }
    all.iter()
        .min_by_key(|scored| (-scored.total, scored.pods, scored.node))
        .map(|scored| scored.node)
}
