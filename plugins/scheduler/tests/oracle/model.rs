//! The cluster as the oracle keeps it: plain lists, looked through anew for every question.
use scheduler::types::{
    Bound, Budget, Changes, Label, Named, Namespace, Node, Nomination, Placement, Pod, PodClass, Requirement, Resources,
};
use std::collections::{BTreeMap, HashMap};

pub use sampan_sdk::scheduler::no_changes as nothing;

/// A pod that counts on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub node: u32,
    pub class: u32,
    pub start: u32,
    pub ending: bool,
}

/// Everything there is.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub texts: HashMap<u32, String>,
    pub namespaces: BTreeMap<u32, Vec<Label>>,
    pub nodes: BTreeMap<u32, Node>,
    pub classes: BTreeMap<u32, PodClass>,
    pub pods: BTreeMap<u32, Placed>,
    pub nominations: BTreeMap<u32, Nomination>,
    pub budgets: BTreeMap<u32, Budget>,
}

impl World {
    /// The symbol of a text, made if there is none.
    pub fn symbol(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(symbol) = self.known(text) {
            return symbol;
        }
        let symbol = self.texts.len() as u32 + 1;
        self.texts.insert(symbol, text.to_owned());
        symbol
    }

    pub fn known(&self, text: &str) -> Option<u32> {
        self.texts
            .iter()
            .find(|(_, known)| *known == text)
            .map(|(symbol, _)| *symbol)
    }

    pub fn label(&mut self, key: &str, value: &str) -> Label {
        Label {
            key: self.symbol(key),
            value: self.symbol(value),
        }
    }

    pub fn class_of(&self, pod: u32) -> &PodClass {
        &self.classes[&self.pods[&pod].class]
    }

    /// All of it, as a first sync.
    pub fn everything(&self) -> Changes {
        let mut symbols: Vec<_> = self.texts.iter().collect();
        symbols.sort();
        let named = |(symbol, text): (&u32, &String)| Named {
            symbol: *symbol,
            text: text.clone(),
        };
        let namespace = |(name, labels): (&u32, &Vec<Label>)| Namespace {
            name: *name,
            labels: labels.clone(),
        };
        let ending = self.pods.iter().filter(|(_, pod)| pod.ending);
        Changes {
            symbols: symbols.into_iter().map(named).collect(),
            namespaces: self.namespaces.iter().map(namespace).collect(),
            budgets: self.budgets.values().cloned().collect(),
            classes: self.classes.values().cloned().collect(),
            nodes: self.nodes.values().cloned().collect(),
            bound: self.pods.iter().map(|(pod, placed)| bound(*pod, placed)).collect(),
            ending: ending.map(|(pod, _)| *pod).collect(),
            nominated: self.nominations.values().cloned().collect(),
            ..nothing()
        }
    }

    /// Takes in an answer as the contract says a plugin does.
    pub fn take_in(&mut self, pod: &Pod, node: u32, nominated: u32, victims: &[u32]) {
        self.nominations.remove(&pod.id);
        if node != 0 {
            let (class, start) = (pod.class, 0);
            let ending = false;
            self.pods.insert(
                pod.id,
                Placed {
                    node,
                    class,
                    start,
                    ending,
                },
            );
        }
        for victim in victims {
            let class = self.class_of(*victim).clone();
            let covered = self.covering(*victim, &class);
            for id in covered {
                if let Some(budget) = self.budgets.get_mut(&id) {
                    budget.allowed -= 1;
                    budget.disrupted.push(*victim);
                }
            }
            if let Some(placed) = self.pods.get_mut(victim) {
                placed.ending = true;
            }
        }
        if nominated != 0 {
            let priority = self.classes[&pod.class].priority;
            let classes = &self.classes;
            self.nominations
                .retain(|_, other| other.node != nominated || classes[&other.class].priority >= priority);
            let (pod, class) = (pod.id, pod.class);
            let node = nominated;
            self.nominations.insert(pod, Nomination { pod, node, class });
        }
    }

    /// The budgets that an end of a pod counts against.
    pub fn covering(&self, pod: u32, class: &PodClass) -> Vec<u32> {
        let covers = |budget: &&Budget| {
            let selector = budget.selector.as_ref();
            !class.labels.is_empty()
                && budget.namespace == class.namespace
                && selector.is_some_and(|selector| self.selects(selector, &class.labels))
                && !budget.disrupted.contains(&pod)
        };
        self.budgets.values().filter(covers).map(|budget| budget.id).collect()
    }

    pub fn selects(&self, selector: &[Requirement], labels: &[Label]) -> bool {
        selector.iter().all(|requirement| {
            let label = labels.iter().find(|label| label.key == requirement.key);
            crate::filters::requirement_holds(self, requirement, label.map(|label| label.value))
        })
    }
}

pub fn bound(pod: u32, placed: &Placed) -> Bound {
    Bound {
        pod,
        node: placed.node,
        class: placed.class,
        start: placed.start,
    }
}

/// A node of the benchmarks' shape, ready and without labels.
pub fn node(id: u32) -> Node {
    Node {
        id,
        name: 0,
        allocatable: amounts(4000, 32 << 30, 0),
        pods: 110,
        extended: Vec::new(),
        labels: Vec::new(),
        taints: Vec::new(),
        images: Vec::new(),
        unschedulable: false,
        ready: true,
    }
}

/// A class of the benchmarks' shape, that asks for nothing else.
pub fn class(id: u32) -> PodClass {
    PodClass {
        id,
        namespace: 0,
        labels: Vec::new(),
        owner: 0,
        siblings: None,
        priority: 0,
        may_preempt: true,
        requests: amounts(100, 500 << 20, 0),
        scored_cpu: 100,
        scored_memory: 500 << 20,
        extended: Vec::new(),
        ports: Vec::new(),
        node_selector: Vec::new(),
        required_nodes: None,
        preferred_nodes: Vec::new(),
        tolerations: Vec::new(),
        affinity: Vec::new(),
        anti_affinity: Vec::new(),
        preferred_affinity: Vec::new(),
        preferred_anti_affinity: Vec::new(),
        spread: Vec::new(),
        images: Vec::new(),
    }
}

pub fn amounts(milli_cpu: u64, memory: u64, ephemeral_storage: u64) -> Resources {
    Resources {
        milli_cpu,
        memory,
        ephemeral_storage,
    }
}

pub fn pod(id: u32, class: u32) -> Pod {
    Pod { id, class, pinned: 0 }
}

/// What an answer says of one pod of a call: its node, or the node and the victims that make room.
pub fn said_of(placement: &Placement, pod: usize) -> (u32, u32, Vec<u32>) {
    let unplaced = placement.unplaced.iter().find(|unplaced| unplaced.pod as usize == pod);
    let (nominated, victims) = unplaced.map_or((0, Vec::new()), |unplaced| {
        (unplaced.nominated, unplaced.victims.clone())
    });
    (placement.nodes[pod], nominated, victims)
}
