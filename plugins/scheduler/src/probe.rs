//! Asking one node directly, as it is or as it would be with some pods more or less. Slow and plain beside the index:
//! for pods of one node, for nominations, for victims, for explanations.
use crate::{
    Cluster,
    hashing::Map,
    mirror::{Node, Room},
    rules::{Near, Rules},
};
use counts::NOWHERE;
use sampan_sdk::scheduler::types::Rule;

use crate::counts;

/// A node as it would be.
#[derive(Clone)]
pub struct Altered<'a> {
    cluster: &'a Cluster,
    node: &'a Node,
    room: Room,
    /// How counters would differ in the part of the cluster that the node is in.
    shifts: Map<u32, i32>,
}

impl<'a> Altered<'a> {
    /// As it is.
    pub fn new(cluster: &'a Cluster, node: &'a Node) -> Self {
        Altered {
            cluster,
            node,
            room: node.room.clone(),
            shifts: Map::default(),
        }
    }

    /// A pod of a class more.
    pub fn with(&mut self, class: u32, ending: bool) {
        if let Some(known) = self.cluster.mirror.class(class) {
            self.room.take(&known.demand);
            self.shift(class, ending, 1);
        }
    }

    /// A pod less, that is there.
    pub fn without(&mut self, pod: u32) {
        let mirror = &self.cluster.mirror;
        if let (Some(slot), Some(class)) = (mirror.pod(pod), mirror.class_of(pod)) {
            self.room.give_back(&class.demand);
            self.shift(slot.class, slot.ending, -1);
        }
    }

    /// Such a pod again.
    pub fn with_again(&mut self, pod: u32) {
        if let Some(slot) = self.cluster.mirror.pod(pod) {
            self.with(slot.class, slot.ending);
        }
    }

    fn shift(&mut self, class: u32, ending: bool, times: i32) {
        for (counter, amount) in self.cluster.counts.adds_at(class, self.node.id, ending) {
            *self.shifts.entry(counter).or_default() += amount * times;
        }
    }

    fn shift_of(&self, counter: u32) -> i32 {
        match self.shifts.is_empty() {
            true => 0,
            false => self.shifts.get(&counter).copied().unwrap_or(0),
        }
    }

    /// Whether ports and resources are free for the pod.
    pub fn has_room(&self, rules: &Rules) -> bool {
        self.room.fits(&rules.demand)
    }

    /// What is against the node: nothing, the first rule, or all resources that are short.
    pub fn against(&self, rules: &Rules) -> Vec<Rule> {
        if let Some(rule) = rules.against(self.node, &self.cluster.mirror.names) {
            return vec![rule];
        }
        if !self.has_room(rules) {
            return self.room.against(&rules.demand);
        }
        self.pods_against(rules).into_iter().collect()
    }

    /// What other pods have against it.
    pub fn pods_against(&self, rules: &Rules) -> Option<Rule> {
        self.spread_against(rules).or_else(|| self.affinity_against(rules))
    }

    fn spread_against(&self, rules: &Rules) -> Option<Rule> {
        let counts = &self.cluster.counts;
        for hard in &rules.hard {
            let part = counts.topology.part(hard.key, self.node.id);
            if part == NOWHERE {
                return Some(Rule::SpreadLabel);
            }
            let counter = counts.get(hard.counter);
            let domains = counts.topology.domains(hard.key, counter.spec.filter);
            let there = counter.at(part) + self.shift_of(hard.counter);
            let least = match self.shift_of(hard.counter) {
                _ if domains < hard.min_domains => 0,
                0 => counter.least(domains),
                _ => counter.least_with(domains, part, there),
            };
            if there + hard.own - least > hard.max_skew {
                return Some(Rule::Spread);
            }
        }
        None
    }

    fn affinity_against(&self, rules: &Rules) -> Option<Rule> {
        if !rules.affinity.is_empty() && !self.is_near_all(rules) {
            return Some(Rule::Affinity);
        }
        let near_any = |all: &[Near]| all.iter().any(|near| self.count(near) > 0);
        if near_any(&rules.anti_affinity) {
            return Some(Rule::AntiAffinity);
        }
        near_any(&rules.existing).then_some(Rule::ExistingAntiAffinity)
    }

    fn is_near_all(&self, rules: &Rules) -> bool {
        let counts = &self.cluster.counts;
        let somewhere = |near: &Near| counts.topology.part(near.key, self.node.id) != NOWHERE;
        if !rules.affinity.iter().all(somewhere) {
            return false;
        }
        if rules.affinity.iter().all(|near| self.count(near) > 0) {
            return true;
        }
        let nobody = |near: &Near| counts.get(near.counter).total + i64::from(self.shift_of(near.counter)) == 0;
        rules.affinity_own && rules.affinity.iter().all(nobody)
    }

    fn count(&self, near: &Near) -> i32 {
        match self.cluster.counts.topology.part(near.key, self.node.id) {
            NOWHERE => 0,
            part => self.cluster.counts.get(near.counter).at(part) + self.shift_of(near.counter),
        }
    }
}

/// What is against a node for a pod, with the pods that wait for room there counted, and without them.
///
/// Pods that may yet go elsewhere must not be relied on, so the node has to do in both cases.
pub fn against(cluster: &Cluster, rules: &Rules, node: &Node) -> Vec<Rule> {
    let mut altered = Altered::new(cluster, node);
    if expect_awaited(&mut altered, rules.priority) {
        let against = altered.against(rules);
        if !against.is_empty() {
            return against;
        }
        altered = Altered::new(cluster, node);
    }
    altered.against(rules)
}

/// Adds the pods that wait for room on the node and are not less important; whether there are any.
pub fn expect_awaited(altered: &mut Altered<'_>, priority: i32) -> bool {
    let awaited: Vec<u32> = {
        let awaited = altered.cluster.mirror.awaited(altered.node, priority);
        awaited.map(|class| class.said.id).collect()
    };
    awaited.iter().for_each(|class| altered.with(*class, false));
    !awaited.is_empty()
}
