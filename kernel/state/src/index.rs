//! What is kept beside the objects to find things fast: dependents by owner, and the room taken on nodes.
use imbl::{HashMap, OrdSet};
use sampan_api::{Key, Object, quantity, quantity::Resources};
use serde::Deserialize;

/// The indexes; copying one costs nothing.
#[derive(Clone, Default)]
pub struct Index {
    dependents: HashMap<String, OrdSet<Key>>,
    usage: HashMap<String, Resources>,
    /// Where a pod counts, and how much.
    counted: HashMap<Key, (String, Resources)>,
}

impl Index {
    /// Takes in that the object under a key is another now, or none.
    pub fn change(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        let uids = |object: Option<&Object>| -> Vec<String> {
            object.iter().flat_map(|o| o.metadata.owner_references.iter().map(|owner| owner.uid.clone())).collect()
        };
        let (old, new) = (uids(before), uids(after));
        if old != new {
            for uid in old {
                let empty = self.dependents.get_mut(&uid).is_some_and(|keys| {
                    keys.remove(key);
                    keys.is_empty()
                });
                if empty {
                    self.dependents.remove(&uid);
                }
            }
            for uid in new {
                self.dependents.entry(uid).or_default().insert(key.clone());
            }
        }
        if &*key.resource == "pods" {
            self.count(key, after);
        }
    }

    fn count(&mut self, key: &Key, pod: Option<&Object>) {
        let counts_on = pod.filter(|pod| !is_finished(pod)).map(node_of).filter(|node| !node.is_empty());
        match (self.counted.get(key), &counts_on) {
            (Some((node, _)), Some(on)) if node == on => return,
            (None, None) => return,
            _ => {}
        }
        if let Some((node, amount)) = self.counted.remove(key) {
            let used = self.usage.get(&node).copied().unwrap_or_default().minus(amount);
            if used == Resources::default() { self.usage.remove(&node) } else { self.usage.insert(node, used) };
        }
        if let (Some(node), Some(pod)) = (counts_on, pod) {
            let amount = requests(pod);
            let used = self.usage.get(&node).copied().unwrap_or_default().plus(amount);
            self.usage.insert(node.clone(), used);
            self.counted.insert(key.clone(), (node, amount));
        }
    }

    /// The keys of what names this uid as an owner.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// What the pods on a node ask for together.
    pub fn usage(&self, node: &str) -> Resources {
        self.usage.get(node).copied().unwrap_or_default()
    }
}

/// The node a pod is bound to; empty if none.
pub fn node_of(pod: &Object) -> String {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Narrow {
        node_name: Option<String>,
    }
    pod.field::<Narrow>("spec").unwrap_or_default().node_name.unwrap_or_default()
}

/// Whether a pod has ended for good.
pub fn is_finished(pod: &Object) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Narrow {
        phase: Option<String>,
    }
    let phase = pod.field::<Narrow>("status").unwrap_or_default().phase;
    matches!(phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// What a pod asks for; one that cannot be read asks for being a pod.
pub fn requests(pod: &Object) -> Resources {
    let spec: k8s_openapi::api::core::v1::PodSpec = pod.field("spec").unwrap_or_default();
    quantity::pod_requests(&spec).unwrap_or(Resources { pods: 1, ..Resources::default() })
}
