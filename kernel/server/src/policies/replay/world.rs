//! A cluster as a scheduler was told of it, in the contract's words: what changes add up to, and what they are told from.
use crate::policies::scheduling::mirror::touched::{Parcels, Touched};
use sampan_sandbox::scheduler::{Bound, Budget, Changes, Effect, Namespace, Node, Nomination, PodClass, Resources};
use std::collections::BTreeMap;

/// The label that says a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// A pod that counts on a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    pub node: u32,
    pub class: u32,
    pub start: u32,
    pub ending: bool,
}

/// What is asked of a node.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub milli_cpu: u64,
    pub memory: u64,
    pub ephemeral_storage: u64,
    pub pods: u32,
    pub extended: BTreeMap<u32, u64>,
}

/// A cluster by numbers.
#[derive(Clone, Debug, Default)]
pub struct World {
    symbols: BTreeMap<u32, String>,
    namespaces: BTreeMap<u32, Namespace>,
    budgets: BTreeMap<u32, Budget>,
    classes: BTreeMap<u32, PodClass>,
    nodes: BTreeMap<u32, Node>,
    bound: BTreeMap<u32, Counted>,
    nominated: BTreeMap<u32, Nomination>,
    /// Kept with the bound pods.
    asked: BTreeMap<u32, Asked>,
}

impl Asked {
    /// With one pod more.
    pub fn add(&mut self, class: &PodClass) {
        self.change(class, u64::saturating_add);
        self.pods = self.pods.saturating_add(1);
    }

    fn take(&mut self, class: &PodClass) {
        self.change(class, u64::saturating_sub);
        self.pods = self.pods.saturating_sub(1);
    }

    fn change(&mut self, class: &PodClass, by: impl Fn(u64, u64) -> u64) {
        let Resources {
            milli_cpu,
            memory,
            ephemeral_storage,
        } = class.requests;
        self.milli_cpu = by(self.milli_cpu, milli_cpu);
        self.memory = by(self.memory, memory);
        self.ephemeral_storage = by(self.ephemeral_storage, ephemeral_storage);
        for one in &class.extended {
            let amount = self.extended.entry(one.name).or_default();
            *amount = by(*amount, one.amount);
        }
    }
}

impl World {
    /// Takes in changes, in the order that the contract says.
    pub fn apply(&mut self, changes: &Changes) {
        let named = changes.symbols.iter();
        self.symbols.extend(named.map(|one| (one.symbol, one.text.clone())));
        let named = changes.namespaces.iter();
        self.namespaces.extend(named.map(|one| (one.name, one.clone())));
        changes
            .namespaces_gone
            .iter()
            .for_each(|name| drop(self.namespaces.remove(name)));
        self.budgets
            .extend(changes.budgets.iter().map(|one| (one.id, one.clone())));
        changes.budgets_gone.iter().for_each(|id| drop(self.budgets.remove(id)));
        self.classes
            .extend(changes.classes.iter().map(|one| (one.id, one.clone())));
        for id in &changes.nodes_gone {
            self.nodes.remove(id);
            let there = self.bound.iter().filter(|(_, pod)| pod.node == *id);
            let there: Vec<u32> = there.map(|(pod, _)| *pod).collect();
            there.into_iter().for_each(|pod| self.release(pod));
            self.asked.remove(id);
        }
        self.nodes.extend(changes.nodes.iter().map(|one| (one.id, one.clone())));
        changes.released.iter().for_each(|pod| self.release(*pod));
        for one in &changes.bound {
            let counted = Counted {
                node: one.node,
                class: one.class,
                start: one.start,
                ending: false,
            };
            self.bind(one.pod, counted);
        }
        for pod in &changes.ending {
            if let Some(counted) = self.bound.get_mut(pod) {
                counted.ending = true;
            }
        }
        self.nominated
            .extend(changes.nominated.iter().map(|one| (one.pod, *one)));
        changes
            .nominated_no_more
            .iter()
            .for_each(|pod| self.nominate(*pod, None));
        changes.classes_gone.iter().for_each(|id| drop(self.classes.remove(id)));
    }

    /// A pod counts on a node.
    pub fn bind(&mut self, pod: u32, counted: Counted) {
        self.release(pod);
        if let Some(class) = self.classes.get(&counted.class) {
            self.asked.entry(counted.node).or_default().add(class);
        }
        self.bound.insert(pod, counted);
    }

    /// A pod counts nowhere.
    pub fn release(&mut self, pod: u32) {
        let Some(counted) = self.bound.remove(&pod) else { return };
        if let (Some(class), Some(asked)) = (self.classes.get(&counted.class), self.asked.get_mut(&counted.node)) {
            asked.take(class);
        }
    }

