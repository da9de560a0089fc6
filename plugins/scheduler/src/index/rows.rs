//! Nodes as rules compare them: rows of the cells of ground and marks.
use super::{
    Index, NONE, Weighing, cell,
    layout::{At, Layout, MISSING},
};
use crate::{
    counts::{Counts, NOWHERE},
    rules::Rules,
};
use sampan_sdk::scheduler::types::Rule;
use std::rc::Rc;

/// Rules, and where they find their counts.
pub struct Question {
    pub rules: Rc<Rules>,
    pub layout: Rc<Layout>,
}

/// The two indexes of some rules; without marks where nothing is asked of nodes alone.
pub struct Pair<'a> {
    pub ground: &'a mut Index,
    pub marks: Option<&'a mut Index>,
}

/// Nodes that are alike to the rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub cell: u32,
    /// Of the marks; otherwise of the ground.
    pub is_marked: bool,
    /// Of the ground, for both.
    pub base: u32,
    pub live: u32,
    /// Where what counts on each of them alone begins.
    locals: usize,
    pub pulled: i64,
    /// None where a label is missing.
    pub spread: Option<i64>,
}

impl Pair<'_> {
    /// Finds the bases of the ground for those of the marks. Each marked node is in the ground, too, in the one cell of a
    /// base that is the same.
    fn match_bases(&mut self) {
        let Some(marks) = &mut self.marks else { return };
        let (built, matched) = &mut marks.in_ground;
        if *built != self.ground.built {
            (*built, *matched) = (self.ground.built, Vec::new());
        }
        matched.resize(marks.bases.len(), NONE);
        let unmatched = matched
            .iter_mut()
            .zip(&marks.bases)
            .filter(|(matched, _)| **matched == NONE);
        for (matched, base) in unmatched {
            *matched = self.ground.base_ids.get(base).copied().unwrap_or(NONE);
        }
    }

    /// Makes the rows of a question, of nodes that fit.
    pub(super) fn make_rows(&mut self, question: &Question, weighing: &mut Weighing) {
        self.match_bases();
        weighing.rows.clear();
        weighing.locals.clear();
        weighing.taken.clear();
        weighing.taken.resize(self.ground.cells.len(), 0);
        if let Some(marks) = self.marks.as_deref() {
            for (number, cell) in open(marks) {
                let base = marks.in_ground.1[cell.base as usize];
                let in_ground = self.ground.plain.get(base as usize).map(|cell| *cell as usize);
                if let Some(taken) = in_ground.and_then(|cell| weighing.taken.get_mut(cell)) {
                    *taken += cell.live;
                    weighing.add_row(number, base, cell.live, true);
                    weighing.locals.extend_from_slice(&cell.locals);
                }
            }
        }
        for (number, cell) in open(self.ground) {
            let live = cell.live - weighing.taken[number as usize];
            if live > 0 {
                weighing.add_row(number, cell.base, live, false);
                let present = self.ground.bases[cell.base as usize].present;
                question.layout.add_none(present, &mut weighing.locals);
            }
        }
    }

    /// The best rank of a row.
    pub(super) fn top_of(&mut self, row: &Row) -> Option<u64> {
        let marks = self.marks.as_deref_mut();
        let Some(marks) = marks else {
            return self.ground.top(row.cell);
        };
        if row.is_marked {
            return marks.top(row.cell);
        }
        let mut aside = Vec::new();
        let best = loop {
            match self.ground.top(row.cell) {
                Some(rank) if marks.slots.get(cell::node(rank)).is_some() => {
                    aside.extend(self.ground.cells[row.cell as usize].pop());
                }
                top => break top,
            }
        };
        let cell = &mut self.ground.cells[row.cell as usize];
        aside.into_iter().for_each(|rank| cell.push(rank));
        best
    }
}

/// The cells of an index with nodes that fit.
fn open(index: &Index) -> impl Iterator<Item = (u32, &cell::Cell)> {
    let open = (0..).zip(&index.cells);
    open.filter(|(_, cell)| cell.live > 0 && cell.against.is_empty())
}

impl Index {
    pub(super) fn top(&mut self, number: u32) -> Option<u64> {
        let (top, dropped) = self.cells[number as usize].top(number, &self.slots);
        self.entries -= dropped;
        top
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
    fn add_row(&mut self, cell: u32, base: u32, live: u32, is_marked: bool) {
        self.rows.push(Row {
            cell,
            is_marked,
            base,
            live,
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
