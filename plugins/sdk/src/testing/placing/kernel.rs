//! The kernel's side of the contract: what there is, what a policy was told of it, and numbers for texts.
mod pieces;
mod words;

use super::{NodeShape, PodShape, Subject, check};
use crate::scheduler::{
    no_changes,
    types::{Bound, Changes, Namespace, Node, Nomination, Placement, Pod, PodClass},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use words::Words;

/// A pod that counts on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub node: u32,
    pub class: u32,
    pub start: u32,
    pub ending: bool,
}

/// What the kernel keeps.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    words: Words,
    pub nodes: BTreeMap<u32, Node>,
    numbers: HashMap<String, u32>,
    last_node: u32,
    told_nodes: BTreeSet<u32>,
    pub classes: BTreeMap<u32, PodClass>,
    class_ids: HashMap<PodClass, u32>,
    pub pods: BTreeMap<u32, Placed>,
    /// By node.
    there: BTreeMap<u32, BTreeSet<u32>>,
    pub nominations: BTreeMap<u32, Nomination>,
    namespaces: BTreeSet<u32>,
    revision: u64,
    untold: Untold,
}

/// What changed since the policy was told.
#[derive(Clone, Debug, Default)]
struct Untold {
    /// Symbols from this one on.
    symbols: usize,
    namespaces: BTreeSet<u32>,
    classes: BTreeSet<u32>,
    classes_gone: BTreeSet<u32>,
    nodes: BTreeSet<u32>,
    nodes_gone: BTreeSet<u32>,
    pods: BTreeSet<u32>,
    nominations: BTreeSet<u32>,
}

/// Between two revisions there is room for the calls in which one is told.
const STEP: u64 = 1 << 20;

impl Kernel {
    pub fn text(&self, symbol: u32) -> &str {
        self.words.text(symbol)
    }

    /// The symbol of a text; none of those that nodes have where it was never said.
    pub fn known(&self, text: &str) -> u32 {
        self.words.known(text)
    }

    /// A node's name, if there is such a node.
    pub fn name_of(&self, node: u32) -> Option<&str> {
        Some(self.text(self.nodes.get(&node)?.name))
    }

    pub fn node_number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// A node comes, or is another from now on.
    pub fn put_node(&mut self, shape: &NodeShape) -> u32 {
        let id = self.node_number(&shape.name).unwrap_or(self.last_node + 1);
        self.last_node = self.last_node.max(id);
        self.numbers.insert(shape.name.clone(), id);
        let node = self.words.node(id, shape);
        self.nodes.insert(id, node);
        self.untold.nodes.insert(id);
        id
    }

    /// A node goes, with all who are there.
    pub fn remove_node(&mut self, name: &str) {
        let Some(id) = self.numbers.remove(name) else { return };
        self.nodes.remove(&id);
        // Who counts there goes with it, without a word of each.
        for pod in self.there.remove(&id).unwrap_or_default() {
            self.pods.remove(&pod);
            self.untold.pods.remove(&pod);
        }
        self.nominations.retain(|_, nomination| nomination.node != id);
        self.untold.nodes.remove(&id);
        if self.told_nodes.remove(&id) {
            self.untold.nodes_gone.insert(id);
        }
    }

    /// The pods that count on a node.
    pub fn pods_on(&self, node: u32) -> impl Iterator<Item = (u32, &Placed)> {
        let there = self.there.get(&node).into_iter().flatten();
        there.filter_map(|pod| Some((*pod, self.pods.get(pod)?)))
    }

    /// The class of such pods, made if there is none.
    pub fn class(&mut self, shape: &PodShape) -> u32 {
        let said = self.words.class(shape);
        if let Some(id) = self.class_ids.get(&said) {
            return *id;
        }
        let id = self.classes.last_key_value().map_or(0, |(last, _)| *last) + 1;
        if self.namespaces.insert(said.namespace) {
            self.untold.namespaces.insert(said.namespace);
        }
        self.class_ids.insert(said.clone(), id);
        self.classes.insert(id, PodClass { id, ..said });
        self.untold.classes.insert(id);
        self.untold.classes_gone.remove(&id);
        id
    }

