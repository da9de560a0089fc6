//! Objects that have owners: do these still live?
use super::{delete, ending};
use sampan_sdk::{
    Value,
    controller::{Key, Object, Plan, Snapshot},
};

/// An owner, as its dependent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Living,
    /// Being deleted, and its dependents before it.
    Waiting,
    /// Gone, or another object of the same name.
    Gone,
}

/// Deletes an object without a living owner; one with some forgets those that are gone.
pub fn reconcile(object: &Object, snapshot: &dyn Snapshot) -> Plan {
    let mut plan = Plan::default();
    let states: Vec<(&Value, State)> = object
        .owners()
        .iter()
        .map(|owner| (owner, state(owner, object, snapshot)))
        .collect();
    let gone: Vec<&str> = states
        .iter()
        .filter(|(_, state)| *state != State::Living)
        .filter_map(|(owner, _)| owner["uid"].as_str())
        .collect();
    if gone.is_empty() {
        return plan;
    }
    if gone.len() < states.len() {
        ending::unlink(&mut plan, object, &gone);
    } else {
        let foreground = states.iter().any(|(_, state)| *state == State::Waiting);
        delete(&mut plan, object, foreground, snapshot);
    }
    plan
}

/// How an owner is. One of a kind that is not known here lives: nothing is deleted on a guess.
pub fn state(owner: &Value, dependent: &Object, snapshot: &dyn Snapshot) -> State {
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let Some((resource, namespaced)) = resource(text("apiVersion"), text("kind")) else {
        return State::Living;
    };
    let namespace = if namespaced {
        dependent.key.namespace.as_str()
    } else {
        ""
    };
    match snapshot.get(&Key::new(resource, namespace, text("name"))) {
        Some(found) if found.uid() == text("uid") => {
            if found.is_deleting() && found.finalizers().contains(&ending::FOREGROUND) {
                State::Waiting
            } else {
                State::Living
            }
        }
        _ => State::Gone,
    }
}

/// The resource of a kind, and whether it lives in namespaces.
fn resource(api_version: &str, kind: &str) -> Option<(&'static str, bool)> {
    Some(match (api_version, kind) {
        ("apps/v1", "ReplicaSet") => ("replicasets.apps", true),
        ("apps/v1", "Deployment") => ("deployments.apps", true),
        ("batch/v1", "Job") => ("jobs.batch", true),
        ("v1", "Pod") => ("pods", true),
        ("v1", "Node") => ("nodes", false),
        ("v1", "Namespace") => ("namespaces", false),
        ("v1", "Service") => ("services", true),
        ("v1", "ConfigMap") => ("configmaps", true),
        ("v1", "Secret") => ("secrets", true),
        ("v1", "ServiceAccount") => ("serviceaccounts", true),
        ("sampan.dev/v1", "Plugin") => ("plugins.sampan.dev", false),
        _ => return None,
    })
}
