//! The datapath that is wanted: the sum of operations.
use super::{Entry, EntryKey, Op, Table};
use std::collections::BTreeMap;

/// Entries by key, table by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datapath {
    routes: BTreeMap<EntryKey, Entry>,
    frontends: BTreeMap<EntryKey, Entry>,
    policies: BTreeMap<EntryKey, Entry>,
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
    /// With these entries.
    pub fn with(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut datapath = Datapath::default();
        for entry in entries {
            let key = entry.key();
            datapath.of_mut(key.table()).insert(key, entry);
        }
        datapath
    }

    /// All entries of several, of which no two fill the same table.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Datapath>) -> Self {
        Datapath::with(parts.into_iter().flat_map(Datapath::entries).cloned())
    }

    /// All entries, table by table and in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.all().map(|(_, entry)| entry)
    }

    pub fn get(&self, key: &EntryKey) -> Option<&Entry> {
        self.of(key.table()).get(key)
    }

    /// How many entries a table has.
    pub fn count(&self, table: Table) -> usize {
        self.of(table).len()
    }

    /// What to do to this one so that it becomes another: what goes first, then what is new or other.
    pub fn changes_to(&self, other: &Datapath) -> Vec<Op> {
        let gone = self.all().filter(|(key, _)| other.get(key).is_none());
        let set = other.all().filter(|(key, entry)| self.get(key) != Some(*entry));
        let gone = gone.map(|(key, _)| Op::Remove(key.clone()));
        gone.chain(set.map(|(_, entry)| Op::Set(entry.clone()))).collect()
    }

    /// Carries out operations that were checked.
    pub(super) fn apply(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Set(entry) => {
                    let key = entry.key();
                    self.of_mut(key.table()).insert(key, entry.clone());
                }
                Op::Remove(key) => {
                    self.of_mut(key.table()).remove(key);
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (&EntryKey, &Entry)> {
        self.routes.iter().chain(&self.frontends).chain(&self.policies)
    }

    fn of(&self, table: Table) -> &BTreeMap<EntryKey, Entry> {
        match table {
            Table::Routes => &self.routes,
            Table::Frontends => &self.frontends,
            Table::Policies => &self.policies,
        }
    }

    fn of_mut(&mut self, table: Table) -> &mut BTreeMap<EntryKey, Entry> {
        match table {
            Table::Routes => &mut self.routes,
            Table::Frontends => &mut self.frontends,
            Table::Policies => &mut self.policies,
        }
    }
}
