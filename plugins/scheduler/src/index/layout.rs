//! Which counts of the rules are a matter of parts of the cluster, and which of single nodes.
//!
//! A key whose parts have one node each (a host name) makes no groups: what counts there is the node's own matter. All other
//! keys make groups, and what counts there is looked up when a pod is placed.
use crate::{
    counts::{Counts, NODE_KEY, NOWHERE},
    rules::{Near, Pull, Rules},
};

/// Where the count that a rule asks for is found.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// With the part of the cluster, by the position of its key.
    Part(usize),
    /// With the node, at that position; [`MISSING`] without the label.
    Own(usize),
}

/// What a node has instead of a count if it lacks the label.
pub const MISSING: i32 = -1;
/// Keys at the most: which of them a node has is told by bits.
pub const MOST_KEYS: usize = 64;

/// What is asked of a node alone.
#[derive(Clone, Debug)]
enum Own {
    Count {
        counter: u32,
        key: u32,
    },
    /// 1 if there is any.
    Any {
        counter: u32,
        key: u32,
    },
    /// 1 if any of them is there.
    AnyOf(Vec<Near>),
    Sum(Vec<Pull>),
}

/// Rules over shared keys, with the position of the key; and the position of what is asked of the node alone.
type Split<T> = (Vec<T>, Option<usize>);

/// How nodes are told apart for some rules, and where the rules find their counts.
#[derive(Debug, Default)]
pub struct Layout {
    /// Shared keys, sorted.
    keys: Vec<u32>,
    /// Local keys, sorted.
    local_keys: Vec<u32>,
    own: Vec<Own>,
    pub hard: Vec<At>,
    pub soft: Vec<At>,
    pub affinity: Vec<At>,
    pub anti_affinity: Split<(usize, u32)>,
    pub existing: Split<(usize, u32)>,
    pub pulls: Split<(usize, u32, i32)>,
}

impl Layout {
    pub fn of(rules: &Rules, counts: &Counts) -> Self {
        let near = rules.affinity.iter().chain(&rules.anti_affinity).chain(&rules.existing);
        let near = near.chain(rules.pulls.iter().map(|pull| &pull.near));
        let hard = rules.hard.iter().map(|hard| hard.key);
        let soft = rules.soft.iter().filter(|soft| !soft.by_host).map(|soft| soft.key);
        let hosts = rules.soft.iter().filter(|soft| soft.by_host).map(|soft| soft.key);
        let all = hard.chain(soft).chain(near.map(|near| near.key));
        let (local, shared): (Vec<u32>, Vec<u32>) = all.partition(|key| counts.topology.is_local(*key));
        let mut layout = Layout {
            keys: sorted(shared.into_iter()),
            local_keys: sorted(local.into_iter().chain(hosts)),
            ..Layout::default()
        };
        layout.place_spread(rules);
        for near in &rules.affinity {
            let (counter, key) = (near.counter, near.key);
            let at = layout.at(key, Own::Any { counter, key });
            layout.affinity.push(at);
        }
        layout.anti_affinity = layout.any_of(&rules.anti_affinity);
        layout.existing = layout.any_of(&rules.existing);
        let (shared, own): (Vec<Pull>, Vec<Pull>) = rules
            .pulls
            .iter()
            .cloned()
            .partition(|pull| layout.position(pull.near.key).is_some());
        let placed = |pull: &Pull| Some((layout.position(pull.near.key)?, pull.near.counter, pull.weight));
        let shared = shared.iter().filter_map(placed).collect();
        layout.pulls = (shared, (!own.is_empty()).then(|| layout.keep(Own::Sum(own))));
        layout
    }

    fn place_spread(&mut self, rules: &Rules) {
        for hard in &rules.hard {
            let (counter, key) = (hard.counter, hard.key);
            let at = self.at(key, Own::Count { counter, key });
            self.hard.push(at);
        }
        for soft in &rules.soft {
            let (counter, key) = (soft.counter, soft.key);
            let own = Own::Count { counter, key };
            let at = match soft.by_host {
                true => At::Own(self.keep(own)),
                false => self.at(key, own),
            };
            self.soft.push(at);
        }
    }

    fn any_of(&mut self, all: &[Near]) -> Split<(usize, u32)> {
        let (shared, own): (Vec<Near>, Vec<Near>) =
            all.iter().cloned().partition(|near| self.position(near.key).is_some());
        let placed = |near: &Near| Some((self.position(near.key)?, near.counter));
        let shared = shared.iter().filter_map(placed).collect();
        (shared, (!own.is_empty()).then(|| self.keep(Own::AnyOf(own))))
    }

