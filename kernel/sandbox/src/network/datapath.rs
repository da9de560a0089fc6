//! The datapath that is wanted: the sum of operations.
use super::{Entry, EntryKey, Op, Table};
use crate::tables::{Tables, tabled};

/// Entries by key, table by table.
pub type Datapath = Tables<Entry>;

impl Entry {
    /// What it is found by in its table.
    pub fn key(&self) -> EntryKey {
        match self {
            Entry::Route(route) => EntryKey::Route(route.range),
            Entry::Frontend(frontend) => EntryKey::Frontend(frontend.key),
            Entry::Peers(set) => EntryKey::Peers(set.name.clone()),
            Entry::Rules(rules) => EntryKey::Rules(rules.pod.clone()),
        }
    }
}

tabled!();
