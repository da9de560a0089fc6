//! The best node of an index: compare the tops of its rows.
use super::{Index, Judge, Pair, Question, cell, rows::Row, spread::SpreadRoom};
use crate::{
    counts::Counts,
    rules::Rules,
    score::{between, downwards, spread_norm, upwards},
};

/// What is worked with while one pod is placed; kept, so that little is allocated for each.
#[derive(Debug, Default)]
pub struct Weighing {
    /// By required spread constraint: the lowest count there is.
    pub(super) least: Vec<i32>,
    /// Nobody is yet whom the affinity wants, and the pod itself is.
    pub(super) first_of_its_kind: bool,
    pub(super) rows: Vec<Row>,
    /// What counts on nodes alone, row by row.
    pub(super) locals: Vec<i32>,
    /// How many nodes of each cell of the ground are marked.
    pub(super) taken: Vec<u32>,
    pub(super) room: SpreadRoom,
    /// How much was looked at: nodes, and rows, which cost less.
    pub work: usize,
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
    }
}

impl Pair<'_> {
    pub(super) fn catch_up(&mut self, judge: &Judge<'_>) -> usize {
        let marks = self.marks.as_deref_mut().map_or(0, |marks| marks.catch_up(judge));
        1 + self.ground.catch_up(judge) + marks
    }

    /// The best node as the mirror is now.
    pub fn best(&mut self, judge: &Judge<'_>, question: &Question, weighing: &mut Weighing) -> Option<u32> {
        weighing.work += self.catch_up(judge);
        if self.is_flat(&question.rules) {
            return self.ground.best_of_all();
        }
        let counts = &judge.cluster.counts;
        weighing.prepare(&question.rules, counts);
        self.make_rows(question, weighing);
        weighing.work += weighing.rows.len() / 4;
        let mut rows = std::mem::take(&mut weighing.rows);
        let ground = &*self.ground;
        rows.retain(|row| ground.pods_against(question, row, weighing, counts).is_none());
        if !question.rules.pulls.is_empty() {
            for row in &mut rows {
                row.pulled = ground.pulled(question, row, &weighing.locals, counts);
            }
        }
        if !question.rules.soft.is_empty() {
            ground.weigh_spread(question, &mut rows, weighing, counts);
        }
        let best = self.best_of(judge, &rows);
        weighing.rows = rows;
        best
    }

    /// Whether rows would differ in nothing that matters.
    fn is_flat(&self, rules: &Rules) -> bool {
        let counted = rules.are_alone() && rules.soft.is_empty() && rules.pulls.is_empty();
        counted
            && self
                .ground
                .bases
                .iter()
                .all(|base| base.liked == 0 && base.disliked == 0)
    }

    /// The best of the rows that will do.
    fn best_of(&mut self, judge: &Judge<'_>, rows: &[Row]) -> Option<u32> {
        let (mut pulled, mut spread) = (Range::EMPTY, Range::EMPTY);
        let (mut liked, mut disliked) = (0, 0);
        for row in rows {
            let base = &self.ground.bases[row.base as usize];
            liked = liked.max(base.liked);
            disliked = disliked.max(base.disliked);
            pulled.add(row.pulled);
            if let Some(raw) = row.spread {
                spread.add(raw);
            }
        }
        let [_, _, _, of_affinity, of_taints, of_pods, of_spread] = *judge.weights;
        let mut best: Option<(i64, u64)> = None;
        for row in rows {
            let base = &self.ground.bases[row.base as usize];
            let apart = of_affinity * upwards(base.liked, liked)
                + of_taints * downwards(base.disliked, disliked)
                + of_pods * between(row.pulled, pulled.0, pulled.1)
                + of_spread * row.spread.map_or(0, |raw| spread_norm(raw, spread.0, spread.1));
            if let Some(top) = self.top_of(row) {
                best = best.max(Some((apart + cell::worth(top), cell::tie(top))));
            }
        }
        best.map(|(_, tie)| cell::node(tie))
    }
}

impl Index {
    fn best_of_all(&mut self) -> Option<u32> {
        let mut best = None;
        for number in 0..self.cells.len() {
            if self.cells[number].live > 0 {
                best = best.max(self.top(number as u32));
            }
        }
        best.map(cell::node)
    }
}