    fn at(&mut self, key: u32, own: Own) -> At {
        match self.position(key) {
            Some(position) => At::Part(position),
            None => At::Own(self.keep(own)),
        }
    }

    fn keep(&mut self, own: Own) -> usize {
        self.own.push(own);
        self.own.len() - 1
    }

    /// The position of a shared key.
    fn position(&self, key: u32) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// The same without what is asked of nodes alone: many rules have this in common.
    pub fn ground(&self) -> Self {
        Layout {
            keys: self.keys.clone(),
            local_keys: self.local_keys.clone(),
            ..Layout::default()
        }
    }

    /// What makes two such layouts the same.
    pub fn both_keys(&self) -> (Vec<u32>, Vec<u32>) {
        (self.keys.clone(), self.local_keys.clone())
    }

    /// Whether nothing is asked of nodes alone.
    pub fn is_ground(&self) -> bool {
        self.own.is_empty()
    }

    /// Where a node is, by each shared key.
    pub fn parts(&self, counts: &Counts, node: u32) -> Vec<u32> {
        self.keys.iter().map(|key| counts.topology.part(*key, node)).collect()
    }

    /// Which of the local keys a node has, a bit for each of the first of them.
    pub fn present(&self, counts: &Counts, node: u32) -> u64 {
        let keys = self.local_keys.iter().take(MOST_KEYS).enumerate();
        let present = keys.filter(|(_, key)| counts.topology.part(**key, node) != NOWHERE);
        present.fold(0, |bits, (place, _)| bits | 1 << place)
    }

    /// What counts on a node alone.
    pub fn add_locals(&self, counts: &Counts, node: u32, locals: &mut Vec<i32>) {
        let count = |counter: u32, key: u32| match counts.topology.part(key, node) {
            NOWHERE => MISSING,
            part => {
                let counter = counts.get(counter);
                counter.at(if counter.spec.key == NODE_KEY { node } else { part })
            }
        };
        locals.extend(self.own.iter().map(|own| match own {
            Own::Count { counter, key } => count(*counter, *key),
            Own::Any { counter, key } => count(*counter, *key).min(1),
            Own::AnyOf(all) => i32::from(all.iter().any(|near| count(near.counter, near.key) > 0)),
            Own::Sum(all) => all.iter().map(|pull| pulled(counts, pull, node)).sum(),
        }));
    }

    /// What counts on a node where nobody counts, by which of the local keys it has.
    pub fn add_none(&self, present: u64, locals: &mut Vec<i32>) {
        let has = |key: u32| {
            self.local_keys
                .binary_search(&key)
                .is_ok_and(|place| present >> place & 1 == 1)
        };
        locals.extend(self.own.iter().map(|own| match own {
            Own::Count { key, .. } | Own::Any { key, .. } if !has(*key) => MISSING,
            _ => 0,
        }));
    }

    /// The counters that are asked of nodes alone.
    fn counters(&self) -> impl Iterator<Item = u32> {
        self.own.iter().flat_map(|own| {
            let (one, near, pulls): (Option<u32>, &[Near], &[Pull]) = match own {
                Own::Count { counter, .. } | Own::Any { counter, .. } => (Some(*counter), &[], &[]),
                Own::AnyOf(all) => (None, all, &[]),
                Own::Sum(all) => (None, &[], all),
            };
            let near = near.iter().chain(pulls.iter().map(|pull| &pull.near));
            one.into_iter().chain(near.map(|near| near.counter))
        })
    }

    /// The nodes on which something counts, sorted.
    pub fn marked(&self, counts: &Counts) -> Vec<u32> {
        let mut marked = Vec::new();
        for counter in self.counters() {
            let counter = counts.get(counter);
            let node = |part| counts.topology.node_in(counter.spec.key, part);
            marked.extend(counter.parts().map(node));
        }
        marked.sort_unstable();
        marked.dedup();
        marked
    }

    /// Whether something counts on a node.
    pub fn is_marked(&self, counts: &Counts, node: u32) -> bool {
        self.counters().any(|counter| {
            let counter = counts.get(counter);
            counter.at(counts.topology.part(counter.spec.key, node)) != 0
        })
    }
}

/// What a pod pulls by what counts where a node is; less than 0 if it pushes.
fn pulled(counts: &Counts, pull: &Pull, node: u32) -> i32 {
    match counts.topology.part(pull.near.key, node) {
        NOWHERE => 0,
        part => pull.weight.saturating_mul(counts.get(pull.near.counter).at(part)),
    }
}

fn sorted(keys: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut keys: Vec<u32> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
