//! The best node of an index: compare the tops of its cells.
use super::{
    Index, Judge,
    cell::{self, Cell},
    layout::{At, MISSING},
    spread::SpreadRoom,
};
use crate::{
    counts::{Counts, NOWHERE},
    rules::Rules,
    score::{between, downwards, spread_norm, upwards},
};
use world_scheduler_02::sampan::scheduler::types::Rule;

/// What is the same for all nodes while one pod is placed.
#[derive(Debug, Default)]
pub struct Weighing {
    /// By required spread constraint: the lowest count there is.
    least: Vec<i32>,
    /// Nobody is yet whom the affinity wants, and the pod itself is.
    first_of_its_kind: bool,
    /// The cells whose nodes will do.
    pub(super) willing: Vec<Willing>,
    pub(super) room: SpreadRoom,
    /// How much was looked at: nodes, and cells, which cost less.
    pub work: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Willing {
    pub cell: u32,
    pulled: i64,
    /// None where a label is missing.
    pub spread: Option<i64>,
}

/// The lowest and the highest of what was seen.
#[derive(Clone, Copy)]
struct Range(i64, i64);

impl Range {
    const EMPTY: Range = Range(i64::MAX, i64::MIN);

    fn add(&mut self, value: i64) {
        self.0 = self.0.min(value);
        self.1 = self.1.max(value);
    }
}

impl Weighing {
    pub(super) fn prepare(&mut self, rules: &Rules, counts: &Counts) {
        self.least.clear();
        self.least.extend(rules.hard.iter().map(|hard| {
            let filter = counts.get(hard.counter).spec.filter;
            match counts.topology.domains(hard.key, filter) < hard.min_domains {
                true => 0,
                false => counts.least(hard.counter),
            }
        }));
        let nobody = || rules.affinity.iter().all(|near| counts.get(near.counter).total == 0);
        self.first_of_its_kind = rules.affinity_own && nobody();
        self.willing.clear();
    }
}

impl Index {
    /// The best node as the mirror is now.
    pub fn best(&mut self, judge: &Judge<'_>, weighing: &mut Weighing) -> Option<u32> {
        weighing.work += 1 + self.catch_up(judge);
        if self.is_flat() {
            return self.best_of_all();
        }
        weighing.work += self.cells.len() / 4;
        let counts = &judge.cluster.counts;
        weighing.prepare(&self.rules, counts);
        for (number, cell) in self.cells.iter().enumerate() {
            if cell.live > 0 && cell.against.is_empty() && self.pods_against(cell, weighing, counts).is_none() {
                weighing.willing.push(Willing {
                    cell: number as u32,
                    pulled: self.pulled(cell, counts),
                    spread: None,
                });
            }
        }
        if !self.rules.soft.is_empty() {
            self.weigh_spread(weighing, counts);
        }
        self.best_of(judge, weighing)
    }

    /// Whether cells differ in nothing that matters.
    fn is_flat(&self) -> bool {
        let rules = &self.rules;
        let counted = rules.are_alone() && rules.soft.is_empty() && rules.pulls.is_empty();
        counted && self.bases.iter().all(|base| base.liked == 0 && base.disliked == 0)
    }

    fn best_of_all(&mut self) -> Option<u32> {
        let mut best = None;
        for number in 0..self.cells.len() {
            if self.cells[number].live > 0 {
                best = best.max(self.top(number as u32));
            }
        }
        best.map(cell::node)
    }

    fn top(&mut self, number: u32) -> Option<u64> {
        let (top, dropped) = self.cells[number as usize].top(number, &self.slots);
        self.entries -= dropped;
        top
    }

    /// What other pods have against the nodes of an open cell.
    pub(super) fn pods_against(&self, cell: &Cell, weighing: &Weighing, counts: &Counts) -> Option<Rule> {
        let (rules, layout) = (&self.rules, &self.layout);
        let parts = &self.bases[cell.base as usize].parts;
        for ((hard, at), least) in rules.hard.iter().zip(&layout.hard).zip(&weighing.least) {
            let there = match read(*at, hard.counter, cell, parts, counts) {
                MISSING => return Some(Rule::SpreadLabel),
                there => there,
            };
            if there + hard.own - least > hard.max_skew {
                return Some(Rule::Spread);
            }
        }
        if !rules.affinity.is_empty() {
            let reads = rules.affinity.iter().zip(&layout.affinity);
            let lowest = reads
                .map(|(near, at)| read(*at, near.counter, cell, parts, counts))
                .min();
            let near_all = lowest.is_some_and(|lowest| lowest > 0);
            if lowest == Some(MISSING) || !(near_all || weighing.first_of_its_kind) {
                return Some(Rule::Affinity);
            }
        }
        let any = |(shared, own): &(Vec<(usize, u32)>, Option<usize>)| {
            let at_part = |(position, counter): &(usize, u32)| at(counts, *counter, parts[*position]) > 0;
            own.is_some_and(|own| cell.locals[own] > 0) || shared.iter().any(at_part)
        };
        if any(&layout.anti_affinity) {
            return Some(Rule::AntiAffinity);
        }
        any(&layout.existing).then_some(Rule::ExistingAntiAffinity)
    }

    fn pulled(&self, cell: &Cell, counts: &Counts) -> i64 {
        let (shared, own) = &self.layout.pulls;
        let parts = &self.bases[cell.base as usize].parts;
        let mut sum = own.map_or(0, |own| i64::from(cell.locals[own]));
        for (position, counter, weight) in shared {
            if parts[*position] != NOWHERE {
                sum += i64::from(*weight) * i64::from(at(counts, *counter, parts[*position]));
            }
        }
        sum
    }

    /// The best of the cells that will do.
    fn best_of(&mut self, judge: &Judge<'_>, weighing: &Weighing) -> Option<u32> {
        let (mut pulled, mut spread) = (Range::EMPTY, Range::EMPTY);
        let (mut liked, mut disliked) = (0, 0);
        for willing in &weighing.willing {
            let base = &self.bases[self.cells[willing.cell as usize].base as usize];
            liked = liked.max(base.liked);
            disliked = disliked.max(base.disliked);
            pulled.add(willing.pulled);
            if let Some(raw) = willing.spread {
                spread.add(raw);
            }
        }
        let [_, _, _, of_affinity, of_taints, of_pods, of_spread] = *judge.weights;
        let mut best: Option<(i64, u64)> = None;
        for willing in &weighing.willing {
            let base = &self.bases[self.cells[willing.cell as usize].base as usize];
            let apart = of_affinity * upwards(base.liked, liked)
                + of_taints * downwards(base.disliked, disliked)
                + of_pods * between(willing.pulled, pulled.0, pulled.1)
                + of_spread * willing.spread.map_or(0, |raw| spread_norm(raw, spread.0, spread.1));
            if let Some(top) = self.top(willing.cell) {
                best = best.max(Some((apart + cell::worth(top), cell::tie(top))));
            }
        }
        best.map(|(_, tie)| cell::node(tie))
    }
}

/// A count that a rule asks for; [`MISSING`] without the label.
pub(super) fn read(place: At, counter: u32, cell: &Cell, parts: &[u32], counts: &Counts) -> i32 {
    match place {
        At::Own(own) => cell.locals[own],
        At::Part(position) => match parts[position] {
            NOWHERE => MISSING,
            part => at(counts, counter, part),
        },
    }
}

fn at(counts: &Counts, counter: u32, part: u32) -> i32 {
    counts.get(counter).at(part)
}
