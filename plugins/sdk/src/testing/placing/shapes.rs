//! Nodes and pods as people write them: with texts, and with what matters alone.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeShape {
    pub name: String,
    pub milli_cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub ephemeral_storage: u64,
    /// How many pods it takes.
    pub pods: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extended: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<TaintShape>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unschedulable: bool,
    pub ready: bool,
}

/// A taint: `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaintShape {
    pub key: String,
    pub value: String,
    pub effect: String,
}

/// A toleration; what is not given matches everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TolerationShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PodShape {
    pub namespace: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The uid of what it belongs to; empty for nobody.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    pub priority: i32,
    pub milli_cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub ephemeral_storage: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extended: BTreeMap<String, u64>,
    /// Host ports, TCP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Labels of the node, one of whose values it must have: a required node affinity.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_affinity: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<TolerationShape>,
    /// The only node that will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
}

impl Default for NodeShape {
    fn default() -> Self {
        NodeShape {
            name: String::new(),
            milli_cpu: 4000,
            memory: 32 << 30,
            ephemeral_storage: 100 << 30,
            pods: 110,
            extended: BTreeMap::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            unschedulable: false,
            ready: true,
        }
    }
}

impl Default for PodShape {
    fn default() -> Self {
        PodShape {
            namespace: "default".to_owned(),
            labels: BTreeMap::new(),
            owner: String::new(),
            priority: 0,
            milli_cpu: 100,
            memory: 500 << 20,
            ephemeral_storage: 0,
            extended: BTreeMap::new(),
            host_ports: Vec::new(),
            node_selector: BTreeMap::new(),
            node_affinity: BTreeMap::new(),
            tolerations: Vec::new(),
            pinned: None,
        }
    }
}

/// A ready node of 4 CPUs and 32 GiB that takes 110 pods.
pub fn node(name: &str) -> NodeShape {
    NodeShape {
        name: name.to_owned(),
        ..NodeShape::default()
    }
}

/// A pod of nobody that asks for 100m and 500Mi.
pub fn pod() -> PodShape {
    PodShape::default()
}

impl NodeShape {
    #[must_use]
    pub fn milli_cpu(self, milli_cpu: u64) -> Self {
        NodeShape { milli_cpu, ..self }
    }

    #[must_use]
    pub fn memory(self, memory: u64) -> Self {
        NodeShape { memory, ..self }
    }

    /// How many pods it takes.
    #[must_use]
    pub fn pods(self, pods: u32) -> Self {
        NodeShape { pods, ..self }
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With the effect `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[must_use]
    pub fn taint(mut self, key: &str, value: &str, effect: &str) -> Self {
        let [key, value, effect] = [key, value, effect].map(str::to_owned);
        self.taints.push(TaintShape { key, value, effect });
        self
    }

    #[must_use]
    pub fn cordoned(self) -> Self {
        NodeShape {
            unschedulable: true,
            ..self
        }
    }
}

impl PodShape {
    #[must_use]
    pub fn milli_cpu(self, milli_cpu: u64) -> Self {
        PodShape { milli_cpu, ..self }
    }

    #[must_use]
    pub fn memory(self, memory: u64) -> Self {
        PodShape { memory, ..self }
    }

    #[must_use]
    pub fn priority(self, priority: i32) -> Self {
        PodShape { priority, ..self }
    }

    /// Of the ReplicaSet with this uid.
    #[must_use]
    pub fn owner(self, owner: &str) -> Self {
        PodShape {
            owner: owner.to_owned(),
            ..self
        }
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Only on nodes with this label.
    #[must_use]
    pub fn on(mut self, key: &str, value: &str) -> Self {
        self.node_selector.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Tolerates the taints with this key.
    #[must_use]
    pub fn tolerates(mut self, key: &str) -> Self {
        self.tolerations.push(TolerationShape {
            key: Some(key.to_owned()),
            ..TolerationShape::default()
        });
        self
    }

    #[must_use]
    pub fn host_port(mut self, port: u32) -> Self {
        self.host_ports.push(port);
        self
    }

    /// To that node or none.
    #[must_use]
    pub fn pinned(self, node: &str) -> Self {
        PodShape {
            pinned: Some(node.to_owned()),
            ..self
        }
    }
}
