//! The victims on one node: all that are less important go, then as many as can be come back, the most important first.
use crate::{
    Cluster,
    hashing::Map,
    mirror::Node,
    probe::{Altered, expect_awaited},
    rules::Rules,
};
use sampan_sdk::scheduler::{cluster::covers, types::Rule};
use std::cmp::Reverse;

/// What room on a node costs, the cheapest first: budgets broken, the most important victim, their priorities together,
/// how many; and rather those whose most important ones started last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    violations: u32,
    highest: i64,
    sum: i64,
    count: u32,
    start: Reverse<u32>,
}

/// A node with the pods that wait for room there, and without them: a pod has to fit either way.
struct Cases<'a> {
    rules: &'a Rules,
    alone: bool,
    plain: Altered<'a>,
    awaited: Option<Altered<'a>>,
}

impl Cases<'_> {
    fn fits(&self) -> bool {
        let fits = |altered: &Altered<'_>| {
            altered.has_room(self.rules) && (self.alone || altered.pods_against(self.rules).is_none())
        };
        self.awaited.as_ref().is_none_or(fits) && fits(&self.plain)
    }

    fn without(&mut self, pod: u32) {
        self.plain.without(pod);
        if let Some(awaited) = &mut self.awaited {
            awaited.without(pod);
        }
    }

    fn with_again(&mut self, pod: u32) {
        self.plain.with_again(pod);
        if let Some(awaited) = &mut self.awaited {
            awaited.with_again(pod);
        }
    }
}

/// Who would have to go from a node, most important first, and what that costs; none if that would not help.
///
/// Pods that are ending go anyway: they cost nothing and are not named.
pub fn victims(cluster: &Cluster, rules: &Rules, node: &Node) -> Option<(Cost, Vec<u32>)> {
    let mirror = &cluster.mirror;
    let lower = |pod: &&u32| mirror.priority_of(**pod) < rules.priority;
    let mut potential: Vec<u32> = node.pods.iter().filter(lower).copied().collect();
    if potential.is_empty() || !could_help(cluster, rules, node) {
        return None;
    }
    let plain = Altered::new(cluster, node);
    let mut with_awaited = plain.clone();
    let mut cases = Cases {
        rules,
        alone: rules.are_alone(),
        awaited: expect_awaited(&mut with_awaited, rules.priority).then_some(with_awaited),
        plain,
    };
    potential.iter().for_each(|pod| cases.without(*pod));
    if !cases.fits() {
        return None;
    }
    potential.retain(|pod| mirror.pod(*pod).is_some_and(|slot| !slot.ending));
    let start = |pod: u32| mirror.pod(pod).map_or(0, |slot| slot.start);
    potential.sort_unstable_by_key(|pod| (Reverse(mirror.priority_of(*pod)), start(*pod), *pod));
    let (violating, harmless) = split_by_budgets(cluster, &potential);
    let mut violations = 0;
    let mut chosen = Vec::new();
    for (pod, violates) in violating
        .iter()
        .map(|pod| (*pod, true))
        .chain(harmless.iter().map(|pod| (*pod, false)))
    {
        cases.with_again(pod);
        if !cases.fits() {
            cases.without(pod);
            chosen.push(pod);
            violations += u32::from(violates);
        }
    }
    chosen.sort_unstable_by_key(|pod| (Reverse(mirror.priority_of(*pod)), start(*pod), *pod));
    let highest = chosen.first().map(|pod| mirror.priority_of(*pod));
    let most_important = chosen.iter().filter(|pod| Some(mirror.priority_of(**pod)) == highest);
    let cost = Cost {
        violations,
        highest: highest.map_or(i64::MIN, i64::from),
        // Kubernetes lifts priorities above 0, so that a victim more never makes the sum less.
        sum: chosen
            .iter()
            .map(|pod| i64::from(mirror.priority_of(*pod)) + (1 << 31))
            .sum(),
        count: chosen.len() as u32,
        start: Reverse(most_important.map(|pod| start(*pod)).min().unwrap_or(u32::MAX)),
    };
    Some((cost, chosen))
}

/// Whether it is not something else than pods that keeps the pod away.
fn could_help(cluster: &Cluster, rules: &Rules, node: &Node) -> bool {
    if rules.against(node, &cluster.mirror.names).is_some() || !node.room.could_ever_fit(&rules.demand) {
        return false;
    }
    let altered = Altered::new(cluster, node);
    let hopeless = |rule| matches!(rule, Rule::SpreadLabel | Rule::Affinity);
    rules.are_alone() || !altered.has_room(rules) || !altered.pods_against(rules).is_some_and(hopeless)
}

/// Those whose end breaks a budget, and the others; in the order given, which is that in which budgets are used up.
fn split_by_budgets(cluster: &Cluster, pods: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mirror = &cluster.mirror;
    let mut left: Map<u32, i32> = Map::default();
    pods.iter().partition(|pod| {
        let mut violates = false;
        let class = mirror.class_of(**pod).filter(|class| !class.labels.is_empty());
        let budgets = class
            .into_iter()
            .flat_map(|class| mirror.budgets_in(class.said.namespace));
        for budget in budgets {
            let counts = |class| covers(budget, class, &mirror.names) && budget.disrupted.binary_search(pod).is_err();
            if class.is_some_and(counts) {
                let allowed = left.entry(budget.id).or_insert(budget.allowed);
                *allowed = allowed.saturating_sub(1);
                violates |= *allowed < 0;
            }
        }
        violates
    })
}
