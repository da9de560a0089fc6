//! A plugin of the first edition behind the face of the second.
//!
//! It knows nodes and how much is asked of them, no pods; so which pod counts where is kept here. Rules that it has no words
//! for (affinity, spreading, ports) it does not keep. A pod that is pinned to a node is one with a node selector: each node
//! has a label more, whose key is the empty string and whose value is its name.
mod answer;
mod words;

use super::{
    FormerWorld, Named, Node, Placement, Pod, PodClass, PodGroup, Resources,
    v0_1::types as former,
    v0_2::types::{self as wire, Changes},
};
use crate::{CallError, Description, Figures, instance::Instance};
use std::collections::{HashMap, HashSet};
use words::{amounts, effect, label, taint, usage};

/// The taint that stands for a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// A plugin of the first edition, and what it cannot keep itself.
pub struct Adapter {
    instance: Instance<FormerWorld>,
    kept: Kept,
}

/// What is known of pods, classes and nodes.
#[derive(Default)]
struct Kept {
    classes: HashMap<u32, PodClass>,
    nodes: HashMap<u32, KeptNode>,
    /// Where a pod counts, and of which class it is.
    pods: HashMap<u32, (u32, u32)>,
    not_ready: u32,
    /// What the plugin is to be told with the next sync.
    pending: Vec<former::Delta>,
}

#[derive(Default)]
struct KeptNode {
    name: u32,
    requested: (u64, u64, u64),
    pods: HashSet<u32>,
}

impl Adapter {
    pub fn new(instance: Instance<FormerWorld>) -> Self {
        Adapter {
            instance,
            kept: Kept::default(),
        }
    }

    pub fn describe(&mut self) -> Result<Description, CallError> {
        self.instance.describe()
    }

    pub fn figures(&self) -> Figures {
        self.instance.guarded.figures()
    }

    pub fn sync(&mut self, base: u64, next: u64, changes: &Changes) -> Result<(), CallError> {
        if base == 0 {
            self.kept = Kept::default();
        }
        self.kept.take_in(changes);
        let deltas = std::mem::take(&mut self.kept.pending);
        let policy = self.instance.world.sampan_scheduler_policy();
        let told = self
            .instance
            .guarded
            .call(|store| policy.call_sync(store, base, next, &deltas))?;
        told.map_err(|words| self.instance.guarded.refused_for_good(words))
    }

    pub fn place(&mut self, pods: &[Pod], groups: &[PodGroup]) -> Result<Placement, CallError> {
        let (classes, waiting) = self.kept.question(pods);
        let policy = self.instance.world.sampan_scheduler_policy();
        let call = |store: &mut _| policy.call_place(store, &classes, &waiting);
        let placed = self.instance.guarded.call(call)?;
        if let Err(what) = check(pods, &placed) {
            return Err(self.instance.guarded.rubbish(what));
        }
        Ok(self.kept.answer(pods, groups, placed))
    }
}

fn check(pods: &[Pod], placed: &former::Placement) -> Result<(), String> {
    let (asked, answered) = (pods.len(), placed.nodes.len());
    if asked != answered {
        return Err(format!("{answered} nodes for {asked} pods"));
    }
    let without = placed.nodes.iter().filter(|node| **node == 0).count();
    if placed.refusals.len() != without {
        let reasons = placed.refusals.len();
        return Err(format!("{reasons} reasons for {without} pods without a node"));
    }
    Ok(())
}

impl Kept {
    fn take_in(&mut self, changes: &Changes) {
        for Named { symbol, text } in &changes.symbols {
            if text == NOT_READY {
                self.not_ready = *symbol;
            }
            self.pending.push(former::Delta::Symbol((*symbol, text.clone())));
        }
        for class in &changes.classes {
            self.put_class(class);
        }
        for id in &changes.nodes_gone {
            self.remove_node(*id);
        }
        for node in &changes.nodes {
            self.put_node(node);
        }
        for pod in &changes.released {
            self.release(*pod);
        }
        for bound in &changes.bound {
            let place = (bound.node, bound.class);
            if self.pods.get(&bound.pod) != Some(&place) {
                self.release(bound.pod);
                self.bind(bound.pod, place, true);
            }
        }
        for id in &changes.classes_gone {
            self.classes.remove(id);
        }
    }

