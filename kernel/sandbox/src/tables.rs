//! Tables of typed entries: the sum of what a plugin on a node answered with, and the part of the check of a plan that is
//! the same in each world whose plugins answer so.
use std::{
    collections::BTreeMap,
    fmt::{Debug, Display},
};

/// An entry of a world's tables.
pub trait Tabled: Clone + Debug + Eq {
    /// What it is found by.
    type Key: Clone + Debug + Ord + Display;
    type Table: Copy + Debug + Ord + Display;
    /// What plans are made of.
    type Op;

    fn key(&self) -> Self::Key;
    /// Which table entries of a key are in.
    fn table_of(key: &Self::Key) -> Self::Table;
    fn set(self) -> Self::Op;
    fn remove(key: Self::Key) -> Self::Op;
    fn said(op: &Self::Op) -> Said<'_, Self>;
}

/// An entry here, and the one of its key there.
pub type Difference<'a, E> = (Option<&'a E>, Option<&'a E>);

/// What an operation does.
pub enum Said<'a, E: Tabled> {
    Set(&'a E),
    Remove(&'a E::Key),
}

/// Makes the generated types `Entry`, `EntryKey`, `Table` and `Op` of a world [`Tabled`]; `Entry::key` and
/// `EntryKey::table` are the world's own.
macro_rules! tabled {
    () => {
        impl $crate::tables::Tabled for Entry {
            type Key = EntryKey;
            type Table = Table;
            type Op = Op;

            fn key(&self) -> EntryKey {
                Entry::key(self)
            }

            fn table_of(key: &EntryKey) -> Table {
                key.table()
            }

            fn set(self) -> Op {
                Op::Set(self)
            }

            fn remove(key: EntryKey) -> Op {
                Op::Remove(key)
            }

            fn said(op: &Op) -> $crate::tables::Said<'_, Self> {
                match op {
                    Op::Set(entry) => $crate::tables::Said::Set(entry),
                    Op::Remove(key) => $crate::tables::Said::Remove(key),
                }
            }
        }
    };
}
pub(crate) use tabled;

/// Entries by key, table by table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables<E: Tabled>(BTreeMap<E::Table, BTreeMap<E::Key, E>>);

impl<E: Tabled> Default for Tables<E> {
    fn default() -> Self {
        Tables(BTreeMap::new())
    }
}

impl<E: Tabled> Tables<E> {
    /// With these entries; nobody checks them.
    pub fn with(entries: impl IntoIterator<Item = E>) -> Self {
        let mut tables = Tables::default();
        entries.into_iter().for_each(|entry| tables.insert(entry));
        tables
    }

    /// All entries of several, of which no two fill the same table.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self
    where
        E: 'a,
    {
        Tables::with(parts.into_iter().flat_map(Tables::entries).cloned())
    }

    /// All entries, table by table and in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = &E> {
        self.all().map(|(_, entry)| entry)
    }

    pub fn get(&self, key: &E::Key) -> Option<&E> {
        self.0.get(&E::table_of(key))?.get(key)
    }

    /// How many entries a table has.
    pub fn count(&self, table: E::Table) -> usize {
        self.0.get(&table).map_or(0, BTreeMap::len)
    }

    /// What to do to this one so that it becomes another: what goes first, then what is new or other.
    pub fn changes_to(&self, other: &Self) -> Vec<E::Op> {
        let gone = self.all().filter(|(key, _)| other.get(key).is_none());
        let set = other.all().filter(|(key, entry)| self.get(key) != Some(*entry));
        let gone = gone.map(|(key, _)| E::remove(key.clone()));
        gone.chain(set.map(|(_, entry)| entry.clone().set())).collect()
    }

    /// The keys whose entries are not the same in another one, table by table and in their order: what is here, and there.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a E::Key, Difference<'a, E>)> {
        let mut keys: BTreeMap<(E::Table, &E::Key), Difference<'a, E>> = BTreeMap::new();
        for (key, entry) in self.all().filter(|(key, entry)| other.get(key) != Some(*entry)) {
            keys.insert((E::table_of(key), key), (Some(entry), other.get(key)));
        }
        for (key, entry) in other.all().filter(|(key, _)| self.get(key).is_none()) {
            keys.insert((E::table_of(key), key), (None, Some(entry)));
        }
        keys.into_iter().map(|((_, key), difference)| (key, difference))
    }

    /// Carries out operations that were checked.
    pub(crate) fn apply(&mut self, ops: &[E::Op]) {
        for op in ops {
            match E::said(op) {
                Said::Set(entry) => self.insert(entry.clone()),
                Said::Remove(key) => {
                    let table = E::table_of(key);
                    let Some(entries) = self.0.get_mut(&table) else {
                        continue;
                    };
                    entries.remove(key);
                    if entries.is_empty() {
                        self.0.remove(&table);
                    }
                }
            }
        }
    }

    fn insert(&mut self, entry: E) {
        let key = entry.key();
        self.0.entry(E::table_of(&key)).or_default().insert(key, entry);
    }

    fn all(&self) -> impl Iterator<Item = (&E::Key, &E)> {
        self.0.values().flatten()
    }
}

