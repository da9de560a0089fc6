//! Numbers for texts, and nodes and classes said in them.
use super::super::{NodeShape, PodShape};
use crate::scheduler::types::{
    Amount, Effect, HostPort, Label, Named, Node, NodeTerm, Operator, PodClass, Protocol, Requirement, Resources,
    Taint, Toleration,
};
use std::collections::{BTreeMap, HashMap};

/// Texts that a policy is told before anything else.
const FIRST: [&str; 3] = [
    "kubernetes.io/hostname",
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/not-ready",
];

/// All texts, by their symbols.
#[derive(Clone, Debug)]
pub struct Words {
    texts: Vec<String>,
    symbols: HashMap<String, u32>,
}

impl Default for Words {
    fn default() -> Self {
        let mut words = Words {
            texts: vec![String::new()],
            symbols: HashMap::from([(String::new(), 0)]),
        };
        for text in FIRST {
            words.symbol(text);
        }
        words
    }
}

impl Words {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Those from a symbol on.
    pub fn from(&self, first: usize) -> Vec<Named> {
        let some = (0..).zip(&self.texts).skip(first);
        let named = |(symbol, text): (u32, &String)| Named {
            symbol,
            text: text.clone(),
        };
        some.map(named).collect()
    }

    /// The number of a text.
    pub fn symbol(&mut self, text: &str) -> u32 {
        if let Some(symbol) = self.symbols.get(text) {
            return *symbol;
        }
        let symbol = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        self.symbols.insert(text.to_owned(), symbol);
        symbol
    }

    pub fn text(&self, symbol: u32) -> &str {
        self.texts.get(symbol as usize).map_or("?", String::as_str)
    }

    pub fn known(&self, text: &str) -> u32 {
        self.symbols.get(text).copied().unwrap_or(u32::MAX)
    }

    /// A node in the contract's terms.
    pub fn node(&mut self, id: u32, shape: &NodeShape) -> Node {
        Node {
            id,
            name: self.symbol(&shape.name),
            allocatable: Resources {
                milli_cpu: shape.milli_cpu,
                memory: shape.memory,
                ephemeral_storage: shape.ephemeral_storage,
            },
            pods: shape.pods,
            extended: self.amounts(&shape.extended),
            labels: self.labels(&shape.labels),
            taints: shape
                .taints
                .iter()
                .map(|taint| Taint {
                    key: self.symbol(&taint.key),
                    value: self.symbol(&taint.value),
                    effect: effect(&taint.effect),
                })
                .collect(),
            images: Vec::new(),
            unschedulable: shape.unschedulable,
            ready: shape.ready,
        }
    }

    /// What is said of a class of such pods; without its number.
    pub fn class(&mut self, shape: &PodShape) -> PodClass {
        let terms: Vec<Requirement> = shape
            .node_affinity
            .iter()
            .map(|(key, values)| Requirement {
                key: self.symbol(key),
                operator: Operator::IsIn,
                values: values.iter().map(|value| self.symbol(value)).collect(),
            })
            .collect();
        let or = |amount: u64, least: u64| if amount == 0 { least } else { amount };
        PodClass {
            id: 0,
            namespace: self.symbol(&shape.namespace),
            labels: self.labels(&shape.labels),
            owner: self.symbol(&shape.owner),
            siblings: None,
            priority: shape.priority,
            may_preempt: true,
            requests: Resources {
                milli_cpu: shape.milli_cpu,
                memory: shape.memory,
                ephemeral_storage: shape.ephemeral_storage,
            },
            scored_cpu: or(shape.milli_cpu, 100),
            scored_memory: or(shape.memory, 200 << 20),
            extended: self.amounts(&shape.extended),
            ports: shape
                .host_ports
                .iter()
                .map(|port| HostPort {
                    port: *port,
                    protocol: Protocol::Tcp,
                    address: 0,
                })
                .collect(),
            node_selector: self.labels(&shape.node_selector),
            required_nodes: (!terms.is_empty()).then(|| {
                vec![NodeTerm {
                    expressions: terms,
                    fields: Vec::new(),
                }]
            }),
            preferred_nodes: Vec::new(),
            tolerations: shape
                .tolerations
                .iter()
                .map(|toleration| Toleration {
                    key: toleration.key.as_deref().map(|key| self.symbol(key)),
                    value: toleration.value.as_deref().map(|value| self.symbol(value)),
                    effect: toleration.effect.as_deref().map(effect),
                })
                .collect(),
            affinity: Vec::new(),
            anti_affinity: Vec::new(),
            preferred_affinity: Vec::new(),
            preferred_anti_affinity: Vec::new(),
            spread: Vec::new(),
            images: Vec::new(),
        }
    }

    fn labels(&mut self, texts: &BTreeMap<String, String>) -> Vec<Label> {
        let label = |(key, value): (&String, &String)| Label {
            key: self.symbol(key),
            value: self.symbol(value),
        };
        texts.iter().map(label).collect()
    }

    fn amounts(&mut self, texts: &BTreeMap<String, u64>) -> Vec<Amount> {
        let amount = |(name, amount): (&String, &u64)| Amount {
            name: self.symbol(name),
            amount: *amount,
        };
        texts.iter().map(amount).collect()
    }
}

/// As Kubernetes writes it; anything else is `NoSchedule`.
fn effect(text: &str) -> Effect {
    match text {
        "PreferNoSchedule" => Effect::PreferNoSchedule,
        "NoExecute" => Effect::NoExecute,
        _ => Effect::NoSchedule,
    }
}
