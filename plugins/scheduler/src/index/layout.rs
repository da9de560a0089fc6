//! Which counts of the rules are a matter of parts of the cluster, and which of single nodes.
//!
//! A key whose parts have one node each (a host name) makes no groups: what counts there is kept with the node. All other
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

/// What is kept of a node.
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

/// How cells are told apart, and how to read them.
#[derive(Debug, Default)]
pub struct Layout {
    keys: Vec<u32>,
    own: Vec<Own>,
    pub hard: Vec<At>,
    pub soft: Vec<At>,
    pub affinity: Vec<At>,
    /// Those over shared keys, with the position of the key; and the position of what is kept of the others.
    pub anti_affinity: (Vec<(usize, u32)>, Option<usize>),
    pub existing: (Vec<(usize, u32)>, Option<usize>),
    pub pulls: (Vec<(usize, u32, i32)>, Option<usize>),
}

impl Layout {
    pub fn of(rules: &Rules, counts: &Counts) -> Self {
        let mut layout = Layout::default();
        for hard in &rules.hard {
            let at = layout.at(
                counts,
                hard.key,
                |counter, key| Own::Count { counter, key },
                hard.counter,
            );
            layout.hard.push(at);
        }
        for soft in &rules.soft {
            let (counter, key) = (soft.counter, soft.key);
            let at = match soft.by_host {
                true => layout.keep(Own::Count { counter, key }),
                false => layout.at(counts, key, |counter, key| Own::Count { counter, key }, counter),
            };
            layout.soft.push(at);
        }
        for near in &rules.affinity {
            let at = layout.at(counts, near.key, |counter, key| Own::Any { counter, key }, near.counter);
            layout.affinity.push(at);
        }
        layout.anti_affinity = layout.any_of(counts, &rules.anti_affinity);
        layout.existing = layout.any_of(counts, &rules.existing);
        let (own, shared): (Vec<Pull>, Vec<Pull>) = rules
            .pulls
            .iter()
            .cloned()
            .partition(|pull| counts.topology.is_local(pull.near.key));
        let shared = shared
            .iter()
            .map(|pull| (layout.position(pull.near.key), pull.near.counter, pull.weight));
        layout.pulls.0 = shared.collect();
        if !own.is_empty() {
            layout.own.push(Own::Sum(own));
            layout.pulls.1 = Some(layout.own.len() - 1);
        }
        layout
    }

    fn any_of(&mut self, counts: &Counts, all: &[Near]) -> (Vec<(usize, u32)>, Option<usize>) {
        let (own, shared): (Vec<Near>, Vec<Near>) =
            all.iter().cloned().partition(|near| counts.topology.is_local(near.key));
        let shared = shared
            .iter()
            .map(|near| (self.position(near.key), near.counter))
            .collect();
        let own = (!own.is_empty()).then(|| {
            self.own.push(Own::AnyOf(own));
            self.own.len() - 1
        });
        (shared, own)
    }

    fn at(&mut self, counts: &Counts, key: u32, own: impl Fn(u32, u32) -> Own, counter: u32) -> At {
        match counts.topology.is_local(key) {
            true => self.keep(own(counter, key)),
            false => At::Part(self.position(key)),
        }
    }

    fn keep(&mut self, own: Own) -> At {
        self.own.push(own);
        At::Own(self.own.len() - 1)
    }

    fn position(&mut self, key: u32) -> usize {
        let found = self.keys.iter().position(|known| *known == key);
        found.unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len() - 1
        })
    }

    /// Whether nodes differ in nothing but their base.
    pub fn is_plain(&self) -> bool {
        self.own.is_empty()
    }

    /// Where a node is, by each shared key.
    pub fn parts(&self, counts: &Counts, node: u32) -> Vec<u32> {
        self.keys.iter().map(|key| counts.topology.part(*key, node)).collect()
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
}

/// What a pod pulls by what counts where a node is; less than 0 if it pushes.
fn pulled(counts: &Counts, pull: &Pull, node: u32) -> i32 {
    match counts.topology.part(pull.near.key, node) {
        NOWHERE => 0,
        part => pull.weight.saturating_mul(counts.get(pull.near.counter).at(part)),
    }
}
