//! What the scheduling loop reads of a pod.
use k8s_openapi::api::core::v1::{PodSpec, Toleration};
use sampan_api::{Key, Object, plugin::DEFAULT_SCHEDULER, quantity, quantity::Resources};
use std::collections::BTreeMap;

/// A pod as the scheduler sees it.
#[derive(Clone, Debug)]
pub struct PodView {
    pub key: Key,
    pub uid: String,
    /// Empty until it is bound.
    pub node: String,
    /// Succeeded or failed: takes no room any more.
    pub finished: bool,
    pub deleting: bool,
    pub scheduler: String,
    pub gated: bool,
    pub priority: i32,
    pub demands: Demands,
}

/// What decides where a pod can go. Pods with equal demands are of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Demands {
    pub requests: Resources,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Tolerance>,
}

/// A toleration; `None` matches all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tolerance {
    pub key: Option<String>,
    pub value: Option<String>,
    pub effect: Option<String>,
}

impl PodView {
    /// Reads a pod; one that cannot be read asks for nothing and is left to who validated it.
    pub fn of(key: &Key, object: &Object) -> Self {
        let spec: PodSpec = object.field("spec").unwrap_or_default();
        let phase = object.field_value("status")["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        PodView {
            key: key.clone(),
            uid: object.metadata.uid.clone(),
            finished: matches!(phase.as_str(), "Succeeded" | "Failed"),
            deleting: object.metadata.deletion_timestamp.is_some(),
            gated: spec.scheduling_gates.iter().any(|gates| !gates.is_empty()),
            priority: spec.priority.unwrap_or_default(),
            demands: Demands {
                requests: quantity::pod_requests(&spec).unwrap_or(Resources {
                    pods: 1,
                    ..Resources::default()
                }),
                node_selector: spec.node_selector.unwrap_or_default(),
                tolerations: spec.tolerations.into_iter().flatten().map(Tolerance::from).collect(),
            },
            node: spec.node_name.unwrap_or_default(),
            scheduler: spec
                .scheduler_name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| DEFAULT_SCHEDULER.into()),
        }
    }

    /// Waits for the scheduler of that name.
    pub fn waits_for(&self, scheduler: &str) -> bool {
        self.node.is_empty() && !self.finished && !self.deleting && !self.gated && self.scheduler == scheduler
    }

    /// Takes room on its node.
    pub fn counts(&self) -> bool {
        !self.node.is_empty() && !self.finished
    }
}

impl From<Toleration> for Tolerance {
    fn from(toleration: Toleration) -> Self {
        let exists = toleration.operator.as_deref() == Some("Exists");
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Tolerance {
            key: given(toleration.key),
            value: if exists {
                None
            } else {
                Some(toleration.value.unwrap_or_default())
            },
            effect: given(toleration.effect),
        }
    }
}
