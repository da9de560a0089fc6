//! The nodes of one set of rules, sorted so that the best is found without asking all of them.
//!
//! Nodes that are alike to the rules in everything but how full they are share a *cell*: what is preferred of them, which
//! part of the cluster they are in by each shared topology key, and what counts on them alone. Within a cell a heap has
//! them by what room is worth. To place a pod is to compare the tops of the cells, of which there are as many as there are
//! kinds of nodes, not nodes. A node that changed moves to another cell or place; counts of a shared part change what is
//! said of cells and move nobody.
//!
//! What counts on single nodes is seldom: the pods of one Deployment are on few of all nodes. So there are two indexes. The
//! *ground* has all nodes, knows nothing of such counts, and is shared by all rules that are alike but for them. The *marks*
//! have those nodes on which something counts, for one set of rules; there they stand instead of in the ground.
mod cell;
mod choose;
mod layout;
mod refuse;
mod rows;
mod settle;
mod slots;
mod spread;

use crate::{Cluster, hashing::Map, mirror::Touched, preempt::Ranking, rules::Rules, score::Scores};
use cell::{Cell, rank};
use sampan_sdk::scheduler::types::Rule;
use slots::Slots;
use std::rc::Rc;

pub use choose::Weighing;
pub use layout::{Layout, MOST_KEYS};
pub use rows::{Pair, Question};

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

/// The nodes of one set of rules.
pub struct Index {
    rules: Rc<Rules>,
    layout: Rc<Layout>,
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
    slots: Slots,
    /// A key that is being looked up.
    key: Vec<i32>,
    /// Changes of the mirror up to here are in it.
    seen: usize,
    /// Where that ended when the index was built.
    built: usize,
    /// Of marks: the bases of the ground that theirs are, and when that was built.
    in_ground: (usize, Vec<u32>),
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
    /// Asks every node, or those on which something counts if the layout asks for that.
    pub fn build(judge: &Judge<'_>, rules: Rc<Rules>, layout: Rc<Layout>) -> Self {
        let mirror = &judge.cluster.mirror;
        let mut index = Index {
            slots: match layout.is_ground() {
                true => Slots::All(Vec::with_capacity(mirror.node_numbers())),
                false => Slots::Few(Map::default()),
            },
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
            key: Vec::new(),
            seen: mirror.journal.end(),
            built: mirror.journal.end(),
            in_ground: (0, Vec::new()),
            image_version: mirror.image_version,
            entries: 0,
            ranking: None,
            used: 0,
        };
        if index.layout.is_ground() {
            mirror.nodes().for_each(|node| index.settle(judge, node, true));
        } else {
            let marked = index.layout.marked(&judge.cluster.counts);
            let nodes = marked.into_iter().filter_map(|node| mirror.node(node));
            nodes.for_each(|node| index.settle(judge, node, true));
        }
        index
    }

    /// Takes in what has changed since; how many nodes were looked at.
    pub fn catch_up(&mut self, judge: &Judge<'_>) -> usize {
        let (mirror, counts) = (&judge.cluster.mirror, &judge.cluster.counts);
        if self.seen == mirror.journal.end() {
            return 0;
        }
        let ground = self.layout.is_ground();
        let most = if ground {
            mirror.node_count()
        } else {
            4 * self.slots.size() + 64
        };
        let images_moved = !self.rules.images.is_empty() && self.image_version != mirror.image_version;
        let sparse = self.cells.len() > 64 + 2 * self.cells.iter().filter(|cell| cell.live > 0).count();
        let touched = mirror.journal.since(self.seen).filter(|touched| touched.len() <= most);
        let Some(touched) = touched.filter(|_| !images_moved && !sparse) else {
            let (used, ranking) = (self.used, self.ranking.take());
            *self = Index::build(judge, self.rules.clone(), self.layout.clone());
            (self.used, self.ranking) = (used, ranking);
            return self.slots.size();
        };
        let looked_at = touched.len();
        let layout = Rc::clone(&self.layout);
        for Touched { node: id, shape } in touched {
            match mirror.node(id) {
                Some(node) if ground || layout.is_marked(counts, id) => self.settle(judge, node, shape),
                _ => self.leave(id),
            }
        }
        self.seen = mirror.journal.end();
        if self.entries > 4 * self.slots.size() + 64 {
            self.sweep();
        }
        looked_at
    }

    /// About how much it holds.
    pub fn size(&self) -> usize {
        self.slots.size().max(self.entries / 2)
    }

    /// A node is in no cell any more.
    fn leave(&mut self, id: u32) {
        if let Some(slot) = self.slots.remove(id) {
            self.cells[slot.cell as usize].live -= 1;
        }
    }

    /// Drops entries of heaps that mean nothing any more.
    fn sweep(&mut self) {
        self.entries = 0;
        for cell in &mut self.cells {
            cell.clear();
        }
        let (cells, entries) = (&mut self.cells, &mut self.entries);
        self.slots.each(|node, slot| {
            let cell = &mut cells[slot.cell as usize];
            if cell.against.is_empty() {
                cell.push(rank(slot.rank, node));
                *entries += 1;
            }
        });
    }
}
