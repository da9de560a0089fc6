//! The controller `garbage-collector`: what belongs to something that is gone goes too, and namespaces are emptied.
use sampan_sdk::{
    controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// A namespace has it until it is empty.
const NAMESPACE: &str = "kubernetes";

/// Objects deleted in one plan at the most.
const AT_ONCE: usize = 500;

#[derive(Default)]
pub struct GarbageCollector;

impl Controller for GarbageCollector {
    fn describe() -> Description {
        description("garbage-collector", env!("CARGO_PKG_VERSION"), "Deletes what belongs to nothing any more.")
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("*"), Watch::Dependents("*")]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, _now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let Some(object) = snapshot.get(key) else { return Ok(plan) };
        if !object.is_deleting() {
            if is_abandoned(&object, snapshot) {
                plan.delete(&object);
            }
            return Ok(plan);
        }
        if object.finalizers().contains(&ORPHAN) {
            release(&mut plan, &object, snapshot);
        } else if object.finalizers().contains(&FOREGROUND) {
            dependents_first(&mut plan, &object, snapshot);
        } else if key.resource == "namespaces" && object.finalizers().contains(&NAMESPACE) {
            empty(&mut plan, &object, snapshot);
        }
        Ok(plan)
    }
}

/// Whether it has owners, and all of them are gone.
fn is_abandoned(object: &Object, snapshot: &dyn Snapshot) -> bool {
    let is_there = |owner: &sampan_sdk::Value| {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let resource = resource_of(text("kind"));
        // An owner of a kind that is not known here may be anywhere: leave it alone.
        let Some((resource, namespaced)) = resource else { return true };
        let namespace = if namespaced { object.key.namespace.as_str() } else { "" };
        let found = snapshot.get(&Key::new(resource, namespace, text("name")));
        found.is_some_and(|found| found.uid() == text("uid"))
    };
    !object.owners().is_empty() && !object.owners().iter().any(is_there)
}

/// The kinds that own: their resource, and whether they live in namespaces.
fn resource_of(kind: &str) -> Option<(&'static str, bool)> {
    Some(match kind {
        "Deployment" => ("deployments.apps", true),
        "ReplicaSet" => ("replicasets.apps", true),
        "Job" => ("jobs.batch", true),
        "Pod" => ("pods", true),
        "Service" => ("services", true),
        "ConfigMap" => ("configmaps", true),
        "Secret" => ("secrets", true),
        "Node" => ("nodes", false),
        "Namespace" => ("namespaces", false),
        _ => return None,
    })
}

fn without(object: &Object, finalizer: &str) -> sampan_sdk::Value {
    let left: Vec<&str> = object.finalizers().into_iter().filter(|known| *known != finalizer).collect();
    json!({"metadata": {"finalizers": if left.is_empty() { sampan_sdk::Value::Null } else { json!(left) }}})
}

/// Dependents stay, and belong to nobody.
fn release(plan: &mut Plan, owner: &Object, snapshot: &dyn Snapshot) {
    for dependent in snapshot.list(&Query::owned("*", owner)) {
        let left: Vec<_> = dependent.owners().iter().filter(|reference| reference["uid"] != owner.uid()).cloned().collect();
        plan.patch(&dependent, json!({"metadata": {"ownerReferences": if left.is_empty() { json!(null) } else { json!(left) }}}));
    }
    plan.patch(owner, without(owner, ORPHAN));
}

/// Dependents that block go first; then the owner may.
fn dependents_first(plan: &mut Plan, owner: &Object, snapshot: &dyn Snapshot) {
    let dependents = snapshot.list(&Query::owned("*", owner));
    let blocks = |dependent: &Object| {
        dependent.owners().iter().any(|reference| reference["uid"] == owner.uid() && reference["blockOwnerDeletion"] == true)
    };
    dependents.iter().filter(|dependent| !dependent.is_deleting()).take(AT_ONCE).for_each(|d| plan.delete(d));
    if dependents.iter().any(blocks) {
        // Their ends are seen by their own keys, not by the owner's: look again.
        plan.wake_up(&owner.key, 200);
    } else {
        plan.patch(owner, without(owner, FOREGROUND));
    }
}

/// Everything in a namespace goes; then the namespace may.
fn empty(plan: &mut Plan, namespace: &Object, snapshot: &dyn Snapshot) {
    let inside = snapshot.list(&Query::within("*", namespace.name()));
    inside.iter().filter(|object| !object.is_deleting()).take(AT_ONCE).for_each(|object| plan.delete(object));
    if inside.is_empty() {
        plan.patch(namespace, without(namespace, NAMESPACE));
    } else {
        plan.wake_up(&namespace.key, 200);
    }
}

sampan_sdk::export_controller!(GarbageCollector);

#[cfg(test)]
mod tests {
    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::GarbageCollector>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }
}
