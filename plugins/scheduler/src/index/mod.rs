//! The nodes of one set of rules, sorted so that the best is found without asking all of them.
//!
//! Nodes that are alike to the rules in everything but how full they are share a *cell*: what is preferred of them, which
//! part of the cluster they are in by each shared topology key, and what counts on them alone. Within a cell a heap has
//! them by what room is worth. To place a pod is to compare the tops of the cells, of which there are as many as there are
//! kinds of nodes, not nodes. A node that changed moves to another cell or place; counts of a shared part change what is
//! said of cells and move nobody.
mod cell;
mod choose;
mod layout;
mod refuse;
mod rows;
mod settle;
mod spread;

use crate::{cluster::Cluster, hashing::Map, mirror::Touched, preempt::Ranking, rules::Rules, score::Scores};
use cell::{Cell, rank};
use std::rc::Rc;
use world_scheduler_02::sampan::scheduler::types::Rule;

pub use choose::Weighing;
pub use layout::Layout;
pub use refuse::refusal;
pub use rows::Question;

/// In no cell.
const NONE: u32 = u32::MAX;

/// What rules see of a node whoever is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Base {
    against: Option<Rule>,
    liked: i64,
    disliked: i64,
    images: i64,
    /// By each shared key of the layout.
    parts: Vec<u32>,
    /// Which of the local keys of the layout it has.
    present: u64,
}

/// Where a node is in the index.
#[derive(Clone, Copy, Debug)]
struct Slot {
    base: u32,
    cell: u32,
    /// The upper half of its rank.
    rank: u32,
}

/// The nodes of one set of rules.
pub struct Index {
    rules: Rc<Rules>,
    layout: Layout,
    bases: Vec<Base>,
    base_ids: Map<Base, u32>,
    last_base: u32,
    /// By base: the positions of its parts among all parts of their keys.
    dense: Vec<Vec<u32>>,
    dense_ids: Vec<Map<u32, u32>>,
    /// By base: its one cell, where nothing else tells nodes apart.
    plain: Vec<u32>,
    cells: Vec<Cell>,
    cell_ids: Map<Vec<i32>, u32>,
    closed: Map<Vec<Rule>, u32>,
    slots: Vec<Slot>,
    /// A key that is being looked up.
    key: Vec<i32>,
    /// Changes of the mirror up to here are in it.
    seen: usize,
    image_version: u64,
    /// Entries in all heaps.
    entries: usize,
    pub ranking: Option<Ranking>,
    /// When it was asked last.
    pub used: u64,
}

/// What rooms are worth.
pub struct Judge<'a> {
    pub cluster: &'a Cluster,
    pub scores: &'a Scores,
    pub weights: &'a [i64; 7],
}

impl Index {
    /// Asks every node.
    pub fn build(judge: &Judge<'_>, rules: Rc<Rules>, layout: Layout) -> Self {
        let mirror = &judge.cluster.mirror;
        let mut index = Index {
            layout,
            rules,
            bases: Vec::new(),
            base_ids: Map::default(),
            last_base: 0,
            dense: Vec::new(),
            dense_ids: Vec::new(),
            plain: Vec::new(),
            cells: Vec::new(),
            cell_ids: Map::default(),
            closed: Map::default(),
            slots: Vec::new(),
            key: Vec::new(),
            seen: mirror.journal.end(),
            image_version: mirror.image_version,
            entries: 0,
            ranking: None,
            used: 0,
        };
        let none = Slot {
            base: NONE,
            cell: NONE,
            rank: 0,
        };
        index.slots.resize(mirror.node_numbers(), none);
        for node in mirror.nodes() {
            index.settle(judge, node, true);
        }
        index
    }

    /// Takes in what has changed since; how many nodes were looked at.
    pub fn catch_up(&mut self, judge: &Judge<'_>) -> usize {
        let mirror = &judge.cluster.mirror;
        if self.seen == mirror.journal.end() {
            return 0;
        }
        let images_moved = !self.rules.images.is_empty() && self.image_version != mirror.image_version;
        let touched = mirror
            .journal
            .since(self.seen)
            .filter(|touched| touched.len() <= mirror.len());
        let sparse = self.cells.len() > 64 + 2 * self.cells.iter().filter(|cell| cell.live > 0).count();
        let Some(touched) = touched.filter(|_| !images_moved && !sparse) else {
            let (used, ranking) = (self.used, self.ranking.take());
            let layout = std::mem::take(&mut self.layout);
            *self = Index::build(judge, self.rules.clone(), layout);
            (self.used, self.ranking) = (used, ranking);
            return mirror.len();
        };
        let looked_at = touched.len();
        for Touched { node: id, shape } in touched {
            match mirror.node(id) {
                Some(node) => self.settle(judge, node, shape),
                None => self.leave(id),
            }
        }
        self.seen = mirror.journal.end();
        if self.entries > 4 * mirror.len() + 64 {
            self.sweep();
        }
        looked_at
    }

    /// A node is in no cell any more.
    fn leave(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize)
            && slot.cell != NONE
        {
            self.cells[slot.cell as usize].live -= 1;
            slot.cell = NONE;
            slot.base = NONE;
        }
    }

    /// Drops entries of heaps that mean nothing any more.
    fn sweep(&mut self) {
        self.entries = 0;
        for cell in &mut self.cells {
            cell.clear();
        }
        for (id, slot) in self.slots.iter().enumerate() {
            if slot.cell != NONE {
                let cell = &mut self.cells[slot.cell as usize];
                if cell.against.is_empty() {
                    cell.push(rank(slot.rank, id as u32));
                    self.entries += 1;
                }
            }
        }
    }
}