    /// Pods of a class that is another now count for another amount.
    fn put_class(&mut self, class: &PodClass) {
        let before = self.classes.get(&class.id).map(|known| known.requests);
        let pods: Vec<(u32, (u32, u32))> = match before.is_some_and(|before| before != class.requests) {
            true => self
                .pods
                .iter()
                .filter(|(_, place)| place.1 == class.id)
                .map(|(pod, place)| (*pod, *place))
                .collect(),
            false => Vec::new(),
        };
        pods.iter().for_each(|(pod, _)| self.release(*pod));
        self.classes.insert(class.id, class.clone());
        pods.into_iter().for_each(|(pod, place)| self.bind(pod, place, true));
    }

    fn put_node(&mut self, node: &Node) {
        let kept = self.nodes.entry(node.id).or_default();
        kept.name = node.name;
        let (milli_cpu, memory, ephemeral_storage) = kept.requested;
        let pods = kept.pods.len() as u32;
        let own_name = former::Label {
            key: 0,
            value: node.name,
        };
        let said = former::Node {
            id: node.id,
            name: node.name,
            allocatable: amounts(node.allocatable, node.pods),
            requested: former::Resources {
                milli_cpu,
                memory,
                ephemeral_storage,
                pods,
            },
            labels: node.labels.iter().map(label).chain([own_name]).collect(),
            taints: node.taints.iter().map(taint).collect(),
            unschedulable: node.unschedulable,
            ready: node.ready,
        };
        self.pending.push(former::Delta::Node(said));
    }

    fn remove_node(&mut self, id: u32) {
        let Some(node) = self.nodes.remove(&id) else { return };
        for pod in node.pods {
            self.pods.remove(&pod);
        }
        self.pending.push(former::Delta::NodeGone(id));
    }

    /// A pod counts on a node. Where `tell`, the plugin does not know it yet.
    fn bind(&mut self, pod: u32, (node, class): (u32, u32), tell: bool) {
        let asked = self.asked(class);
        let Some(kept) = self.nodes.get_mut(&node) else { return };
        kept.pods.insert(pod);
        let (cpu, memory, storage) = &mut kept.requested;
        *cpu += asked.milli_cpu;
        *memory += asked.memory;
        *storage += asked.ephemeral_storage;
        self.pods.insert(pod, (node, class));
        if tell {
            let usage = usage(node, asked);
            self.pending.push(former::Delta::Bound(usage));
        }
    }

    fn release(&mut self, pod: u32) {
        let Some((node, class)) = self.pods.remove(&pod) else {
            return;
        };
        let asked = self.asked(class);
        let Some(kept) = self.nodes.get_mut(&node) else { return };
        kept.pods.remove(&pod);
        let (cpu, memory, storage) = &mut kept.requested;
        *cpu = cpu.saturating_sub(asked.milli_cpu);
        *memory = memory.saturating_sub(asked.memory);
        *storage = storage.saturating_sub(asked.ephemeral_storage);
        self.pending.push(former::Delta::Released(usage(node, asked)));
    }

    fn asked(&self, class: u32) -> Resources {
        const NOTHING: Resources = Resources {
            milli_cpu: 0,
            memory: 0,
            ephemeral_storage: 0,
        };
        self.classes.get(&class).map_or(NOTHING, |class| class.requests)
    }

    /// The pods, and their classes, each once; one that is pinned makes a class of its own.
    fn question(&self, pods: &[Pod]) -> (Vec<former::PodClass>, Vec<former::Pod>) {
        let mut classes: Vec<former::PodClass> = Vec::new();
        let mut places: HashMap<(u32, u32), u32> = HashMap::new();
        let waiting = pods.iter().map(|pod| {
            let class = *places.entry((pod.class, pod.pinned)).or_insert_with(|| {
                classes.push(self.class(pod));
                classes.len() as u32 - 1
            });
            former::Pod {
                class,
                priority: self.classes.get(&pod.class).map_or(0, |class| class.priority),
            }
        });
        let waiting = waiting.collect();
        (classes, waiting)
    }

    fn class(&self, pod: &Pod) -> former::PodClass {
        let known = self.classes.get(&pod.class);
        let name = match pod.pinned {
            0 => None,
            node => Some(self.nodes.get(&node).map_or(0, |node| node.name)),
        };
        let pinned = name.map(|value| former::Label { key: 0, value });
        former::PodClass {
            id: pod.class,
            requests: amounts(self.asked(pod.class), 1),
            node_selector: known
                .into_iter()
                .flat_map(|class| &class.node_selector)
                .map(label)
                .chain(pinned)
                .collect(),
            tolerations: known
                .into_iter()
                .flat_map(|class| &class.tolerations)
                .map(|toleration| former::Toleration {
                    key: toleration.key,
                    value: toleration.value,
                    effect: toleration.effect.map(effect),
                })
                .collect(),
        }
    }
}
