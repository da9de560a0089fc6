//! How many pods of which kind there are in which part of the cluster, kept as pods come and go.
//!
//! A *counter* counts pods over one topology key: those that selectors choose, those of one owner, or those that carry a
//! term (an anti-affinity forbids, an affinity pulls). Counters are made when a class is placed that needs them, and are
//! shared by all rules that ask the same. A pod that comes changes the counters that its class adds to, and no other.
mod carried;
mod counter;
mod topology;

pub use carried::{Carried, Carries, Seen};
pub use counter::{Counter, Spec, Subject};
pub use topology::{NODE_KEY, NOWHERE, Reachable, Topology};

use crate::{
    hashing::Map,
    mirror::{Class, Mirror, Node},
};
use sampan_sdk::scheduler::cluster::Follows;

/// Counters at the most; beyond, all that was derived is made anew as it is needed.
const MOST_COUNTERS: usize = 1 << 15;

/// What one class adds to counters, and carries.
#[derive(Debug, Default)]
struct Share {
    /// Counter, and how much a pod of the class adds to it.
    adds: Vec<(u32, i32)>,
    /// What its pods carry, and how much of it.
    carries: Vec<(u32, i32)>,
}

/// All counters.
#[derive(Debug, Default)]
pub struct Counts {
    carries: Carries,
    pub topology: Topology,
    pub carried: Carried,
    counters: Vec<Counter>,
    ids: Map<Spec, u32>,
    /// Counters that are about pods of one namespace, and the others.
    by_namespace: Map<u32, Vec<u32>>,
    general: Vec<u32>,
    of_carried: Map<u32, Vec<u32>>,
    shares: Vec<Share>,
    /// How many classes and pods were looked at to make counters.
    pub work: usize,
    /// Rises when the numbers of counters and of what is carried lose their meaning.
    pub generation: u64,
}

impl Counts {
    /// Of a cluster of nothing.
    pub fn new(carries: Carries) -> Self {
        Counts {
            carries,
            ..Counts::default()
        }
    }

    pub fn get(&self, counter: u32) -> &Counter {
        &self.counters[counter as usize]
    }

    /// The counter for this, made if there is none.
    pub fn counter(&mut self, mirror: &Mirror, spec: Spec) -> u32 {
        if let Some(id) = self.ids.get(&spec) {
            return *id;
        }
        let id = self.counters.len() as u32;
        match (&spec.subject, spec.subject.one_namespace()) {
            (Subject::Carried(what), _) => self.of_carried.entry(*what).or_default().push(id),
            (_, Some(namespace)) => self.by_namespace.entry(namespace).or_default().push(id),
            _ => self.general.push(id),
        }
        self.ids.insert(spec.clone(), id);
        self.counters.push(Counter::new(spec));
        for class in mirror.classes() {
            self.enlist(mirror, class, id);
        }
        id
    }

    /// Lets a class add to a counter, with the pods it has.
    fn enlist(&mut self, mirror: &Mirror, class: &Class, id: u32) {
        self.work += 1;
        let share = &mut self.shares[class.said.id as usize];
        let counter = &mut self.counters[id as usize];
        let amount = match &counter.spec.subject {
            Subject::Carried(what) => {
                let mine = share.carries.iter().filter(|(carried, _)| carried == what);
                mine.map(|(_, amount)| amount).sum()
            }
            subject => i32::from(subject.means(class, mirror)),
        };
        if amount == 0 {
            return;
        }
        self.work += class.pods.len() / 4;
        share.adds.push((id, amount));
        for pod in &class.pods {
            if let Some(pod) = mirror.pod(*pod)
                && let Some(domain) = self.topology.counted_at(&counter.spec, pod.node, pod.ending)
            {
                counter.change(domain, amount);
            }
        }
    }