    /// A pod waits for room on a node; or does no more.
    pub fn nominate(&mut self, pod: u32, nomination: Option<Nomination>) {
        self.nominated.remove(&pod);
        self.nominated.extend(nomination.map(|nomination| (pod, nomination)));
    }

    pub fn bound(&self, pod: u32) -> Option<&Counted> {
        self.bound.get(&pod)
    }

    pub fn count_bound(&self) -> usize {
        self.bound.len()
    }

    pub fn nominations(&self) -> impl Iterator<Item = &Nomination> {
        self.nominated.values()
    }

    pub fn class(&self, id: u32) -> Option<&PodClass> {
        self.classes.get(&id)
    }

    pub fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// What the pods on a node ask for.
    pub fn asked_of(&self, node: u32) -> Asked {
        self.asked.get(&node).cloned().unwrap_or_default()
    }

    pub fn text(&self, symbol: u32) -> &str {
        self.symbols.get(&symbol).map_or("", String::as_str)
    }

    /// The number of a text, if it has one.
    pub fn symbol(&self, text: &str) -> Option<u32> {
        self.symbols
            .iter()
            .find(|(_, known)| *known == text)
            .map(|(symbol, _)| *symbol)
    }

    /// A node's name; empty for none.
    pub fn node_name(&self, id: u32) -> &str {
        self.nodes.get(&id).map_or("", |node| self.text(node.name))
    }

    /// The nodes' numbers, by name.
    pub fn by_name(&self) -> BTreeMap<&str, u32> {
        self.nodes
            .values()
            .map(|node| (self.text(node.name), node.id))
            .collect()
    }

    /// The zone that a node says it is in.
    pub fn zone(&self, node: &Node) -> Option<&str> {
        let label = node.labels.iter().find(|label| self.text(label.key) == ZONE)?;
        Some(self.text(label.value))
    }

    /// Whether a node takes pods that tolerate nothing in particular: it is ready, and neither cordoned nor tainted.
    pub fn takes_pods(node: &Node) -> bool {
        let forbids = |taint: &sampan_sandbox::scheduler::Taint| taint.effect != Effect::PreferNoSchedule;
        node.ready && !node.unschedulable && !node.taints.iter().any(forbids)
    }

    /// Everything, for a plugin that knows nothing.
    pub fn everything(&self) -> Vec<Changes> {
        let mut parcels = Parcels::default();
        for (symbol, text) in &self.symbols {
            parcels.next().symbols.push(sampan_sandbox::scheduler::Named {
                symbol: *symbol,
                text: text.clone(),
            });
        }
        self.namespaces
            .values()
            .for_each(|one| parcels.next().namespaces.push(one.clone()));
        self.budgets
            .values()
            .for_each(|one| parcels.next().budgets.push(one.clone()));
        self.classes
            .values()
            .for_each(|one| parcels.next().classes.push(one.clone()));
        self.nodes
            .values()
            .for_each(|one| parcels.next().nodes.push(one.clone()));
        let touched = Touched {
            pods: self.bound.keys().copied().collect(),
            nominations: self.nominated.keys().copied().collect(),
            ..Touched::default()
        };
        self.pods(&touched, &mut parcels);
        parcels.calls()
    }

    /// What brings a plugin that believes something else of these pods, nominations and budgets to what is so.
    pub fn anew(&self, touched: &Touched) -> Vec<Changes> {
        let mut parcels = Parcels::default();
        for id in &touched.budgets {
            if let Some(budget) = self.budgets.get(id) {
                parcels.next().budgets.push(budget.clone());
            }
        }
        self.pods(touched, &mut parcels);
        parcels.calls()
    }

    /// What may be believed otherwise after these were asked about: they, and where room may have been made, nominations and
    /// budgets.
    pub fn doubts(&self, pods: impl IntoIterator<Item = u32>, rooms: bool) -> Touched {
        let mut touched = Touched {
            pods: pods.into_iter().collect(),
            ..Touched::default()
        };
        if rooms {
            touched.nominations.clone_from(&touched.pods);
            touched.nominations.extend(self.nominated.keys());
            touched.budgets.extend(self.budgets.keys());
        }
        touched
    }

    fn pods(&self, touched: &Touched, parcels: &mut Parcels) {
        for pod in &touched.pods {
            let Some(counted) = self.bound.get(pod).filter(|pod| self.nodes.contains_key(&pod.node)) else {
                parcels.next().released.push(*pod);
                continue;
            };
            parcels.next().bound.push(Bound {
                pod: *pod,
                node: counted.node,
                class: counted.class,
                start: counted.start,
            });
            if counted.ending {
                parcels.next().ending.push(*pod);
            }
        }
        for pod in &touched.nominations {
            match self.nominated.get(pod) {
                Some(nomination) => parcels.next().nominated.push(*nomination),
                None => parcels.next().nominated_no_more.push(*pod),
            }
        }
    }
}
