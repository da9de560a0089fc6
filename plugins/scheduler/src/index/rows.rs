//! Nodes as rules compare them: rows of cells, or of single nodes on which something counts.
//!
//! What counts on single nodes is seldom: the pods of one Deployment are on few of all nodes. So most rules share an index
//! that knows nothing of it, and the nodes on which something counts are rows of their own, taken out of their cells. Only
//! where they are many do rules get an index of their own, whose cells know.
use super::{
    Index, NONE, Weighing,
    cell::{self, rank},
    layout::{At, Layout, MISSING},
};
use crate::{
    counts::{Counts, NOWHERE},
    rules::Rules,
};
use std::rc::Rc;
use world_scheduler_02::sampan::scheduler::types::Rule;

/// Nodes that are rows of their own, at the most.
pub const MOST_MARKED: usize = 48;

/// Rules, and where they find their counts.
pub struct Question {
    pub rules: Rc<Rules>,
    pub layout: Layout,
}

/// Nodes that are alike to the rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub cell: u32,
    pub base: u32,
    pub live: u32,
    /// The rank of the node, where it is one alone.
    single: Option<u64>,
    /// Where what counts on each of them alone begins.
    locals: usize,
    pub pulled: i64,
    /// None where a label is missing.
    pub spread: Option<i64>,
}

impl Index {
    /// Makes the rows of a question, of nodes that fit.
    pub(super) fn make_rows(&self, question: &Question, weighing: &mut Weighing, counts: &Counts) {
        weighing.rows.clear();
        weighing.locals.clear();
        let knows = self.layout.is_ground() == question.layout.is_ground();
        weighing.taken.clear();
        weighing.taken.resize(self.cells.len(), 0);
        if knows {
            weighing.marked.clear();
        }
        for place in 0..weighing.marked.len() {
            let node = weighing.marked[place];
            let slot = self.slots.get(node as usize).filter(|slot| slot.cell != NONE);
            let Some(slot) = slot.filter(|slot| self.cells[slot.cell as usize].against.is_empty()) else {
                continue;
            };
            weighing.taken[slot.cell as usize] += 1;
            weighing.add_row(slot.cell, slot.base, 1, Some(rank(slot.rank, node)));
            question.layout.add_locals(counts, node, &mut weighing.locals);
        }
        for (number, cell) in self.cells.iter().enumerate() {
            let live = cell.live - weighing.taken[number];
            if live == 0 || !cell.against.is_empty() {
                continue;
            }
            weighing.add_row(number as u32, cell.base, live, None);
            match knows {
                true => weighing.locals.extend_from_slice(&cell.locals),
                false => question
                    .layout
                    .add_none(self.bases[cell.base as usize].present, &mut weighing.locals),
            }
        }
    }

    /// The best rank of a row.
    pub(super) fn top_of(&mut self, row: &Row, marked: &[u32]) -> Option<u64> {
        if row.single.is_some() {
            return row.single;
        }
        let cell = &mut self.cells[row.cell as usize];
        let mut aside = Vec::new();
        let best = loop {
            let (top, dropped) = cell.top(row.cell, &self.slots);
            self.entries -= dropped;
            match top {
                Some(rank) if marked.binary_search(&cell::node(rank)).is_ok() => aside.extend(cell.pop()),
                top => break top,
            }
        };
        aside.into_iter().for_each(|rank| cell.push(rank));
        best
    }

    /// What other pods have against the nodes of a row.
    pub(super) fn pods_against(
        &self,
        question: &Question,
        row: &Row,
        weighing: &Weighing,
        counts: &Counts,
    ) -> Option<Rule> {
        let (rules, layout) = (&question.rules, &question.layout);
        let parts = &self.bases[row.base as usize].parts;
        let locals = &weighing.locals[row.locals..];
        for ((hard, at), least) in rules.hard.iter().zip(&layout.hard).zip(&weighing.least) {
            let there = match read(*at, hard.counter, locals, parts, counts) {
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
                .map(|(near, at)| read(*at, near.counter, locals, parts, counts))
                .min();
            let near_all = lowest.is_some_and(|lowest| lowest > 0);
            if lowest == Some(MISSING) || !(near_all || weighing.first_of_its_kind) {
                return Some(Rule::Affinity);
            }
        }
        let any = |(shared, own): &(Vec<(usize, u32)>, Option<usize>)| {
            let at_part = |(position, counter): &(usize, u32)| counts.get(*counter).at(parts[*position]) > 0;
            own.is_some_and(|own| locals[own] > 0) || shared.iter().any(at_part)
        };
        if any(&layout.anti_affinity) {
            return Some(Rule::AntiAffinity);
        }
        any(&layout.existing).then_some(Rule::ExistingAntiAffinity)
    }

    /// What pods that are near weigh, for and against.
    pub(super) fn pulled(&self, question: &Question, row: &Row, locals: &[i32], counts: &Counts) -> i64 {
        let (shared, own) = &question.layout.pulls;
        let parts = &self.bases[row.base as usize].parts;
        let mut sum = own.map_or(0, |own| i64::from(locals[row.locals + own]));
        for (position, counter, weight) in shared {
            if parts[*position] != NOWHERE {
                sum += i64::from(*weight) * i64::from(counts.get(*counter).at(parts[*position]));
            }
        }
        sum
    }

    /// Adds the counts that preferred spread constraints ask for.
    pub(super) fn soft_counts(
        &self,
        question: &Question,
        row: &Row,
        locals: &[i32],
        counts: &Counts,
        into: &mut Vec<i32>,
    ) {
        let parts = &self.bases[row.base as usize].parts;
        let reads = question.rules.soft.iter().zip(&question.layout.soft);
        into.extend(reads.map(|(soft, at)| read(*at, soft.counter, &locals[row.locals..], parts, counts)));
    }
}

impl Weighing {
    fn add_row(&mut self, cell: u32, base: u32, live: u32, single: Option<u64>) {
        self.rows.push(Row {
            cell,
            base,
            live,
            single,
            locals: self.locals.len(),
            pulled: 0,
            spread: None,
        });
    }
}

/// A count that a rule asks for; [`MISSING`] without the label.
fn read(place: At, counter: u32, locals: &[i32], parts: &[u32], counts: &Counts) -> i32 {
    match place {
        At::Own(own) => locals[own],
        At::Part(position) => match parts[position] {
            NOWHERE => MISSING,
            part => counts.get(counter).at(part),
        },
    }
}
