//! The nodes: read from their objects, numbered, and how much is asked of each.
use super::{numbers::Numbers, symbols::Symbols};
use crate::policies::scheduling::reading::amounts::{self, Amounts, Demand};
use k8s_openapi::api::core::v1::{NodeSpec, NodeStatus};
use sampan_api::Object;
use sampan_sandbox::scheduler::{self as wire, MOST_LABELS, NODE_NUMBERS};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What a cordon and a missing readiness stand for, by the contract: defined before the first such node.
pub const CORDON: &str = "node.kubernetes.io/unschedulable";
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// A node as plugins are told of it.
#[derive(Debug)]
pub struct NodeEntry {
    pub wire: wire::Node,
    pub name: Arc<str>,
    /// What the pods there ask for.
    pub requested: Demand,
}

/// What became of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    None,
    New,
    /// It has more room; and perhaps other labels or taints.
    Roomier,
    /// Labels, taints, readiness or a cordon are others.
    Shape,
    /// Less room, other images.
    Less,
}

/// All nodes, by number and by name.
#[derive(Debug)]
pub struct Nodes {
    numbers: Numbers,
    by_name: HashMap<Arc<str>, u32>,
    /// In the order of their numbers, which is the order of equals.
    entries: BTreeMap<u32, NodeEntry>,
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes {
            numbers: Numbers::below(NODE_NUMBERS),
            by_name: HashMap::new(),
            entries: BTreeMap::new(),
        }
    }
}

impl Nodes {
    pub fn get(&self, id: u32) -> Option<&NodeEntry> {
        self.entries.get(&id)
    }

    pub fn number(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub fn all(&self) -> impl Iterator<Item = &NodeEntry> {
        self.entries.values()
    }

    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.entries.keys().copied()
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn told(&mut self) {
        self.numbers.told();
    }

    /// Takes in a node as it is now; its number (0 where there is none left), and what changed.
    pub fn put(&mut self, object: &Object, symbols: &mut Symbols) -> (u32, Change) {
        let name = object.metadata.name.as_str();
        let known = self.number(name);
        let Some(id) = known.or_else(|| self.numbers.give()) else {
            return (0, Change::None);
        };
        let wire = read(id, object, symbols);
        let Some(entry) = self.entries.get_mut(&id) else {
            let name: Arc<str> = name.into();
            self.by_name.insert(name.clone(), id);
            let requested = Demand::default();
            self.entries.insert(id, NodeEntry { wire, name, requested });
            return (id, Change::New);
        };
        let change = compare(&entry.wire, &wire);
        if change != Change::None {
            entry.wire = wire;
        }
        (id, change)
    }

    /// A node is gone; its number.
    pub fn remove(&mut self, name: &str) -> Option<u32> {
        let id = self.by_name.remove(name)?;
        self.entries.remove(&id);
        self.numbers.take_back(id);
        Some(id)
    }

    /// A pod takes room on a node, or gives it back.
    pub fn count_pod(&mut self, name: &str, asked: &wire::PodClass, takes: bool) {
        if let Some(id) = self.number(name)
            && let Some(entry) = self.entries.get_mut(&id)
        {
            entry.requested.count(asked, takes);
        }
    }
}

fn compare(old: &wire::Node, new: &wire::Node) -> Change {
    let shape = |node: &wire::Node| (node.unschedulable, node.ready);
    let more = |old: u64, new: u64| new > old;
    let (was, is) = (old.allocatable, new.allocatable);
    let roomier = more(was.milli_cpu, is.milli_cpu)
        || more(was.memory, is.memory)
        || more(was.ephemeral_storage, is.ephemeral_storage)
        || new.pods > old.pods
        || old.extended != new.extended;
    if old == new {
        Change::None
    } else if roomier {
        Change::Roomier
    } else if shape(old) != shape(new) || old.labels != new.labels || old.taints != new.taints {
        Change::Shape
    } else {
        Change::Less
    }
}

/// A node with more labels, taints or images than the contract has room for is one that takes nobody: it is as if cordoned.
fn read(id: u32, object: &Object, symbols: &mut Symbols) -> wire::Node {
    let spec: NodeSpec = object.field("spec").unwrap_or_default();
    let status: NodeStatus = object.field("status").unwrap_or_default();
    let has = Amounts::of(status.allocatable.or(status.capacity).unwrap_or_default()).unwrap_or_default();
    let ready = |c: &k8s_openapi::api::core::v1::NodeCondition| c.type_ == "Ready" && c.status == "True";
    let labels = &object.metadata.labels;
    let taints = spec.taints.unwrap_or_default();
    let too_much = labels.len() > MOST_LABELS || taints.len() > MOST_LABELS;
    let label = |(key, value): (&String, &String)| wire::Label {
        key: symbols.number(key),
        value: symbols.number(value),
    };
    let labels = labels.iter().take(MOST_LABELS).map(label).collect();
    let mut images: Vec<wire::Image> = Vec::new();
    for image in status.images.into_iter().flatten() {
        let kib = u32::try_from(image.size_bytes.unwrap_or_default().max(0) / 1024).unwrap_or(u32::MAX);
        for name in image
            .names
            .into_iter()
            .flatten()
            .take(MOST_LABELS.saturating_sub(images.len()))
        {
            let name = symbols.number(&amounts::image_name(&name));
            images.push(wire::Image { name, kib });
        }
    }
    wire::Node {
        id,
        name: symbols.number(&object.metadata.name),
        allocatable: has.resources,
        pods: has.pods,
        extended: has.extended(symbols),
        labels,
        taints: taints
            .iter()
            .take(MOST_LABELS)
            .map(|taint| wire::Taint {
                key: symbols.number(&taint.key),
                value: symbols.number(taint.value.as_deref().unwrap_or_default()),
                effect: effect(&taint.effect),
            })
            .collect(),
        images,
        unschedulable: spec.unschedulable.unwrap_or_default() || too_much,
        ready: status.conditions.iter().flatten().any(ready),
    }
}

pub fn effect(text: &str) -> wire::Effect {
    match text {
        "PreferNoSchedule" => wire::Effect::PreferNoSchedule,
        "NoExecute" => wire::Effect::NoExecute,
        _ => wire::Effect::NoSchedule,
    }
}
