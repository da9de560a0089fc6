//! What is asked of nodes for pods of a class, with everything looked up that can be looked up once.
//!
//! Classes that come to equal rules share them, so that pods of one Deployment, or of an indexed Job whose labels nobody
//! asks for, share an index too.
mod compile;

use crate::{
    counts::Seen,
    hashing::Map,
    mirror::{Class, Demand, Node},
    names::Names,
    select,
};
use sampan_sdk::scheduler::types::{Label, NodeTerm, PreferredNode, Rule, Toleration};
use std::{collections::BTreeSet, rc::Rc};

pub use compile::Compiler;

/// A required spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hard {
    pub counter: u32,
    pub key: u32,
    pub max_skew: i32,
    pub min_domains: usize,
    /// 1 if the pod itself is counted where it goes.
    pub own: i32,
}

/// A preferred spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Soft {
    pub counter: u32,
    pub key: u32,
    pub max_skew: i32,
    /// Over `kubernetes.io/hostname`: Kubernetes counts on each node alone then, whatever the policies.
    pub by_host: bool,
}

/// A counter, and the key to ask it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Near {
    pub counter: u32,
    pub key: u32,
}

/// What nearness to what a counter counts is worth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pull {
    pub near: Near,
    pub weight: i32,
}

/// The rules of a class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    pub priority: i32,
    pub demand: Demand,
    pub node_selector: Vec<Label>,
    pub required: Option<Vec<NodeTerm>>,
    pub preferred: Vec<PreferredNode>,
    pub tolerations: Vec<Toleration>,
    pub images: Vec<u32>,
    pub hard: Vec<Hard>,
    pub soft: Vec<Soft>,
    /// Nodes without the labels of all preferred constraints get no score for spreading.
    pub all_labels: bool,
    pub affinity: Vec<Near>,
    /// The pod is whom its own affinity wants: the first of its kind goes anywhere.
    pub affinity_own: bool,
    pub anti_affinity: Vec<Near>,
    pub existing: Vec<Near>,
    pub pulls: Vec<Pull>,
    /// More topology keys than an index can tell apart.
    pub many_keys: bool,
}

impl Rules {
    /// What is against a node whoever is there.
    pub fn against(&self, node: &Node, names: &Names) -> Option<Rule> {
        let required = self.required.as_deref();
        select::against(&self.tolerations, &self.node_selector, required, node, names)
    }

    /// The weights of preferred terms that a node fulfils.
    pub fn liked(&self, node: &Node, names: &Names) -> i64 {
        select::liked(&self.preferred, node, names)
    }

    pub fn disliked(&self, node: &Node) -> i64 {
        select::disliked(&self.tolerations, node)
    }

    /// Whether other pods have no say in where a pod may go.
    pub fn are_alone(&self) -> bool {
        self.hard.is_empty() && self.affinity.is_empty() && self.anti_affinity.is_empty() && self.existing.is_empty()
    }

    /// The rules without what other pods have to do with: those that several may have in common.
    pub fn ground(&self) -> Rules {
        Rules {
            hard: Vec::new(),
            soft: Vec::new(),
            all_labels: false,
            affinity: Vec::new(),
            affinity_own: false,
            anti_affinity: Vec::new(),
            existing: Vec::new(),
            pulls: Vec::new(),
            many_keys: false,
            ..self.clone()
        }
    }

    /// The topology keys that are looked at, each once.
    pub fn keys(&self) -> BTreeSet<u32> {
        let near = self.affinity.iter().chain(&self.anti_affinity).chain(&self.existing);
        let near = near
            .chain(self.pulls.iter().map(|pull| &pull.near))
            .map(|near| near.key);
        let spread = self.hard.iter().map(|hard| hard.key);
        near.chain(spread)
            .chain(self.soft.iter().map(|soft| soft.key))
            .collect()
    }

    /// The counters that say where a pod may go.
    pub fn filters(&self) -> Vec<u32> {
        let hard = self.hard.iter().map(|hard| hard.counter);
        let near = self.affinity.iter().chain(&self.anti_affinity).chain(&self.existing);
        hard.chain(near.map(|near| near.counter)).collect()
    }
}

/// All rules in use, by number.
#[derive(Default)]
pub struct Book {
    rules: Vec<Rc<Rules>>,
    ids: Map<Rc<Rules>, u32>,
    /// By class: what was compiled, and how much of what is carried it has seen.
    of_class: Vec<Option<Compiled>>,
    generation: u64,
}

#[derive(Clone, Copy)]
struct Compiled {
    rules: u32,
    seen: Seen,
    carried: usize,
}

impl Book {
    pub fn get(&self, rules: u32) -> Rc<Rules> {
        self.rules[rules as usize].clone()
    }

    /// Forgets what was compiled of a class.
    pub fn forget(&mut self, class: u32) {
        if let Some(compiled) = self.of_class.get_mut(class as usize) {
            *compiled = None;
        }
    }

    /// Forgets everything if the counters' numbers mean something else than before; whether it did.
    pub fn follow(&mut self, generation: u64) -> bool {
        let stale = self.generation != generation;
        if stale {
            *self = Book {
                generation,
                ..Book::default()
            };
        }
        stale
    }

    /// The number of a class's rules, where they are known and nothing has come since that could change them.
    pub fn known(&self, class: u32, carried: usize) -> Option<u32> {
        let compiled = self.of_class.get(class as usize)?.as_ref()?;
        (compiled.carried == carried).then_some(compiled.rules)
    }

    /// The number of a class's rules as of now.
    pub fn rules_of(&mut self, compiler: &mut Compiler<'_>, class: &Class) -> u32 {
        let place = class.said.id as usize;
        let (seen, carried) = compiler.carried_until(class);
        if let Some(Some(compiled)) = self.of_class.get_mut(place)
            && !compiler.concerned(class, compiled.seen)
        {
            (compiled.seen, compiled.carried) = (seen, carried);
            return compiled.rules;
        }
        let rules = compiler.compile(class);
        let id = match self.ids.get(&rules) {
            Some(id) => *id,
            None => {
                let id = self.rules.len() as u32;
                let rules = Rc::new(rules);
                self.rules.push(rules.clone());
                self.ids.insert(rules, id);
                id
            }
        };
        if self.of_class.len() <= place {
            self.of_class.resize(place + 1, None);
        }
        self.of_class[place] = Some(Compiled {
            rules: id,
            seen,
            carried,
        });
        id
    }

    pub fn len(&self) -> usize {
        self.rules.len()
    }
}
