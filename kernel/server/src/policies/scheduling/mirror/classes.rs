//! The classes: pods of one spec are one to a scheduler. Numbered while pods are of them, and a while longer.
use super::numbers::Numbers;
use sampan_sandbox::scheduler::{CLASS_NUMBERS, PodClass};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

/// Classes that nobody is of and that are kept all the same: the next pod of a Job is like the last.
const IDLE: usize = 512;

/// Texts of specs remembered for each class.
const READINGS: usize = 16;

/// A class, and what its numbers stand for where the kernel needs it.
#[derive(Debug)]
pub struct ClassEntry {
    pub wire: PodClass,
    pub namespace: Arc<str>,
    pub labels: Arc<BTreeMap<String, String>>,
    /// The uid of the controller that it belongs to, if that counts.
    pub owner: Option<Arc<str>>,
    users: u32,
    /// Digests of specs that were read as this class.
    pub readings: VecDeque<u128>,
}

#[derive(Debug)]
pub struct Classes {
    numbers: Numbers,
    entries: HashMap<u32, ClassEntry>,
    /// Of those that are alike in everything but number and siblings.
    known: HashMap<PodClass, u32>,
    idle: VecDeque<u32>,
}

impl Default for Classes {
    fn default() -> Self {
        Classes {
            numbers: Numbers::below(CLASS_NUMBERS),
            entries: HashMap::new(),
            known: HashMap::new(),
            idle: VecDeque::new(),
        }
    }
}

impl Classes {
    pub fn get(&self, id: u32) -> Option<&ClassEntry> {
        self.entries.get(&id)
    }

    pub fn get_mut(&mut self, id: u32) -> Option<&mut ClassEntry> {
        self.entries.get_mut(&id)
    }

    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.entries.keys().copied()
    }

    pub fn entries_mut(&mut self) -> impl Iterator<Item = (u32, &mut ClassEntry)> {
        self.entries.iter_mut().map(|(id, entry)| (*id, entry))
    }

    pub fn told(&mut self) {
        self.numbers.told();
    }

    /// The number of a class (that says 0, and no siblings), and whether it is new. None if there are too many.
    pub fn number(&mut self, class: PodClass, entry: impl FnOnce(PodClass) -> ClassEntry) -> Option<(u32, bool)> {
        if let Some(id) = self.known.get(&class) {
            return Some((*id, false));
        }
        let id = self.numbers.give()?;
        self.known.insert(class.clone(), id);
        let mut entry = entry(class);
        entry.wire.id = id;
        self.entries.insert(id, entry);
        self.idle.push_back(id);
        Some((id, true))
    }

    /// Remembers the digest of a text that is read as this class; one that is forgotten for it.
    pub fn remember(&mut self, id: u32, reading: u128) -> Option<u128> {
        let entry = self.entries.get_mut(&id)?;
        entry.readings.push_back(reading);
        (entry.readings.len() > READINGS)
            .then(|| entry.readings.pop_front())
            .flatten()
    }

    pub fn take(&mut self, id: u32) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.users += 1;
        }
    }

    pub fn give_back(&mut self, id: u32) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users == 0 {
                self.idle.push_back(id);
            }
        }
    }

    /// Drops those that nobody has been of for longest, while there are too many; each with its readings.
    pub fn sweep(&mut self) -> Vec<(u32, ClassEntry)> {
        let mut gone = Vec::new();
        while self.idle.len() > IDLE {
            let Some(id) = self.idle.pop_front() else { break };
            let unused = self.entries.get(&id).is_some_and(|entry| entry.users == 0);
            // It may stand there several times, and be in use again.
            if !unused || self.idle.contains(&id) {
                continue;
            }
            if let Some(entry) = self.entries.remove(&id) {
                let key = PodClass {
                    id: 0,
                    siblings: None,
                    ..entry.wire.clone()
                };
                self.known.remove(&key);
                self.numbers.take_back(id);
                gone.push((id, entry));
            }
        }
        gone
    }
}

impl ClassEntry {
    pub fn new(
        wire: PodClass,
        namespace: Arc<str>,
        labels: Arc<BTreeMap<String, String>>,
        owner: Option<Arc<str>>,
    ) -> Self {
        ClassEntry {
            wire,
            namespace,
            labels,
            owner,
            users: 0,
            readings: VecDeque::new(),
        }
    }
}
