//! From changes to keys: what a controller watches, and what a change means to it.
use super::choosers::Choosers;
use sampan_api::{Key, Object, Selection, kinds};
use sampan_sandbox::controller::{Mapping, Watch};
use sampan_state::{Event, EventKind, Snapshot};
use std::iter;

/// Every resource but events, which nobody reconciles.
const EVERY: &str = "*";

/// What a controller watches.
#[derive(Debug, Default)]
pub struct Interest {
    watches: Vec<Watch>,
    /// The resources that its own objects choose by labels.
    selects: Vec<String>,
    /// All of these, in order.
    resources: Vec<String>,
    choosers: Choosers,
}

impl Interest {
    pub fn new(watches: Vec<Watch>, selects: Vec<String>) -> Self {
        let watched = watches.iter().map(|watch| &watch.resource);
        let mut resources: Vec<String> = watched.chain(&selects).cloned().collect();
        resources.sort();
        resources.dedup();
        Interest {
            watches,
            selects,
            resources,
            choosers: Choosers::default(),
        }
    }

    /// The resources that matter, in order.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(String::as_str)
    }

    /// Takes in a change: the keys that it is about.
    pub fn keys(&mut self, event: &Event, snapshot: &Snapshot) -> Vec<Key> {
        let mut keys = Vec::new();
        if !self.selects.is_empty() && self.is_own(&event.key) {
            let object = (event.kind != EventKind::Deleted).then_some(&*event.object);
            self.choosers.learn(&event.key, object);
        }
        if self.selects.iter().any(|resource| **resource == *event.key.resource) {
            let now_and_before = iter::once(&event.object).chain(&event.previous);
            keys.extend(now_and_before.flat_map(|object| self.choosers.of(object)));
        }
        for watch in self.watches.iter().filter(|watch| wants(&watch.resource, &event.key)) {
            match watch.mapping {
                Mapping::Itself if watch.resource == EVERY && !hangs_on_others(&event.key, &event.object) => {}
                Mapping::Itself => keys.push(event.key.clone()),
                Mapping::Owner => {
                    keys.extend(self.owners(&event.key, &event.object));
                    keys.extend(event.previous.iter().flat_map(|object| self.owners(&event.key, object)));
                }
                Mapping::Dependents if event.kind == EventKind::Deleted || watch.resource != EVERY => {
                    keys.extend(
                        snapshot
                            .owned_by(&event.object.metadata.uid)
                            .into_iter()
                            .map(|(key, _)| key),
                    );
                }
                Mapping::Dependents => {}
            }
        }
        keys.sort();
        keys.dedup();
        keys
    }

    /// All keys there are, and those of what went as far as is remembered: what a controller starts with.
    pub fn all(&mut self, snapshot: &Snapshot) -> Vec<Key> {
        let mut keys = Vec::new();
        for watch in self.watches.iter().filter(|watch| watch.mapping == Mapping::Itself) {
            let selection = Selection::of(&watch.resource);
            let found = snapshot.list(&selection);
            let wanted = found
                .filter(|(key, object)| watch.resource != EVERY || (wants(EVERY, key) && hangs_on_others(key, object)));
            keys.extend(wanted.map(|(key, _)| key));
        }
        // Whoever led when they went may not have come to look after what they left.
        let past = snapshot.since(snapshot.compacted()).unwrap_or_default();
        let gone = past.iter().filter(|event| event.kind == EventKind::Deleted);
        keys.extend(gone.flat_map(|event| self.keys(event, snapshot)));
        // After them: what went may be there again.
        self.choosers = Choosers::default();
        if let Some(own) = self.own().map(Selection::of).filter(|_| !self.selects.is_empty()) {
            for (key, object) in snapshot.list(&own) {
                self.choosers.learn(&key, Some(&object));
            }
        }
        keys
    }

    /// The controller's own resource.
    fn own(&self) -> Option<&str> {
        let own = self.watches.iter().find(|watch| watch.mapping == Mapping::Itself);
        own.map(|watch| &*watch.resource)
    }

    fn is_own(&self, key: &Key) -> bool {
        self.own().is_some_and(|own| *own == *key.resource)
    }

    /// The owners that are of the controller's own resource.
    fn owners(&self, key: &Key, object: &Object) -> Vec<Key> {
        let Some(kind) = self.own().and_then(kinds::of_resource) else {
            return Vec::new();
        };
        let owners = object
            .metadata
            .owner_references
            .iter()
            .filter(|owner| owner.kind == kind.kind);
        let namespace = if kind.namespaced { &*key.namespace } else { "" };
        owners
            .map(|owner| Key::new(kind.resource, namespace, &owner.name))
            .collect()
    }
}

/// Whether a change of it can matter to who watches everything: it has owners, is going, or holds others.
fn hangs_on_others(key: &Key, object: &Object) -> bool {
    let meta = &object.metadata;
    !meta.owner_references.is_empty() || meta.deletion_timestamp.is_some() || &*key.resource == "namespaces"
}

fn wants(resource: &str, key: &Key) -> bool {
    if resource == EVERY {
        &*key.resource != "events"
    } else {
        *resource == *key.resource
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_api::{Operation, Plan, Write, plan::Deletion};
    use sampan_state::{Command, Store};
    use serde_json::json;

    fn object(kind: &str, namespace: &str, name: &str, spec: &serde_json::Value) -> Write {
        let kind = kinds::of_manifest("v1", kind).unwrap();
        let mut object = Object::new(kind, namespace, name).with_field("spec", spec);
        object.metadata.labels.insert("app".to_owned(), "web".to_owned());
        Write::new(Key::new(kind.resource, namespace, name), Operation::Create(object))
    }

    #[test]
    fn who_went_and_is_there_again_still_chooses() {
        let (mut store, mut index) = (Store::new("test"), 0);
        let mut commit = |write: Write| {
            index += 1;
            let plans = vec![Plan::from(write)];
            let applied = store.apply(
                index,
                Command {
                    plans,
                    ..Command::default()
                },
            );
            applied.results[0].as_ref().unwrap();
            (store.snapshot(), applied.events)
        };
        let web = json!({"selector": {"app": "web"}});
        commit(object("Namespace", "", "default", &json!({})));
        commit(object("Service", "default", "web", &web));
        let key = Key::new("services", "default", "web");
        commit(Write::new(key.clone(), Operation::Delete(Deletion::default())));
        let (then, _) = commit(object("Service", "default", "web", &web));
        let itself = Watch {
            resource: "services".to_owned(),
            mapping: Mapping::Itself,
        };
        let mut interest = Interest::new(vec![itself], vec!["pods".to_owned()]);
        assert!(interest.all(&then).contains(&key));
        let (now, events) = commit(object("Pod", "default", "p", &json!({"containers": []})));
        assert_eq!(interest.keys(&events[0], &now), [key]);
    }
}
