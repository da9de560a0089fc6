//! What preferred spread constraints say of the cells of an index.
use super::{
    Index, Weighing,
    choose::read,
    layout::{At, MISSING},
};
use crate::{counts::Counts, score::ln};

/// What is worked with while cells are weighed; kept, so that nothing is allocated for each pod.
#[derive(Debug, Default)]
pub struct SpreadRoom {
    /// Of each cell that will do: its counts, one for each constraint.
    counts: Vec<i32>,
    /// By constraint: when a part of the cluster was seen last, by its position among the parts of the index.
    seen: Vec<Vec<u64>>,
    now: u64,
    /// By constraint: how many parts there are, and what one alike there weighs.
    sizes: Vec<usize>,
    weights: Vec<f64>,
}

impl Index {
    /// Gives each cell that will do its score before normalizing.
    pub(super) fn weigh_spread(&self, weighing: &mut Weighing, counts: &Counts) {
        let (rules, layout) = (&self.rules, &self.layout);
        let constraints = rules.soft.len();
        let room = &mut weighing.room;
        room.start(constraints);
        let mut nodes = 0;
        for willing in &mut weighing.willing {
            let cell = &self.cells[willing.cell as usize];
            let parts = &self.bases[cell.base as usize].parts;
            let first = room.counts.len();
            let reads = rules.soft.iter().zip(&layout.soft);
            room.counts
                .extend(reads.map(|(soft, at)| read(*at, soft.counter, cell, parts, counts)));
            let counted = &room.counts[first..];
            if rules.all_labels && counted.contains(&MISSING) {
                room.counts.truncate(first);
                continue;
            }
            willing.spread = Some(0);
            nodes += cell.live as usize;
            for (place, at) in layout.soft.iter().enumerate() {
                match at {
                    At::Part(position) => room.see(place, self.dense[cell.base as usize][*position]),
                    // Each such node is a part of its own; those without the label are one together.
                    At::Own(_) if room.counts[first + place] == MISSING => room.see(place, 0),
                    At::Own(_) => room.sizes[place] += cell.live as usize,
                }
            }
        }
        let size = |place: usize| {
            if rules.soft[place].by_host {
                nodes
            } else {
                room.sizes[place]
            }
        };
        room.weights.clear();
        room.weights.extend((0..constraints).map(|place| ln(size(place) + 2)));
        let scored = weighing.willing.iter_mut().filter(|willing| willing.spread.is_some());
        for (willing, counted) in scored.zip(room.counts.chunks(constraints)) {
            let mut sum = 0.0;
            for ((count, soft), weight) in counted.iter().zip(&rules.soft).zip(&room.weights) {
                if *count != MISSING {
                    sum += f64::from(*count) * weight + f64::from(soft.max_skew - 1);
                }
            }
            willing.spread = Some(sum.round() as i64);
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
