//! One counter: of whom, over what, and how many where.
use crate::{
    hashing::Map,
    mirror::{Class, Mirror, Who},
};
use std::collections::BTreeMap;

/// Which pods are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Those that all of these mean.
    Pods(Vec<Who>),
    Owner {
        namespace: u32,
        owner: u32,
    },
    /// What pods carry, as much as they carry of it.
    Carried(u32),
}

impl Subject {
    pub fn means(&self, class: &Class, mirror: &Mirror) -> bool {
        match self {
            Subject::Pods(all) => all.iter().all(|who| who.means(class, mirror)),
            Subject::Owner { namespace, owner } => class.said.namespace == *namespace && class.said.owner == *owner,
            Subject::Carried(_) => false,
        }
    }

    pub fn one_namespace(&self) -> Option<u32> {
        match self {
            Subject::Pods(all) => all.iter().find_map(Who::one_namespace),
            Subject::Owner { namespace, .. } => Some(*namespace),
            Subject::Carried(_) => None,
        }
    }
}

/// What a counter is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    pub subject: Subject,
    /// The number of the topology key.
    pub key: u32,
    /// The number of the filter that nodes must pass for their pods to count.
    pub filter: u32,
    /// Whether pods that are ending count.
    pub ending_too: bool,
}

/// How many there are, by the value of the topology key.
#[derive(Debug)]
pub struct Counter {
    pub spec: Spec,
    /// None of them 0.
    counts: Map<u32, i32>,
    /// All together.
    pub total: i64,
    /// How many domains have a count, where that is asked for.
    levels: Option<BTreeMap<i32, u32>>,
}

impl Counter {
    pub fn new(spec: Spec) -> Self {
        Counter {
            spec,
            counts: Map::default(),
            total: 0,
            levels: None,
        }
    }

    pub fn at(&self, domain: u32) -> i32 {
        self.counts.get(&domain).copied().unwrap_or(0)
    }

    /// Where there is any.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.counts.keys().copied()
    }

    pub fn change(&mut self, domain: u32, by: i32) {
        self.total += i64::from(by);
        let count = self.counts.entry(domain).or_default();
        let before = *count;
        *count += by;
        let after = *count;
        if after == 0 {
            self.counts.remove(&domain);
        }
        if let Some(levels) = &mut self.levels {
            leave(levels, before);
            if after != 0 {
                *levels.entry(after).or_default() += 1;
            }
        }
    }

    /// Keeps from now on how many domains have which count.
    pub fn order(&mut self) {
        if self.levels.is_none() {
            let mut levels = BTreeMap::new();
            for count in self.counts.values() {
                *levels.entry(*count).or_default() += 1;
            }
            self.levels = Some(levels);
        }
    }

    /// The lowest count, of so many domains. Only domains that are among them have any count.
    pub fn least(&self, domains: usize) -> i32 {
        if self.counts.len() < domains {
            return 0;
        }
        let lowest = self.levels.as_ref().and_then(BTreeMap::first_key_value);
        lowest.map_or(0, |(count, _)| *count)
    }

    /// The lowest count if that of one domain, which is among them, were another.
    pub fn least_with(&self, domains: usize, domain: u32, count: i32) -> i32 {
        let now = self.at(domain);
        let others = domains.saturating_sub(1);
        let counted = self.counts.len() - usize::from(now != 0);
        if counted < others {
            return count.min(0);
        }
        let levels = self.levels.iter().flatten();
        let of_others = levels.filter(|(level, domains)| **level != now || **domains > 1);
        of_others
            .map(|(level, _)| *level)
            .next()
            .map_or(count, |least| least.min(count))
    }
}

fn leave(levels: &mut BTreeMap<i32, u32>, level: i32) {
    if let Some(domains) = levels.get_mut(&level) {
        *domains -= 1;
        if *domains == 0 {
            levels.remove(&level);
        }
    }
}
