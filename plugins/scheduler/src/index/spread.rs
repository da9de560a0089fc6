//! What preferred spread constraints say of rows.
use super::{
    Index, Question, Weighing,
    layout::{At, MISSING},
    rows::Row,
};
use crate::{counts::Counts, score::ln};

/// What is worked with while rows are weighed; kept, so that nothing is allocated for each pod.
#[derive(Debug, Default)]
pub struct SpreadRoom {
    /// Of each row that will do: its counts, one for each constraint.
    counts: Vec<i32>,
    /// By constraint: when a part of the cluster was seen last, by its position among the parts of the index.
    seen: Vec<Vec<u64>>,
    now: u64,
    /// By constraint: how many parts there are, and what one alike there weighs.
    sizes: Vec<usize>,
    weights: Vec<f64>,
}

impl Index {
    /// Gives each row that will do its score before normalizing.
    pub(super) fn weigh_spread(&self, question: &Question, rows: &mut [Row], weighing: &mut Weighing, counts: &Counts) {
        let rules = &question.rules;
        let constraints = rules.soft.len();
        let Weighing { room, locals, .. } = weighing;
        room.start(constraints);
        let mut nodes = 0;
        for row in rows.iter_mut() {
            let first = room.counts.len();
            self.soft_counts(question, row, locals, counts, &mut room.counts);
            if rules.all_labels && room.counts[first..].contains(&MISSING) {
                room.counts.truncate(first);
                continue;
            }
            row.spread = Some(0);
            nodes += row.live as usize;
            for (place, at) in question.layout.soft.iter().enumerate() {
                match at {
                    At::Part(position) => room.see(place, self.dense[row.base as usize][*position]),
                    // Each such node is a part of its own; those without the label are one together.
                    At::Own(_) if room.counts[first + place] == MISSING => room.see(place, 0),
                    At::Own(_) => room.sizes[place] += row.live as usize,
                }
            }
        }
        room.weights.clear();
        for (soft, size) in rules.soft.iter().zip(&room.sizes) {
            room.weights.push(ln(if soft.by_host { nodes } else { *size } + 2));
        }
        let scored = rows.iter_mut().filter(|row| row.spread.is_some());
        for (row, counted) in scored.zip(room.counts.chunks(constraints)) {
            let mut sum = 0.0;
            for ((count, soft), weight) in counted.iter().zip(&rules.soft).zip(&room.weights) {
                if *count != MISSING {
                    sum += f64::from(*count) * weight + f64::from(soft.max_skew - 1);
                }
            }
            row.spread = Some(sum.round() as i64);
        }
    }
}

impl SpreadRoom {
    fn start(&mut self, constraints: usize) {
        self.counts.clear();
        self.now += 1;
        self.sizes.clear();
        self.sizes.resize(constraints, 0);
        if self.seen.len() < constraints {
            self.seen.resize(constraints, Vec::new());
        }
    }

    /// A part of the cluster; it counts the first time.
    fn see(&mut self, place: usize, part: u32) {
        let seen = &mut self.seen[place];
        if seen.len() <= part as usize {
            seen.resize(part as usize + 1, 0);
        }
        if std::mem::replace(&mut seen[part as usize], self.now) != self.now {
            self.sizes[place] += 1;
        }
    }
}
