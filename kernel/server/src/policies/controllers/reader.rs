//! The state at one revision, as a controller plugin reads it.
use sampan_api::{Key, LabelSelector, Object, Selection};
use sampan_sandbox::controller::{Query, SnapshotReader};
use sampan_state::Snapshot;
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
            labels: LabelSelector::default(),
            ..Selection::default()
        };
        let has_labels = |object: &Object| {
            query
                .labels
                .iter()
                .all(|(key, value)| object.metadata.labels.get(key).is_some_and(|v| v == value))
        };
        match &query.owner {
            Some(owner) => {
                let owned = self.snapshot.owned_by(owner).into_iter();
                owned
                    .filter(|(key, object)| selection.matches_key(key) && has_labels(object))
                    .collect()
            }
            None => self
                .snapshot
                .list(&selection)
                .filter(|(_, object)| has_labels(object))
                .collect(),
        }
    }
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