    /// A waiting pod as the policy is asked about it.
    pub fn waiting(&mut self, id: u32, shape: &PodShape) -> Pod {
        // A number that no node has: none.
        let none = u32::MAX;
        let pinned = shape.pinned.as_ref().map(|name| self.node_number(name).unwrap_or(none));
        Pod {
            id,
            class: self.class(shape),
            pinned: pinned.unwrap_or(0),
        }
    }

    /// A pod counts on a node from now on.
    pub fn bind(&mut self, pod: u32, placed: Placed) {
        self.nominations.remove(&pod);
        if let Some(old) = self.pods.insert(pod, placed) {
            self.there.entry(old.node).or_default().remove(&pod);
        }
        self.there.entry(placed.node).or_default().insert(pod);
        self.untold.pods.insert(pod);
    }

    /// A pod counts nowhere any more.
    pub fn release(&mut self, pod: u32) {
        if let Some(old) = self.pods.remove(&pod) {
            self.there.entry(old.node).or_default().remove(&pod);
            self.untold.pods.insert(pod);
        }
    }

    /// A pod waits for room on a node.
    pub fn nominate(&mut self, pod: &Pod, node: u32) {
        let (pod, class) = (pod.id, pod.class);
        self.nominations.insert(pod, Nomination { pod, node, class });
        self.untold.nominations.insert(pod);
    }

    /// A pod waits for room no more.
    pub fn drop_nomination(&mut self, pod: u32) {
        if self.nominations.remove(&pod).is_some() {
            self.untold.nominations.insert(pod);
        }
    }

    /// A pod is deleted and takes room until it is released.
    pub fn end(&mut self, pod: u32) {
        if let Some(placed) = self.pods.get_mut(&pod) {
            placed.ending = true;
            self.untold.pods.insert(pod);
        }
    }

    /// The classes that nobody is of go.
    pub fn forget_classes(&mut self, waiting: &[u32]) {
        let mut used: BTreeSet<u32> = self.pods.values().map(|placed| placed.class).collect();
        used.extend(self.nominations.values().map(|nomination| nomination.class));
        used.extend(waiting);
        let last = self.classes.last_key_value().map_or(0, |(last, _)| *last);
        let unused = |id: &u32| !used.contains(id) && *id != last;
        for id in self.classes.keys().copied().filter(unused).collect::<Vec<_>>() {
            self.classes.remove(&id);
            self.class_ids.retain(|_, known| *known != id);
            if !self.untold.classes.remove(&id) {
                self.untold.classes_gone.insert(id);
            }
        }
    }

    /// Whether there is something to tell.
    pub fn has_news(&self) -> bool {
        let untold = &self.untold;
        self.revision == 0
            || untold.symbols < self.words.len()
            || !(untold.namespaces.is_empty()
                && untold.classes.is_empty()
                && untold.classes_gone.is_empty()
                && untold.nodes.is_empty()
                && untold.nodes_gone.is_empty()
                && untold.pods.is_empty()
                && untold.nominations.is_empty())
    }

    /// Tells a policy what changed.
    ///
    /// # Errors
    /// If it does not follow.
    pub fn tell(&mut self, subject: &mut impl Subject) -> Result<(), String> {
        let untold = std::mem::take(&mut self.untold);
        self.untold.symbols = self.words.len();
        let base = self.revision;
        self.revision += STEP;
        self.told_nodes.extend(&untold.nodes);
        self.sync(subject, base, &untold)
    }

    /// Tells a policy everything, from nothing.
    ///
    /// # Errors
    /// If it does not follow.
    pub fn tell_all(&self, subject: &mut impl Subject) -> Result<(), String> {
        let all = Untold {
            symbols: 1,
            namespaces: self.namespaces.clone(),
            classes: self.classes.keys().copied().collect(),
            nodes: self.nodes.keys().copied().collect(),
            pods: self.pods.keys().copied().collect(),
            nominations: self.nominations.keys().copied().collect(),
            ..Untold::default()
        };
        self.sync(subject, 0, &all)
    }

