//! The state at one revision, as a controller plugin reads it.
use sampan_api::{Key, Object, Selection};
use sampan_sandbox::controller::{Query, SnapshotReader};
use sampan_state::Snapshot;
use serde::Deserialize;
use std::sync::Arc;

/// A snapshot for one call.
pub struct Reader {
    snapshot: Snapshot,
}

impl Reader {
    pub fn new(snapshot: Snapshot) -> Self {
        Reader { snapshot }
    }

    /// By owner through the index where one is asked for, else by resource and namespace.
    fn select(&self, query: &Query) -> Vec<(Key, Arc<Object>)> {
        let selection = Selection {
            resource: query.resource.clone(),
            namespace: query.namespace.clone().unwrap_or_default(),
            ..Selection::default()
        };
        let has_labels = |object: &Object| {
            query
                .labels
                .iter()
                .all(|(key, value)| object.metadata.labels.get(key).is_some_and(|v| v == value))
        };
        let is_there = |object: &Object| query.on_node.as_ref().is_none_or(|node| is_on(object, node));
        let matches = |object: &Object| has_labels(object) && is_there(object);
        match &query.owner {
            Some(owner) => {
                let owned = self.snapshot.owned_by(owner).into_iter();
                owned
                    .filter(|(key, object)| selection.matches_key(key) && matches(object))
                    .collect()
            }
            None => self
                .snapshot
                .list(&selection)
                .filter(|(_, object)| matches(object))
                .collect(),
        }
    }
}

/// Whether it is a pod that is bound to a node; no more of its spec is read than that.
fn is_on(object: &Object, node: &str) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Spec {
        node_name: Option<String>,
    }
    let spec = object.fields.get("spec").map(|raw| raw.get()).unwrap_or_default();
    // Most are on other nodes, and are not read for that. A name may be written with escapes.
    if object.kind != "Pod" || !(spec.contains(node) || spec.contains('\\')) {
        return false;
    }
    let spec: Spec = serde_json::from_str(spec).unwrap_or_default();
    spec.node_name.is_some_and(|name| name == node)
}

impl SnapshotReader for Reader {
    fn revision(&self) -> u64 {
        self.snapshot.revision()
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.snapshot.get(key)
    }

    fn list(&self, query: &Query) -> Vec<(Key, Arc<Object>)> {
        self.select(query)
    }

    fn count(&self, query: &Query) -> u32 {
        u32::try_from(self.select(query).len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn pods_are_found_by_their_node() {
        let object = |kind: &str, spec: Value| {
            let manifest = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec});
            Object::from_value(&manifest).unwrap()
        };
        let containers = json!([{"name": "c", "image": "nodeName"}]);
        let bound = object("Pod", json!({"containers": containers, "nodeName": "n\u{e9}\"1"}));
        assert!(is_on(&bound, "n\u{e9}\"1") && !is_on(&bound, "n"));
        for other in [json!({"containers": containers}), json!({"nodeName": null}), json!(7)] {
            assert!(!is_on(&object("Pod", other), "n"));
        }
        assert!(!is_on(&object("ConfigMap", json!({"nodeName": "n"})), "n"));
    }
}
