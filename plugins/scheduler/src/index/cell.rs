//! Nodes that are alike to the rules but for their room, and the order among them.
use super::{NONE, slots::Slots};
use sampan_sdk::scheduler::types::Rule;
use std::collections::BinaryHeap;

/// Nodes that are alike.
pub struct Cell {
    /// Of an open cell: what its nodes are whoever is there.
    pub base: u32,
    /// Of an open cell: what counts on each of its nodes alone, in the order of the layout.
    pub locals: Vec<i32>,
    /// Of a closed cell: why none of its nodes will do.
    pub against: Vec<Rule>,
    /// How many nodes are in it.
    pub live: u32,
    /// Ranks. One counts if its node is in this cell with that rank; others are left behind until they come up.
    heap: BinaryHeap<u64>,
}

/// The upper half of a rank: what room is worth, and of equals the fewest pods first.
pub fn upper(worth: i64, pods: u32) -> u32 {
    let worth = worth.clamp(0, i64::from(u16::MAX)) as u32;
    worth << 16 | (u32::from(u16::MAX) - pods.min(u16::MAX.into()))
}

/// A rank: the highest is the best. Of equals the lowest number comes first.
pub fn rank(upper: u32, node: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(!node)
}

/// What room is worth in a rank.
pub fn worth(rank: u64) -> i64 {
    (rank >> 48) as i64
}

/// The order among cells whose nodes have equal totals: fewest pods, then the lowest number.
pub fn tie(rank: u64) -> u64 {
    rank & 0x0000_ffff_ffff_ffff
}

pub fn node(rank: u64) -> u32 {
    !(rank as u32)
}

impl Cell {
    pub fn open(base: u32, locals: Vec<i32>) -> Self {
        Cell {
            base,
            locals,
            against: Vec::new(),
            live: 0,
            heap: BinaryHeap::new(),
        }
    }

    pub fn closed(against: Vec<Rule>) -> Self {
        Cell {
            against,
            ..Cell::open(NONE, Vec::new())
        }
    }

    pub fn push(&mut self, rank: u64) {
        self.heap.push(rank);
    }

    pub fn pop(&mut self) -> Option<u64> {
        self.heap.pop()
    }

    pub fn clear(&mut self) {
        self.heap.clear();
    }

    /// The best rank in the cell, and how many entries were dropped on the way.
    pub fn top(&mut self, own: u32, slots: &Slots) -> (Option<u64>, usize) {
        let mut dropped = 0;
        while let Some(rank) = self.heap.peek().copied() {
            let counts = slots
                .get(node(rank))
                .is_some_and(|slot| slot.cell == own && u64::from(slot.rank) == rank >> 32);
            if counts {
                return (Some(rank), dropped);
            }
            self.heap.pop();
            dropped += 1;
        }
        (None, dropped)
    }
}
