//! What is kept beside the objects to find things fast: dependents by owner, what nodes are like and the room taken on
//! them. All of it follows from the objects alone, so that a replica that read a checkpoint has the same.
use crate::{
    claims::{self, Claims},
    priority,
    room::Room,
    view::{NodeView, PodView, is_finished},
};
use imbl::{HashMap, OrdSet};
use sampan_api::{Key, Object};
use std::sync::Arc;

/// The indexes; copying one costs nothing.
#[derive(Clone, Default)]
pub struct Index {
    /// Whether each is being deleted, and the text that its keys share.
    namespaces: HashMap<Arc<str>, bool>,
    dependents: HashMap<String, OrdSet<Key>>,
    nodes: HashMap<Arc<str>, Arc<NodeView>>,
    usage: HashMap<String, Room>,
    /// Where a pod counts, and how much.
    counted: HashMap<Key, (String, Room)>,
    pub(crate) claims: Claims,
    /// The level of features in force.
    pub(crate) level: u64,
    /// The PriorityClasses that pods have which name none, the least first.
    pub(crate) default_classes: OrdSet<priority::Class>,
}

impl Index {
    /// Takes in that the object under a key is another now, or none.
    pub fn change(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        self.own(key, before, after);
        match &*key.resource {
            "pods" => self.count(key, before, after),
            claims::RESOURCE => self.claims.change(key, before, after),
            priority::CLASSES => priority::change(self, before, after),
            resource if (resource, &*key.name) == claims::CLUSTER => {
                let level = after.and_then(|cluster| cluster.field_value("status")["level"].as_u64());
                self.level = level.unwrap_or_default();
            }
            "namespaces" => match after {
                Some(namespace) => {
                    let ending = namespace.metadata.deletion_timestamp.is_some();
                    self.namespaces.insert(key.name.clone(), ending);
                }
                None => drop(self.namespaces.remove(&key.name)),
            },
            "nodes" => match after {
                Some(node) => drop(self.nodes.insert(key.name.clone(), Arc::new(NodeView::of(node)))),
                None => drop(self.nodes.remove(&key.name)),
            },
            _ => {}
        }
    }

    fn own<'a>(&mut self, key: &Key, before: Option<&'a Object>, after: Option<&'a Object>) {
        let owners = |object: Option<&'a Object>| object.map_or(&[][..], |object| &object.metadata.owner_references);
        let (old, new) = (owners(before), owners(after));
        if old == new {
            return;
        }
        for owner in old {
            let empty = self.dependents.get_mut(&owner.uid).is_some_and(|keys| {
                keys.remove(key);
                keys.is_empty()
            });
            if empty {
                self.dependents.remove(&owner.uid);
            }
        }
        for owner in new {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(key.clone());
        }
    }

    fn count(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        if let (Some(before), Some(after)) = (before, after) {
            let same = |name: &str| {
                before.fields.get(name).map(|raw| raw.get()) == after.fields.get(name).map(|raw| raw.get())
            };
            if same("spec") && (same("status") || is_finished(before) == is_finished(after)) {
                return;
            }
        }
        if let Some((node, amount)) = self.counted.remove(key) {
            let used = self.usage(&node).minus(&amount);
            if used == Room::default() {
                self.usage.remove(&node)
            } else {
                self.usage.insert(node, used)
            };
        }
        if let Some((node, amount)) = after.and_then(counts) {
            self.usage.insert(node.clone(), self.usage(&node).plus(&amount));
            self.counted.insert(key.clone(), (node, amount));
        }
    }

    /// Has a key share the text of its namespace with all others.
    pub fn share(&self, key: &mut Key) {
        if let Some((namespace, _)) = self.namespaces.get_key_value(&key.namespace) {
            key.namespace = namespace.clone();
        }
    }

    /// Whether a namespace is being deleted; none if it is not there.
    pub fn namespace(&self, name: &str) -> Option<bool> {
        self.namespaces.get(name).copied()
    }

    /// The keys of what names this uid as an owner.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// What a node is like.
    pub fn node(&self, name: &str) -> Option<Arc<NodeView>> {
        self.nodes.get(name).cloned()
    }

    /// What the pods on a node ask for together.
    pub fn usage(&self, node: &str) -> Room {
        self.usage.get(node).cloned().unwrap_or_default()
    }

    /// What a pod counts for on a node.
    pub fn counted(&self, pod: &Key, node: &str) -> Room {
        self.counted
            .get(pod)
            .filter(|(on, _)| on == node)
            .map(|(_, amount)| amount.clone())
            .unwrap_or_default()
    }
}

/// Where a pod takes room and how much: it is bound, and not finished.
pub fn counts(pod: &Object) -> Option<(String, Room)> {
    // Most that come have no node yet, and are not read for that. A name may be written with escapes.
    let names_a_node = |spec: &str| spec.contains("nodeName") || spec.contains('\\');
    pod.fields.get("spec").filter(|spec| names_a_node(spec.get()))?;
    let view = PodView::of(pod).ok()?;
    (!view.node.is_empty() && !is_finished(pod)).then_some((view.node, view.asks))
}
