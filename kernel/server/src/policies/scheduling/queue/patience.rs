//! How long groups are tried: each from its first try on, until it has its place or its time is over.
use super::super::reading::Group;
use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

/// The groups that were tried, and when their time is over.
#[derive(Debug, Default)]
pub struct Patience {
    ends: HashMap<Group, Instant>,
    in_order: BTreeSet<(Instant, Group)>,
}

impl Patience {
    /// It is tried: its time begins, if it has not yet.
    pub fn begin(&mut self, group: &Group, end: Instant) {
        if !self.ends.contains_key(group) {
            self.ends.insert(group.clone(), end);
            self.in_order.insert((end, group.clone()));
        }
    }

    /// It waits for a place no more, or all begins anew.
    pub fn end(&mut self, group: &Group) {
        if let Some(end) = self.ends.remove(group) {
            self.in_order.remove(&(end, group.clone()));
        }
    }

    pub fn clear(&mut self) {
        self.ends.clear();
        self.in_order.clear();
    }

    pub fn next(&self) -> Option<Instant> {
        self.in_order.first().map(|(end, _)| *end)
    }

    /// One whose time is over.
    pub fn take_over(&mut self, now: Instant) -> Option<Group> {
        let (_, group) = self.in_order.first().filter(|(end, _)| *end <= now)?;
        let group = group.clone();
        self.end(&group);
        Some(group)
    }
}
