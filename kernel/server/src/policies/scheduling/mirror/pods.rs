//! The pods that count on a node or wait for one, by number.
use super::numbers::Numbers;
use crate::policies::scheduling::reading::{Group, Shape};
use sampan_api::{Key, Revision};
use sampan_sandbox::scheduler::POD_NUMBERS;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The number of a pod that is none: what would be said of it is asked to see whether a policy works, or what it thinks.
pub const NOBODY: u32 = 1;

/// Where a pod is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Waiting,
    /// On a node, by its name: it counts there once the node is there.
    Bound {
        node: Arc<str>,
        start: u32,
        ending: bool,
    },
}

#[derive(Debug)]
pub struct PodEntry {
    pub key: Key,
    pub uid: Arc<str>,
    pub shape: Arc<Shape>,
    pub class: u32,
    pub place: Place,
    /// The node where room is made for it.
    pub nominated: Option<Arc<str>>,
    /// Of what is said here; older news are none.
    pub revision: Revision,
}

#[derive(Debug)]
pub struct Pods {
    numbers: Numbers,
    by_key: HashMap<Key, u32>,
    entries: HashMap<u32, PodEntry>,
    on_node: HashMap<Arc<str>, BTreeSet<u32>>,
    /// How many of each group have a node.
    bound: HashMap<Group, u32>,
    nominated: HashMap<Arc<str>, BTreeSet<u32>>,
}

impl Default for Pods {
    fn default() -> Self {
        let mut numbers = Numbers::below(POD_NUMBERS);
        // It is nobody's: a question about a pod that is none has it.
        let _first = numbers.give();
        Pods {
            numbers,
            by_key: HashMap::new(),
            entries: HashMap::new(),
            on_node: HashMap::new(),
            bound: HashMap::new(),
            nominated: HashMap::new(),
        }
    }
}

impl Pods {
    pub fn get(&self, id: u32) -> Option<&PodEntry> {
        self.entries.get(&id)
    }

    pub fn number(&self, key: &Key) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.entries.keys().copied()
    }

    pub fn told(&mut self) {
        self.numbers.told();
    }

    /// The pods on a node.
    pub fn on(&self, node: &str) -> impl Iterator<Item = u32> {
        self.on_node.get(node).into_iter().flatten().copied()
    }

    /// The pods that room is made for on a node.
    pub fn awaited_on(&self, node: &str) -> impl Iterator<Item = u32> {
        self.nominated.get(node).into_iter().flatten().copied()
    }

    /// How many of a group have a node.
    pub fn bound_of(&self, group: &Group) -> u32 {
        self.bound.get(group).copied().unwrap_or_default()
    }

    /// A pod that is new; its number. None if there are too many.
    pub fn add(&mut self, entry: PodEntry) -> Option<u32> {
        let id = self.numbers.give()?;
        self.by_key.insert(entry.key.clone(), id);
        self.link(id, &entry, true);
        self.entries.insert(id, entry);
        Some(id)
    }

    pub fn remove(&mut self, id: u32) -> Option<PodEntry> {
        let entry = self.entries.remove(&id)?;
        self.by_key.remove(&entry.key);
        self.link(id, &entry, false);
        self.numbers.take_back(id);
        Some(entry)
    }

    /// Changes what is said of a pod.
    pub fn change(&mut self, id: u32, change: impl FnOnce(&mut PodEntry)) {
        let Some(mut entry) = self.entries.remove(&id) else {
            return;
        };
        self.link(id, &entry, false);
        change(&mut entry);
        self.link(id, &entry, true);
        self.entries.insert(id, entry);
    }

    /// Newer news of a pod that say nothing new; of its group nothing changes without its class.
    pub fn note(&mut self, id: u32, shape: &Arc<Shape>, at: Revision) {
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.shape, entry.revision) = (shape.clone(), at);
        }
    }

    /// Keeps what is found by node and by group.
    fn link(&mut self, id: u32, entry: &PodEntry, there: bool) {
        if let Place::Bound { node, .. } = &entry.place {
            keep(&mut self.on_node, node, id, there);
            if let Some(group) = &entry.shape.group {
                let count = self.bound.entry(group.clone()).or_default();
                *count = if there { *count + 1 } else { count.saturating_sub(1) };
                if *count == 0 {
                    self.bound.remove(group);
                }
            }
        }
        if let Some(node) = &entry.nominated {
            keep(&mut self.nominated, node, id, there);
        }
    }
}

fn keep(sets: &mut HashMap<Arc<str>, BTreeSet<u32>>, node: &Arc<str>, id: u32, there: bool) {
    if there {
        sets.entry(node.clone()).or_default().insert(id);
    } else if let Some(set) = sets.get_mut(node) {
        set.remove(&id);
        if set.is_empty() {
            sets.remove(node);
        }
    }
}