    /// What a pod of a class adds at a node: counters and amounts.
    pub fn adds_at(&self, class: u32, node: u32, ending: bool) -> impl Iterator<Item = (u32, i32)> + '_ {
        let adds = self.shares.get(class as usize).map_or(&[][..], |share| &share.adds);
        let counted = move |(counter, _): &&(u32, i32)| {
            let spec = &self.counters[*counter as usize].spec;
            self.topology.counted_at(spec, node, ending).is_some()
        };
        adds.iter().filter(counted).copied()
    }

    /// Whether pods of a class add to one of these counters.
    pub fn adds_to_any(&self, class: u32, counters: &[u32]) -> bool {
        let share = self.shares.get(class as usize);
        share.is_some_and(|share| share.adds.iter().any(|(counter, _)| counters.contains(counter)))
    }

    /// The lowest count of a counter over the parts of the cluster that the rule is about.
    pub fn least(&self, counter: u32) -> i32 {
        let counter = self.get(counter);
        counter.least(self.topology.domains(counter.spec.key, counter.spec.filter))
    }

    /// Makes a counter one that [`Counts::least`] may be asked of.
    pub fn order(&mut self, mirror: &Mirror, counter: u32) {
        let counter = &mut self.counters[counter as usize];
        counter.order();
        self.topology.reach(mirror, counter.spec.key, counter.spec.filter);
    }
}

impl Follows for Counts {
    fn class_added(&mut self, mirror: &Mirror, class: &Class) {
        let place = class.said.id as usize;
        if self.shares.len() <= place {
            self.shares.resize_with(place + 1, Share::default);
        }
        let carried: Vec<(u32, i32)> = self
            .carries
            .of(class)
            .map(|(what, amount)| (self.carried.number(what), amount))
            .collect();
        let mut counters = self.general.clone();
        counters.extend(self.by_namespace.get(&class.said.namespace).into_iter().flatten());
        let mut of_carried: Vec<u32> = carried
            .iter()
            .filter_map(|(what, _)| self.of_carried.get(what))
            .flatten()
            .copied()
            .collect();
        of_carried.sort_unstable();
        of_carried.dedup();
        counters.extend(of_carried);
        self.shares[place] = Share {
            adds: Vec::new(),
            carries: carried,
        };
        for counter in counters {
            self.enlist(mirror, class, counter);
        }
    }

    fn class_removed(&mut self, id: u32) {
        if let Some(share) = self.shares.get_mut(id as usize) {
            *share = Share::default();
        }
    }

    fn node_added(&mut self, node: &Node, mirror: &Mirror) {
        self.topology.node_added(node, &mirror.names);
    }

    fn node_removed(&mut self, node: &Node) {
        self.topology.node_removed(node);
    }

    fn pod(&mut self, class: u32, node: u32, ending: bool, times: i32) {
        let Some(share) = self.shares.get(class as usize) else {
            return;
        };
        for (id, amount) in &share.adds {
            let counter = &mut self.counters[*id as usize];
            if let Some(domain) = self.topology.counted_at(&counter.spec, node, ending) {
                counter.change(domain, amount * times);
            }
        }
    }

    fn pod_ending(&mut self, class: u32, node: u32, ending: bool) {
        let Some(share) = self.shares.get(class as usize) else {
            return;
        };
        let times = if ending { -1 } else { 1 };
        for (id, amount) in &share.adds {
            let counter = &mut self.counters[*id as usize];
            if !counter.spec.ending_too
                && let Some(domain) = self.topology.counted_at(&counter.spec, node, false)
            {
                counter.change(domain, amount * times);
            }
        }
    }

    fn crowded(&self) -> bool {
        self.counters.len() > MOST_COUNTERS || self.carried.len() > MOST_COUNTERS
    }

    fn start_anew(&mut self, mirror: &Mirror) {
        let generation = self.generation + 1;
        *self = Counts {
            carries: self.carries,
            generation,
            ..Counts::default()
        };
        for class in mirror.classes() {
            self.class_added(mirror, class);
        }
    }
}
