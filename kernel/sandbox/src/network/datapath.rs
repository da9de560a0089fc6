//! The datapath that is wanted: the sum of operations.
use super::{Entry, EntryKey, Op, Table};
use std::collections::BTreeMap;

/// Entries by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datapath {
    entries: BTreeMap<EntryKey, Entry>,
}

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

impl Datapath {
    /// All entries, in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub fn get(&self, key: &EntryKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// How many entries a table has.
    pub fn count(&self, table: Table) -> usize {
        self.entries.keys().filter(|key| key.table() == table).count()
    }

    /// What to do to this one so that it becomes another: what goes first, then what is new or other.
    pub fn changes_to(&self, other: &Datapath) -> Vec<Op> {
        let gone = self.entries.keys().filter(|key| !other.entries.contains_key(*key));
        let set = other
            .entries
            .iter()
            .filter(|(key, entry)| self.entries.get(*key) != Some(*entry));
        let gone = gone.map(|key| Op::Remove(key.clone()));
        gone.chain(set.map(|(_, entry)| Op::Set(entry.clone()))).collect()
    }

    /// Carries out operations that were checked.
    pub(super) fn apply(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Set(entry) => drop(self.entries.insert(entry.key(), entry.clone())),
                Op::Remove(key) => drop(self.entries.remove(key)),
            }
        }
    }
}
