//! What is to change in the table, gathered in any order and said in one that the kernel takes: what is referred to is
//! there before it is referred to, and goes after it is no more.
use super::{
    connections::Left,
    nft::{Batch, Element, Expression, HookPoint, SetKind, Socket},
};
use sampan_sandbox::network::EntryKey;
use std::{collections::BTreeMap, io};

type Rules = Vec<Vec<Expression>>;

/// Elements by their set, each with the number of its origin.
type Elements = BTreeMap<String, Vec<(u32, Element)>>;

/// Where nothing in particular is the origin.
const NOWHERE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Changes {
    /// The keys that numbers of origins stand for.
    pub(super) origins: Vec<EntryKey>,
    sets: Vec<(u32, SetKind)>,
    chains: Vec<(u32, String, Option<HookPoint>)>,
    /// Chains that get other rules, and whether they have some now.
    rules: Vec<(u32, String, bool, Rules)>,
    removed: Elements,
    added: Elements,
    gone_chains: Vec<String>,
    gone_sets: Vec<String>,
    is_from_nowhere: bool,
    /// What is no part of the table, but follows from it.
    pub(super) left: Left,
}

impl Changes {
    /// What follows is because of this entry.
    pub(super) fn comes_from(&mut self, key: EntryKey) {
        self.is_from_nowhere = false;
        self.origins.push(key);
    }

    pub(super) fn comes_from_nowhere(&mut self) {
        self.is_from_nowhere = true;
    }

    fn origin(&self) -> u32 {
        match self.origins.len().checked_sub(1) {
            Some(last) if !self.is_from_nowhere => u32::try_from(last).unwrap_or(NOWHERE),
            _ => NOWHERE,
        }
    }

    pub(super) fn set(&mut self, kind: SetKind) {
        self.sets.push((self.origin(), kind));
    }

    pub(super) fn delete_set(&mut self, name: String) {
        self.gone_sets.push(name);
    }

    pub(super) fn chain(&mut self, name: &str, point: Option<HookPoint>, rules: Rules) {
        self.chains.push((self.origin(), name.to_owned(), point));
        self.rules.push((self.origin(), name.to_owned(), false, rules));
    }

    /// Other rules for a chain that is there.
    pub(super) fn refill(&mut self, name: &str, rules: Rules) {
        self.rules.push((self.origin(), name.to_owned(), true, rules));
    }

    pub(super) fn delete_chain(&mut self, name: String) {
        self.gone_chains.push(name);
    }

    pub(super) fn add(&mut self, set: &str, element: Element) {
        let origin = self.origin();
        push(&mut self.added, set, (origin, element));
    }

    pub(super) fn add_all(&mut self, set: &str, elements: impl IntoIterator<Item = Element>) {
        elements.into_iter().for_each(|element| self.add(set, element));
    }

    pub(super) fn remove(&mut self, set: &str, element: Element) {
        let origin = self.origin();
        push(&mut self.removed, set, (origin, element));
    }

    pub(super) fn remove_all(&mut self, set: &str, elements: impl IntoIterator<Item = Element>) {
        elements.into_iter().for_each(|element| self.remove(set, element));
    }

    /// Says it all.
    pub(super) fn write(&self, batch: &mut Batch) {
        for (origin, kind) in &self.sets {
            batch.comes_from(*origin);
            batch.set(kind);
        }
        for (origin, name, point) in &self.chains {
            batch.comes_from(*origin);
            batch.chain(name, *point);
        }
        for (origin, name, has_rules, rules) in &self.rules {
            batch.comes_from(*origin);
            if *has_rules {
                batch.flush_chain(name);
            }
            rules.iter().for_each(|rule| batch.rule(name, rule));
        }
        batch.comes_from(NOWHERE);
        for (set, elements) in &self.removed {
            batch.remove(set, elements.iter().map(|(origin, element)| (*origin, element)));
        }
        for (set, elements) in &self.added {
            batch.add(set, elements.iter().map(|(origin, element)| (*origin, element)));
        }
        // Chains may refer to each other and to sets.
        self.gone_chains.iter().for_each(|name| batch.flush_chain(name));
        self.gone_chains.iter().for_each(|name| batch.delete_chain(name));
        self.gone_sets.iter().for_each(|name| batch.delete_set(name));
    }

    /// Keeps count of what the table has: how many rules each chain, and how many elements each set.
    pub(super) fn count(&self, census: &mut Census) {
        for (_, kind) in &self.sets {
            if kind.dynamic.is_none() {
                census.sets.insert(kind.name.clone(), 0);
            }
        }
        for (_, name, _, rules) in &self.rules {
            census.chains.insert(name.clone(), rules.len());
        }
        let by = |elements: &Elements| -> Vec<(String, usize)> {
            elements.iter().map(|(set, all)| (set.clone(), all.len())).collect()
        };
        for (set, count) in by(&self.removed) {
            if let Some(had) = census.sets.get_mut(&set) {
                *had = had.saturating_sub(count);
            }
        }
        for (set, count) in by(&self.added) {
            if let Some(had) = census.sets.get_mut(&set) {
                *had += count;
            }
        }
        for name in &self.gone_chains {
            census.chains.remove(name);
        }
        for name in &self.gone_sets {
            census.sets.remove(name);
        }
    }
}

fn push(elements: &mut Elements, set: &str, element: (u32, Element)) {
    match elements.get_mut(set) {
        Some(all) => all.push(element),
        None => drop(elements.insert(set.to_owned(), vec![element])),
    }
}

/// How much of what the table has.
#[derive(Clone, Default)]
pub(super) struct Census {
    pub(super) chains: imbl::OrdMap<String, usize>,
    pub(super) sets: imbl::OrdMap<String, usize>,
}

impl Census {
    /// Whether a table of the kernel has as much.
    pub(super) fn is_of(&self, socket: &mut Socket, table: &str) -> io::Result<bool> {
        if socket.count_rules(table)? != self.chains.values().sum::<usize>() {
            return Ok(false);
        }
        for (set, count) in &self.sets {
            if socket.count_elements(table, set)? != *count {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
