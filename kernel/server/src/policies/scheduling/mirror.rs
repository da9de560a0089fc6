//! The nodes as the kernel tells plugins of them: numbered, interned, and counted.
use super::{
    pods::{Demands, PodView},
    symbols::Symbols,
};
use k8s_openapi::api::core::v1::{NodeSpec, NodeStatus};
use sampan_api::{Key, Object, quantity::Resources};
use sampan_sandbox::scheduler as wire;
use std::collections::{BTreeMap, HashMap};

/// At most so many classes are remembered; beyond, numbering starts anew with numbers never used before.
const MOST_CLASSES: usize = 4096;

/// What is known of nodes and of the pods that take room on them.
#[derive(Debug, Default)]
pub struct Mirror {
    symbols: Symbols,
    nodes: BTreeMap<String, wire::Node>,
    names: HashMap<u32, String>,
    /// Where a pod counts, and how much.
    counted: HashMap<Key, (String, Resources)>,
    classes: HashMap<Demands, u32>,
    next_node: u32,
    next_class: u32,
}

impl Mirror {
    /// Takes in a node as it is now. Nothing where nothing that matters changed.
    pub fn node(&mut self, object: &Object) -> Option<wire::Delta> {
        let name = object.metadata.name.clone();
        let (id, requested) = match self.nodes.get(&name) {
            Some(known) => (known.id, known.requested),
            None => {
                self.next_node += 1;
                (self.next_node, wire_resources(self.requested_on(&name)))
            }
        };
        let node = self.read_node(id, requested, object);
        if self.nodes.get(&name).is_some_and(|known| *known == node) {
            return None;
        }
        self.names.insert(id, name.clone());
        self.nodes.insert(name, node.clone());
        Some(wire::Delta::Node(node))
    }

    fn read_node(&mut self, id: u32, requested: wire::Resources, object: &Object) -> wire::Node {
        let spec: NodeSpec = object.field("spec").unwrap_or_default();
        let status: NodeStatus = object.field("status").unwrap_or_default();
        let amounts = status.allocatable.or(status.capacity).unwrap_or_default();
        let amounts = amounts
            .iter()
            .map(|(name, quantity)| (name.as_str(), quantity.0.as_str()));
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        let labels = object.metadata.labels.iter();
        wire::Node {
            id,
            name: self.symbols.number(&object.metadata.name),
            allocatable: wire_resources(Resources::from_quantities(amounts).unwrap_or_default()),
            requested,
            labels: labels
                .map(|(key, value)| wire::Label {
                    key: self.symbols.number(key),
                    value: self.symbols.number(value),
                })
                .collect(),
            taints: spec
                .taints
                .iter()
                .flatten()
                .map(|taint| wire::Taint {
                    key: self.symbols.number(&taint.key),
                    value: self.symbols.number(taint.value.as_deref().unwrap_or_default()),
                    effect: effect(&taint.effect),
                })
                .collect(),
            unschedulable: spec.unschedulable.unwrap_or_default(),
            ready,
        }
    }

    /// A node is gone.
    pub fn node_gone(&mut self, name: &str) -> Option<wire::Delta> {
        let node = self.nodes.remove(name)?;
        self.names.remove(&node.id);
        Some(wire::Delta::NodeGone(node.id))
    }

    /// Takes in where a pod counts now: on its node, or nowhere.
    pub fn pod(&mut self, key: &Key, counts_on: Option<(&str, Resources)>) -> Vec<wire::Delta> {
        let before = self.counted.get(key).map(|(node, amount)| (node.clone(), *amount));
        if before.as_ref().map(|(node, amount)| (node.as_str(), *amount)) == counts_on {
            return Vec::new();
        }
        let mut deltas = Vec::new();
        if let Some((node, amount)) = before {
            self.counted.remove(key);
            deltas.extend(self.add(&node, amount, false));
        }
        if let Some((node, amount)) = counts_on {
            self.counted.insert(key.clone(), (node.to_owned(), amount));
            deltas.extend(self.add(node, amount, true));
        }
        deltas
    }

    fn add(&mut self, node: &str, amount: Resources, bound: bool) -> Option<wire::Delta> {
        let node = self.nodes.get_mut(node)?;
        let requested = kernel_resources(node.requested);
        node.requested = wire_resources(if bound {
            requested.plus(amount)
        } else {
            requested.minus(amount)
        });
        let usage = wire::Usage {
            node: node.id,
            resources: wire_resources(amount),
        };
        Some(if bound {
            wire::Delta::Bound(usage)
        } else {
            wire::Delta::Released(usage)
        })
    }

    fn requested_on(&self, name: &str) -> Resources {
        let here = self.counted.values().filter(|(node, _)| node == name);
        here.fold(Resources::default(), |sum, (_, amount)| sum.plus(*amount))
    }

    /// Strings numbered since the last call; they go before the deltas that use them.
    pub fn new_symbols(&mut self) -> Vec<wire::Delta> {
        self.symbols.announce()
    }

    /// Everything, for a plugin that knows nothing.
    pub fn all(&self) -> Vec<wire::Delta> {
        let nodes = self.nodes.values().cloned().map(wire::Delta::Node);
        self.symbols.all().into_iter().chain(nodes).collect()
    }

    /// A waiting pod in the plugin's terms, numbered `id`.
    pub fn wire_pod(&mut self, id: u32, pod: &PodView) -> wire::Pod {
        let class = self.class(&pod.demands);
        let symbols = &mut self.symbols;
        let selector = pod.demands.node_selector.iter();
        wire::Pod {
            id,
            requests: wire_resources(pod.demands.requests),
            node_selector: selector
                .map(|(key, value)| wire::Label {
                    key: symbols.number(key),
                    value: symbols.number(value),
                })
                .collect(),
            tolerations: pod
                .demands
                .tolerations
                .iter()
                .map(|tolerance| wire::Toleration {
                    key: tolerance.key.as_deref().map(|key| symbols.number(key)),
                    value: tolerance.value.as_deref().map(|value| symbols.number(value)),
                    effect: tolerance.effect.as_deref().map(effect),
                })
                .collect(),
            priority: pod.priority,
            class,
        }
    }

    fn class(&mut self, demands: &Demands) -> u32 {
        if let Some(class) = self.classes.get(demands) {
            return *class;
        }
        if self.classes.len() >= MOST_CLASSES {
            self.classes.clear();
        }
        self.next_class += 1;
        self.classes.insert(demands.clone(), self.next_class);
        self.next_class
    }

    /// The name of a node that a plugin chose.
    pub fn node_name(&self, id: u32) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &wire::Node> {
        self.nodes.values()
    }
}

fn effect(text: &str) -> wire::Effect {
    match text {
        "PreferNoSchedule" => wire::Effect::PreferNoSchedule,
        "NoExecute" => wire::Effect::NoExecute,
        _ => wire::Effect::NoSchedule,
    }
}

/// From the kernel's amounts to the plugin's.
pub fn wire_resources(resources: Resources) -> wire::Resources {
    wire::Resources {
        milli_cpu: resources.milli_cpu,
        memory: resources.memory,
        ephemeral_storage: resources.ephemeral_storage,
        pods: resources.pods,
    }
}

/// From the plugin's amounts to the kernel's.
pub fn kernel_resources(resources: wire::Resources) -> Resources {
    Resources {
        milli_cpu: resources.milli_cpu,
        memory: resources.memory,
        ephemeral_storage: resources.ephemeral_storage,
        pods: resources.pods,
    }
}
