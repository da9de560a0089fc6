//! Preemption as Kubernetes describes it: on each node, take away all that are less important, and put back as many as can
//! be; of all nodes, take the cheapest.
use crate::{
    filters::{Settings, against, against_with_awaited, expecting},
    model::World,
};
use scheduler::types::{Node, Pod, Rule};
use std::{cmp::Reverse, collections::BTreeMap};

/// The price of room on a node, in the order in which prices are compared.
pub type Price = (usize, i64, i64, usize, Reverse<u32>);

/// Whether a pod fits on a node of a world without these pods.
pub fn fits_without(world: &World, settings: &Settings, pod: &Pod, node: &Node, gone: &[u32]) -> bool {
    let mut without = world.clone();
    without.pods.retain(|id, _| !gone.contains(id));
    let expected = expecting(&without, pod, node.id);
    against(&expected, settings, pod, node).is_empty() && against(&without, settings, pod, node).is_empty()
}

fn importance(world: &World, pod: u32) -> (Reverse<i32>, u32, u32) {
    (Reverse(world.class_of(pod).priority), world.pods[&pod].start, pod)
}

/// Whether no end of pods could make a node do.
fn hopeless(world: &World, settings: &Settings, pod: &Pod, node: &Node) -> bool {
    let against = against_with_awaited(world, settings, pod, node);
    let fixed = |rule: &Rule| {
        !matches!(
            rule,
            Rule::Ports
                | Rule::Pods
                | Rule::Cpu
                | Rule::Memory
                | Rule::EphemeralStorage
                | Rule::Extended(_)
                | Rule::Spread
                | Rule::AntiAffinity
                | Rule::ExistingAntiAffinity
        )
    };
    against.iter().any(fixed)
}

/// The pods of a node that would have to go, most important first, and their price.
pub fn victims_on(world: &World, settings: &Settings, pod: &Pod, node: &Node) -> Option<(Price, Vec<u32>)> {
    let priority = world.classes[&pod.class].priority;
    let lower = |id: &&u32| world.pods[*id].node == node.id && world.class_of(**id).priority < priority;
    let lower: Vec<u32> = world.pods.keys().filter(lower).copied().collect();
    if lower.is_empty() || hopeless(world, settings, pod, node) || !fits_without(world, settings, pod, node, &lower) {
        return None;
    }
    // Those that are ending go anyway.
    let (mut gone, mut candidates): (Vec<u32>, Vec<u32>) = lower.into_iter().partition(|id| world.pods[id].ending);
    candidates.sort_by_key(|id| importance(world, *id));
    let mut left: BTreeMap<u32, i32> = world
        .budgets
        .values()
        .map(|budget| (budget.id, budget.allowed))
        .collect();
    let mut violating = Vec::new();
    for id in &candidates {
        let mut violates = false;
        for budget in world.covering(*id, world.class_of(*id)) {
            let left = left.get_mut(&budget).expect("each budget is there");
            *left -= 1;
            violates |= *left < 0;
        }
        if violates {
            violating.push(*id);
        }
    }
    let harmless = candidates.iter().filter(|id| !violating.contains(id));
    let order: Vec<u32> = violating.iter().chain(harmless).copied().collect();
    gone.extend(&candidates);
    let mut victims = Vec::new();
    for id in order {
        gone.retain(|other| *other != id);
        if !fits_without(world, settings, pod, node, &gone) {
            gone.push(id);
            victims.push(id);
        }
    }
    victims.sort_by_key(|id| importance(world, *id));
    let highest = victims.first().map(|id| world.class_of(*id).priority);
    let earliest = victims
        .iter()
        .filter(|id| Some(world.class_of(**id).priority) == highest);
    let price = (
        victims.iter().filter(|id| violating.contains(id)).count(),
        highest.map_or(i64::MIN, i64::from),
        victims
            .iter()
            .map(|id| i64::from(world.class_of(*id).priority) + (1 << 31))
            .sum(),
        victims.len(),
        Reverse(earliest.map(|id| world.pods[id].start).min().unwrap_or(u32::MAX)),
    );
    Some((price, victims))
}

/// The node where room is cheapest, and who goes.
pub fn cheapest(world: &World, settings: &Settings, pod: &Pod) -> Option<(u32, Vec<u32>)> {
    if !world.classes[&pod.class].may_preempt {
        return None;
    }
    let nodes = world
        .nodes
        .values()
        .filter(|node| pod.pinned == 0 || pod.pinned == node.id);
    let all = nodes.filter_map(|node| Some((victims_on(world, settings, pod, node)?, node.id)));
    let cheapest = all.min_by_key(|((price, _), node)| (*price, *node))?;
    Some((cheapest.1, cheapest.0.1))
}
