//! Where a node belongs in an index: its base, its cell, its rank.
use super::{
    Base, Index, Judge, NONE,
    cell::{self, Cell},
    slots::Slot,
};
use crate::{
    hashing::Map,
    mirror::Node,
    probe::{Altered, expect_awaited},
    score::images,
};
use sampan_sdk::scheduler::types::Rule;

impl Index {
    /// Puts a node where it belongs.
    pub(super) fn settle(&mut self, judge: &Judge<'_>, node: &Node, shape: bool) {
        let old = self.slots.get(node.id);
        let base = match old.filter(|_| !shape) {
            Some(old) => old.base,
            None => self.base_of(judge, node),
        };
        let (cell, rank) = self.place_of(judge, node, base);
        let slot = Slot { base, cell, rank };
        if old == Some(slot) {
            return;
        }
        if let Some(old) = old {
            self.cells[old.cell as usize].live -= 1;
        }
        let home = &mut self.cells[cell as usize];
        home.live += 1;
        if home.against.is_empty() {
            home.push(cell::rank(rank, node.id));
            self.entries += 1;
        }
        self.slots.set(node.id, slot);
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
            present: if open {
                self.layout.present(&judge.cluster.counts, node.id)
            } else {
                0
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
        let plain = self.layout.is_ground();
        if plain && self.plain[base as usize] != NONE {
            return self.plain[base as usize];
        }
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.push(base.cast_signed());
        self.layout.add_locals(&judge.cluster.counts, node.id, &mut key);
        let id = self.cell_by(&key, node.id);
        self.key = key;
        if plain {
            self.plain[base as usize] = id;
        }
        id
    }

    /// The cell of a key: rather the one that the node is in, since few changes move a node.
    fn cell_by(&mut self, key: &[i32], node: u32) -> u32 {
        let now = self.slots.get(node).map_or(NONE, |slot| slot.cell);
        let same = |cell: &&Cell| cell.base.cast_signed() == key[0] && cell.locals == key[1..];
        if self.cells.get(now as usize).filter(same).is_some() {
            return now;
        }
        if let Some(id) = self.cell_ids.get(key) {
            return *id;
        }
        let id = self.cells.len() as u32;
        self.cells.push(Cell::open(key[0].cast_unsigned(), key[1..].to_vec()));
        self.cell_ids.insert(key.to_vec(), id);
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
}