/// Operations in one plan.
const MOST_OPS: usize = 200_000;

/// Entries in one table.
pub const MOST_ENTRIES: usize = 200_000;

/// What a plan leaves: of each key that it names the entry that will be there, and the number of the operation that says so.
pub struct After<'a, E: Tabled>(BTreeMap<E::Key, (Option<&'a E>, usize)>);

impl<'a, E: Tabled> After<'a, E> {
    /// Checks each operation of a plugin that fills some tables, and what the plan leaves in each table.
    ///
    /// # Errors
    /// Which operation is refused, and why.
    pub fn of(
        ops: &'a [E::Op],
        filled: &[E::Table],
        before: &Tables<E>,
        check_entry: impl Fn(&E) -> Result<(), String>,
    ) -> Result<Self, String> {
        if ops.len() > MOST_OPS {
            return Err(format!("a plan of {} operations: {MOST_OPS} are the limit", ops.len()));
        }
        let mut after = After(BTreeMap::new());
        for (number, op) in ops.iter().enumerate() {
            let (key, entry) = match E::said(op) {
                Said::Set(entry) => (entry.key(), Some(entry)),
                Said::Remove(key) => (key.clone(), None),
            };
            let refused = |why: String| {
                let verb = if entry.is_some() { "set" } else { "remove" };
                format!("operation {number} of its plan ({verb} {key}): {why}")
            };
            let table = E::table_of(&key);
            if !filled.contains(&table) {
                return Err(refused(format!("it does not fill the table {table}")));
            }
            match entry {
                Some(entry) => check_entry(entry).map_err(refused)?,
                None if !after.is_there(&key, before) => return Err(refused("there is no such entry".to_owned())),
                None => {}
            }
            after.0.insert(key, (entry, number));
        }
        after.check_counts(filled, before)?;
        Ok(after)
    }

    fn is_there(&self, key: &E::Key, before: &Tables<E>) -> bool {
        let said = self.0.get(key);
        said.map_or(before.get(key).is_some(), |(entry, _)| entry.is_some())
    }

    fn check_counts(&self, filled: &[E::Table], before: &Tables<E>) -> Result<(), String> {
        for table in filled {
            let of_table = || self.0.iter().filter(|(key, _)| E::table_of(key) == *table);
            let new = of_table().filter(|(key, (entry, _))| entry.is_some() && before.get(key).is_none());
            let gone = of_table().filter(|(key, (entry, _))| entry.is_none() && before.get(key).is_some());
            let count = (before.count(*table) + new.count()).saturating_sub(gone.count());
            if count > MOST_ENTRIES {
                return Err(format!(
                    "its plan leaves {count} entries in the table {table}: {MOST_ENTRIES} are the limit"
                ));
            }
        }
        Ok(())
    }

    /// That what entries name is there: what those of the plan name, and if it removes what may be `named`, what all name.
    ///
    /// # Errors
    /// Which operation is refused, and why.
    pub fn check_references(
        &self,
        before: &Tables<E>,
        named: impl Fn(&E::Key) -> bool,
        names: impl Fn(&E) -> Vec<E::Key>,
    ) -> Result<(), String> {
        let missing = |entry: &E| names(entry).into_iter().find(|key| !self.is_there(key, before));
        for (key, (entry, number)) in &self.0 {
            if let Some(missing) = entry.and_then(missing) {
                return Err(format!(
                    "operation {number} of its plan (set {key}): there is no {missing}"
                ));
            }
        }
        if !self.0.iter().any(|(key, (entry, _))| named(key) && entry.is_none()) {
            return Ok(());
        }
        for entry in before.entries().filter(|entry| !self.0.contains_key(&entry.key())) {
            if let Some(missing) = missing(entry) {
                return Err(format!(
                    "its plan removes the {missing}, which the {} name",
                    entry.key()
                ));
            }
        }
        Ok(())
    }
}
