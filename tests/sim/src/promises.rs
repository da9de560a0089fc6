//! What the state promises by itself: a pod is bound once, a node is not overfull, a slot has one plugin in force, an
//! operation acts once.
use crate::{failure::Failure, objects};
use sampan_api::{Object, Selection};
use sampan_state::{Event, EventKind, Snapshot};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Promises {
    /// Nodes by the pod's uid.
    bound: BTreeMap<String, String>,
    /// Which revision wrote a value.
    written: BTreeMap<u64, u64>,
    /// Which revision made an object for a client's operation.
    made: BTreeMap<String, u64>,
}

impl Promises {
    pub fn check(&mut self, event: &Event) -> Result<(), Failure> {
        if event.kind == EventKind::Deleted {
            return Ok(());
        }
        match &*event.key.resource {
            "pods" => self.check_pod(event),
            "configmaps" => {
                let value = objects::value_of(&event.object);
                let before = event.previous.as_deref().map(objects::value_of);
                if before == Some(value) {
                    return Ok(());
                }
                match self.written.insert(value, event.revision) {
                    Some(first) => Err(Failure::new(format!(
                        "a write acted twice: value {value} was written at revisions {first} and {}",
                        event.revision
                    ))),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn check_pod(&mut self, event: &Event) -> Result<(), Failure> {
        let (pod, revision) = (&event.object.metadata, event.revision);
        let maker = pod.labels.get("op").filter(|_| event.kind == EventKind::Added);
        if let Some(maker) = maker
            && let Some(first) = self.made.insert(maker.clone(), revision)
        {
            return Err(Failure::new(format!(
                "a create acted twice: {maker} made pods at revisions {first} and {revision}"
            )));
        }
        let node = objects::node_of(&event.object);
        let bound = self.bound.get(&pod.uid);
        if bound.is_some_and(|bound| *bound != node) {
            return Err(Failure::new(format!(
                "{} was bound twice: to {bound:?} and to {node}",
                event.key
            )));
        }
        if !node.is_empty() {
            self.bound.insert(pod.uid.clone(), node);
        }
        Ok(())
    }

    /// What must hold of the state at each index.
    pub fn check_state(&self, state: &Snapshot) -> Result<(), Failure> {
        let pods = Selection::of("pods");
        let mut used: BTreeMap<String, u64> = BTreeMap::new();
        for (_, pod) in state.list(&pods) {
            let node = objects::node_of(&pod);
            if !node.is_empty() {
                *used.entry(node).or_default() += 1;
            }
        }
        if let Some((node, count)) = used.iter().find(|(_, count)| **count > objects::PODS_OF_A_NODE) {
            return Err(Failure::new(format!(
                "node {node} has {count} pods, more than it takes"
            )));
        }
        let plugins = Selection::of(sampan_api::plugin::RESOURCE);
        let mut active: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, plugin) in state.list(&plugins) {
            let spec = spec_of(&plugin)?;
            if spec.mode == sampan_api::plugin::Mode::Active {
                active.entry(spec.slot).or_default().push(spec.digest);
            }
        }
        match active.iter().find(|(_, digests)| digests.len() != 1) {
            Some((slot, digests)) => Err(Failure::new(format!("slot {slot} has {digests:?} in force at once"))),
            None => Ok(()),
        }
    }
}

fn spec_of(plugin: &Object) -> Result<sampan_api::plugin::PluginSpec, Failure> {
    plugin
        .field("spec")
        .map_err(|error| Failure::new(format!("a plugin cannot be read: {error}")))
}
