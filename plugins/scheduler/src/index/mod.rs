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
mod spread;

use crate::{
    cluster::Cluster,
    hashing::Map,
    mirror::{Node, Touched},
    preempt::Ranking,
    probe::{Altered, expect_awaited},
    rules::Rules,
    score::{Scores, images},
};
use cell::{Cell, rank};
use layout::Layout;
use std::rc::Rc;
use world_scheduler_02::sampan::scheduler::types::Rule;

pub use choose::Weighing;
pub use refuse::refusal;

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
    pub fn build(judge: &Judge<'_>, rules: Rc<Rules>) -> Self {
        let mirror = &judge.cluster.mirror;
        let mut index = Index {
            layout: Layout::of(&rules, &judge.cluster.counts),
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

    /// Takes in what has changed since.
    pub fn catch_up(&mut self, judge: &Judge<'_>) {
        let mirror = &judge.cluster.mirror;
        if self.seen == mirror.journal.end() {
            return;
        }
        let images_moved = !self.rules.images.is_empty() && self.image_version != mirror.image_version;
        let touched = mirror
            .journal
            .since(self.seen)
            .filter(|touched| touched.len() <= mirror.len());
        let sparse = self.cells.len() > 64 + 2 * self.cells.iter().filter(|cell| cell.live > 0).count();
        let Some(touched) = touched.filter(|_| !images_moved && !sparse) else {
            let (used, ranking) = (self.used, self.ranking.take());
            *self = Index::build(judge, self.rules.clone());
            (self.used, self.ranking) = (used, ranking);
            return;
        };
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

    /// Puts a node where it belongs.
    fn settle(&mut self, judge: &Judge<'_>, node: &Node, shape: bool) {
        let place = node.id as usize;
        if self.slots.len() <= place {
            self.slots.resize(
                place + 1,
                Slot {
                    base: NONE,
                    cell: NONE,
                    rank: 0,
                },
            );
        }
        let old = self.slots[place];
        let base = match shape || old.base == NONE {
            true => self.base_of(judge, node),
            false => old.base,
        };
        let (cell, upper) = self.place_of(judge, node, base);
        if cell == old.cell && upper == old.rank && base == old.base {
            return;
        }
        if old.cell != NONE {
            self.cells[old.cell as usize].live -= 1;
        }
        let home = &mut self.cells[cell as usize];
        home.live += 1;
        if home.against.is_empty() {
            home.push(rank(upper, node.id));
            self.entries += 1;
        }
        self.slots[place] = Slot {
            base,
            cell,
            rank: upper,
        };
    }

    fn base_of(&mut self, judge: &Judge<'_>, node: &Node) -> u32 {
        let (rules, mirror) = (&self.rules, &judge.cluster.mirror);
        let against = rules.against(node, &mirror.names);
        let open = against.is_none();
        let base = Base {
            liked: if open { rules.liked(node, &mirror.names) } else { 0 },
            disliked: if open { rules.disliked(node) } else { 0 },
            images: if open { images(mirror, &rules.images, node) } else { 0 },
            parts: if open {
                self.layout.parts(&judge.cluster.counts, node.id)
            } else {
                Vec::new()
            },
            against,
        };
        // Nodes come in runs of one kind.
        let last = self.last_base as usize;
        if self.bases.get(last) == Some(&base) {
            return self.last_base;
        }
        if let Some(id) = self.base_ids.get(&base) {
            self.last_base = *id;
            return *id;
        }
        let id = self.bases.len() as u32;
        self.last_base = id;
        self.base_ids.insert(base.clone(), id);
        self.number_parts(&base.parts);
        self.bases.push(base);
        self.plain.push(NONE);
        id
    }

    /// Gives the parts of a new base their positions.
    fn number_parts(&mut self, parts: &[u32]) {
        if self.dense_ids.len() < parts.len() {
            self.dense_ids.resize_with(parts.len(), Map::default);
        }
        let number = |(part, ids): (&u32, &mut Map<u32, u32>)| {
            let next = ids.len() as u32;
            *ids.entry(*part).or_insert(next)
        };
        self.dense
            .push(parts.iter().zip(&mut self.dense_ids).map(number).collect());
    }

    /// The cell that a node belongs to, and what its room is worth.
    fn place_of(&mut self, judge: &Judge<'_>, node: &Node, base_id: u32) -> (u32, u32) {
        let base = &self.bases[base_id as usize];
        if base.against.is_some() && self.plain[base_id as usize] != NONE {
            return (self.plain[base_id as usize], 0);
        }
        if let Some(rule) = base.against {
            let cell = self.closed_cell(vec![rule]);
            self.plain[base_id as usize] = cell;
            return (cell, 0);
        }
        let rules = self.rules.clone();
        if !self.has_room(judge, node) {
            let mut altered = Altered::new(judge.cluster, node);
            expect_awaited(&mut altered, rules.priority);
            return (self.closed_cell(altered.against(&rules)), 0);
        }
        let (demand, room, names) = (&rules.demand, &node.room, &judge.cluster.mirror.names);
        let [fit, balance, images, ..] = judge.weights;
        let worth = match (*fit, *balance) {
            (0, 0) => 0,
            (fit, 0) => fit * judge.scores.fit(demand, room, names),
            (0, balance) => balance * judge.scores.balance(demand, room, names),
            (fit, balance) => {
                fit * judge.scores.fit(demand, room, names) + balance * judge.scores.balance(demand, room, names)
            }
        };
        let worth = worth + images * base.images;
        let upper = cell::upper(worth, room.pods);
        (self.open_cell(judge, node, base_id), upper)
    }

    fn has_room(&self, judge: &Judge<'_>, node: &Node) -> bool {
        let rules = &self.rules;
        if node.nominated.is_empty() {
            return node.room.fits(&rules.demand);
        }
        let mut altered = Altered::new(judge.cluster, node);
        expect_awaited(&mut altered, rules.priority);
        altered.has_room(rules)
    }

    fn open_cell(&mut self, judge: &Judge<'_>, node: &Node, base: u32) -> u32 {
        let plain = self.layout.is_plain();
        if plain && self.plain[base as usize] != NONE {
            return self.plain[base as usize];
        }
        let mut key = Vec::with_capacity(1 + self.layout.locals());
        key.push(base.cast_signed());
        self.layout.add_locals(&judge.cluster.counts, node.id, &mut key);
        if let Some(id) = self.cell_ids.get(&key) {
            return *id;
        }
        let id = self.cells.len() as u32;
        self.cells.push(Cell::open(base, key[1..].to_vec()));
        self.cell_ids.insert(key, id);
        if plain {
            self.plain[base as usize] = id;
        }
        id
    }

    fn closed_cell(&mut self, against: Vec<Rule>) -> u32 {
        if let Some(id) = self.closed.get(&against) {
            return *id;
        }
        let id = self.cells.len() as u32;
        self.cells.push(Cell::closed(against.clone()));
        self.closed.insert(against, id);
        id
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
