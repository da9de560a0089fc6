//! Where each node is in an index: of all nodes, or of those few that an index is about.
use super::NONE;
use crate::hashing::Map;

/// Where a node is in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub base: u32,
    pub cell: u32,
    /// The upper half of its rank.
    pub rank: u32,
}

const NOWHERE: Slot = Slot {
    base: NONE,
    cell: NONE,
    rank: 0,
};

/// Slots by the number of the node.
#[derive(Debug)]
pub enum Slots {
    All(Vec<Slot>),
    Few(Map<u32, Slot>),
}

impl Slots {
    pub fn get(&self, node: u32) -> Option<Slot> {
        match self {
            Slots::All(all) => all.get(node as usize).copied().filter(|slot| slot.cell != NONE),
            Slots::Few(few) => few.get(&node).copied(),
        }
    }

    pub fn set(&mut self, node: u32, slot: Slot) {
        match self {
            Slots::All(all) => {
                let place = node as usize;
                if all.len() <= place {
                    all.resize(place + 1, NOWHERE);
                }
                all[place] = slot;
            }
            Slots::Few(few) => {
                few.insert(node, slot);
            }
        }
    }

    pub fn remove(&mut self, node: u32) -> Option<Slot> {
        match self {
            Slots::All(all) => {
                let slot = all.get_mut(node as usize)?;
                Some(std::mem::replace(slot, NOWHERE)).filter(|slot| slot.cell != NONE)
            }
            Slots::Few(few) => few.remove(&node),
        }
    }

    /// All that are anywhere, in an order that does not matter.
    pub fn each(&self, mut with: impl FnMut(u32, Slot)) {
        match self {
            Slots::All(all) => {
                let there = all.iter().enumerate().filter(|(_, slot)| slot.cell != NONE);
                there.for_each(|(node, slot)| with(node as u32, *slot));
            }
            Slots::Few(few) => few.iter().for_each(|(node, slot)| with(*node, *slot)),
        }
    }

    /// About how many there are.
    pub fn size(&self) -> usize {
        match self {
            Slots::All(all) => all.len(),
            Slots::Few(few) => few.len(),
        }
    }
}