    /// Brings a policy from `base` to where the kernel is, in as many calls as it takes.
    fn sync(&self, subject: &mut impl Subject, base: u64, untold: &Untold) -> Result<(), String> {
        let pieces = pieces::pieces(self.changes(untold));
        let (before, count, mut base) = (self.revision.saturating_sub(STEP), pieces.len() as u64, base);
        for (number, piece) in (1..).zip(pieces) {
            let next = if number == count {
                self.revision
            } else {
                before + number
            };
            subject.sync(base, next, piece)?;
            base = next;
        }
        Ok(())
    }

    fn changes(&self, untold: &Untold) -> Changes {
        let there = |pod: &&u32| self.pods.contains_key(pod);
        let bound = untold.pods.iter().filter_map(|pod| {
            let placed = self.pods.get(pod)?;
            Some(Bound {
                pod: *pod,
                node: placed.node,
                class: placed.class,
                start: placed.start,
            })
        });
        let ending = |pod: &&u32| self.pods.get(pod).is_some_and(|placed| placed.ending);
        Changes {
            // Symbol 0 is the empty text for everybody.
            symbols: self.words.from(untold.symbols.max(1)),
            namespaces: untold
                .namespaces
                .iter()
                .map(|name| Namespace {
                    name: *name,
                    labels: Vec::new(),
                })
                .collect(),
            classes: all(&untold.classes, &self.classes),
            nodes_gone: untold.nodes_gone.iter().copied().collect(),
            nodes: all(&untold.nodes, &self.nodes),
            released: untold.pods.iter().filter(|pod| !there(pod)).copied().collect(),
            bound: bound.collect(),
            ending: untold.pods.iter().filter(ending).copied().collect(),
            nominated: all(&untold.nominations, &self.nominations),
            nominated_no_more: untold
                .nominations
                .iter()
                .filter(|pod| !self.nominations.contains_key(pod))
                .copied()
                .collect(),
            classes_gone: untold.classes_gone.iter().copied().collect(),
            ..no_changes()
        }
    }

    /// Takes in an answer, as the policy itself did. What is wrong with it comes back; that is not carried out, and the
    /// policy hears so.
    pub fn take_in(&mut self, pods: &[Pod], placement: &Placement, start: u32) -> Vec<String> {
        let mut problems = check::form(pods, placement);
        if !problems.is_empty() {
            return problems;
        }
        for (pod, node) in pods.iter().zip(&placement.nodes) {
            self.untold.nominations.remove(&pod.id);
            self.nominations.remove(&pod.id);
            if *node == 0 {
                continue;
            }
            match check::bind(self, pod, *node) {
                Ok(()) => {
                    let class = pod.class;
                    let placed = Placed {
                        node: *node,
                        class,
                        start,
                        ending: false,
                    };
                    self.bind(pod.id, placed);
                }
                Err(problem) => {
                    problems.push(problem);
                    self.untold.pods.insert(pod.id);
                }
            }
        }
        for unplaced in placement.unplaced.iter().filter(|unplaced| unplaced.nominated != 0) {
            let pod = &pods[unplaced.pod as usize];
            if let Err(problem) = check::room_made(self, pod, unplaced) {
                problems.push(problem);
                continue;
            }
            unplaced.victims.iter().for_each(|victim| self.end(*victim));
            let (node, class) = (unplaced.nominated, pod.class);
            let priority = self.classes.get(&class).map_or(0, |class| class.priority);
            let classes = &self.classes;
            self.nominations.retain(|_, other| {
                let its = classes.get(&other.class).map_or(0, |class| class.priority);
                other.node != node || its >= priority
            });
            let pod = pod.id;
            self.nominations.insert(pod, Nomination { pod, node, class });
        }
        problems
    }
}

/// What is there of some numbers.
fn all<T: Clone>(numbers: &BTreeSet<u32>, of: &BTreeMap<u32, T>) -> Vec<T> {
    numbers.iter().filter_map(|number| of.get(number).cloned()).collect()
}
