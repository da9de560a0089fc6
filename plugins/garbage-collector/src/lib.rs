//! The policy `garbage-collector`: what belongs to nobody any more goes, and what is being deleted takes along, or lets
//! go of, what belongs to it.
//!
//! - An object all of whose owners are gone is deleted (background deletion).
//! - An object that waits with the finalizer `foregroundDeletion` goes after its dependents.
//! - One with the finalizer `orphan` goes once its dependents have forgotten it.
//! - A namespace has the finalizer `kubernetes` and goes after all that is in it.
mod ending;
mod owners;

use sampan_sdk::{
    controller::{Controller, Description, Key, Object, Operation, Plan, Query, Snapshot, Watch, Write, description},
    serde_json::json,
};

/// Keeps a namespace until it is empty.
const NAMESPACE_FINALIZER: &str = "kubernetes";

/// Objects deleted in one plan; the rest in the next.
const MOST_DELETIONS: usize = 1000;

/// Milliseconds until what waits for others to go is looked at again.
const LOOK_AGAIN_MS: u64 = 250;

/// Deletes what belongs to nobody.
#[derive(Default)]
pub struct GarbageCollector;

impl Controller for GarbageCollector {
    fn describe() -> Description {
        description(
            "garbage-collector",
            env!("CARGO_PKG_VERSION"),
            "Deletes what belongs to nobody any more.",
        )
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("*"), Watch::Dependents("*")]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, _now_ms: u64) -> Result<Plan, String> {
        let Some(object) = snapshot.get(key) else {
            // Made in the moment in which their namespace went.
            let left = if key.resource == "namespaces" {
                contents(key, snapshot)
            } else {
                Vec::new()
            };
            return Ok(delete_all(key, &left, snapshot));
        };
        if object.is_deleting() {
            return Ok(ending::reconcile(&object, snapshot));
        }
        if key.resource == "namespaces" && !object.finalizers().contains(&NAMESPACE_FINALIZER) {
            let mut plan = Plan::default();
            let mut finalizers = object.finalizers();
            finalizers.push(NAMESPACE_FINALIZER);
            plan.patch(&object, json!({"metadata": {"finalizers": finalizers}}));
            return Ok(plan);
        }
        if object.owners().is_empty() {
            return Ok(Plan::default());
        }
        Ok(owners::reconcile(&object, snapshot))
    }
}

/// All that is read of those that are many.
const METADATA: &[&str] = &["metadata"];

/// All that is in a namespace.
fn contents(namespace: &Key, snapshot: &dyn Snapshot) -> Vec<Object> {
    snapshot.list(&Query::within("*", &namespace.name).only(METADATA))
}

/// All that names an object as an owner.
fn dependents(object: &Object, snapshot: &dyn Snapshot) -> Vec<Object> {
    snapshot.list(&Query::owned("*", object).only(METADATA))
}

/// Deletes what is not being deleted yet; looks again at `key` while there is more.
fn delete_all(key: &Key, objects: &[Object], snapshot: &dyn Snapshot) -> Plan {
    let mut plan = Plan::default();
    let living: Vec<&Object> = objects.iter().filter(|object| !object.is_deleting()).collect();
    for object in living.iter().take(MOST_DELETIONS) {
        delete(&mut plan, object, false, snapshot);
    }
    if !objects.is_empty() {
        let more = living.len() > MOST_DELETIONS;
        plan.wake_up(key, if more { 0 } else { LOOK_AGAIN_MS });
    }
    plan
}

/// Deletes an object as it was seen: one of the same name, made since, is another. In the foreground, its own dependents
/// go before it.
fn delete(plan: &mut Plan, object: &Object, foreground: bool, snapshot: &dyn Snapshot) {
    if foreground && snapshot.count(&Query::owned("*", object)) > 0 {
        let mut finalizers = object.finalizers();
        if !finalizers.contains(&ending::FOREGROUND) {
            finalizers.push(ending::FOREGROUND);
        }
        plan.patch(object, json!({"metadata": {"finalizers": finalizers}}));
    }
    plan.writes.push(Write {
        key: object.key.clone(),
        operation: Operation::Delete,
        expect: object.revision,
    });
}

sampan_sdk::export_controller!(GarbageCollector);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_cases() {
        sampan_sdk::testing::golden::<GarbageCollector>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }
}
