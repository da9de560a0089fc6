//! What pods that are there say of pods that come: whom they forbid near them, and whom they pull.
use crate::{
    hashing::Map,
    mirror::{Class, Mirror, Term},
};
use sampan_sdk::scheduler::types::{PodTerm, PreferredPod};

/// Something that pods carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct What {
    pub term: Term,
    /// A required anti-affinity; otherwise something that counts in scores.
    pub forbids: bool,
}

/// How the config weighs what pods carry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carries {
    /// What a required affinity counts for.
    pub hard_weight: i32,
    /// Whether preferred terms count at all.
    pub preferred: bool,
}

impl Carries {
    /// What pods of a class carry, and how much of it.
    pub fn of<'a>(&self, class: &'a Class) -> impl Iterator<Item = (What, i32)> + 'a {
        let said = &class.said;
        let forbid = said.anti_affinity.iter().map(|term| (what(class, term, true), 1));
        let hard_weight = self.hard_weight;
        let required = said
            .affinity
            .iter()
            .map(move |term| (what(class, term, false), hard_weight));
        let weighted = |sign: i32| move |one: &'a PreferredPod| (what(class, &one.term, false), sign * one.weight);
        let preferred = said.preferred_affinity.iter().map(weighted(1));
        let preferred = preferred.chain(said.preferred_anti_affinity.iter().map(weighted(-1)));
        let preferred = preferred.filter({
            let counted = self.preferred;
            move |_| counted
        });
        forbid
            .chain(required)
            .chain(preferred)
            .filter(|(_, amount)| *amount != 0)
    }
}

fn what(class: &Class, term: &PodTerm, forbids: bool) -> What {
    What {
        term: class.term(term),
        forbids,
    }
}

/// All that is carried, each once, by number.
#[derive(Debug, Default)]
pub struct Carried {
    all: Vec<What>,
    ids: Map<What, u32>,
    by_namespace: Map<u32, Vec<u32>>,
    general: Vec<u32>,
}

/// How much of what is carried somebody has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    of_namespace: usize,
    general: usize,
}

impl Carried {
    pub fn number(&mut self, what: What) -> u32 {
        if let Some(id) = self.ids.get(&what) {
            return *id;
        }
        let id = self.all.len() as u32;
        match what.term.who.one_namespace() {
            Some(namespace) => self.by_namespace.entry(namespace).or_default().push(id),
            None => self.general.push(id),
        }
        self.ids.insert(what.clone(), id);
        self.all.push(what);
        id
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn get(&self, id: u32) -> &What {
        &self.all[id as usize]
    }

    /// Where a look at all that may be about pods of a namespace ends now.
    pub fn end(&self, namespace: u32) -> Seen {
        Seen {
            of_namespace: self.by_namespace.get(&namespace).map_or(0, Vec::len),
            general: self.general.len(),
        }
    }

    /// What has come since a look and is about a class.
    pub fn about<'a>(&'a self, class: &'a Class, mirror: &'a Mirror, seen: Seen) -> impl Iterator<Item = u32> + 'a {
        let near = self.by_namespace.get(&class.said.namespace);
        let near = near.into_iter().flatten().skip(seen.of_namespace);
        let all = near.chain(self.general.iter().skip(seen.general)).copied();
        all.filter(|id| self.get(*id).term.who.means(class, mirror))
    }
}
