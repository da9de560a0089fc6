//! Objects that are being deleted and wait for what belongs to them.
use super::{
    LOOK_AGAIN_MS, MOST_DELETIONS, NAMESPACE_FINALIZER, contents, delete, delete_all, dependents,
    owners::{State, state},
};
use sampan_sdk::{
    Value,
    controller::{Object, Plan, Snapshot},
    serde_json::json,
};

/// Dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";

/// Dependents stay and belong to nobody.
const ORPHAN: &str = "orphan";

/// What is left to do before it may go.
pub fn reconcile(object: &Object, snapshot: &dyn Snapshot) -> Plan {
    let waits_for = |finalizer: &str| object.finalizers().contains(&finalizer);
    if waits_for(ORPHAN) {
        let mut plan = Plan::default();
        dependents(object, snapshot)
            .iter()
            .for_each(|dependent| unlink(&mut plan, dependent, &[object.uid()]));
        release(&mut plan, object, ORPHAN);
        return plan;
    }
    if waits_for(FOREGROUND) {
        return foreground(object, snapshot);
    }
    if object.key.resource == "namespaces" && waits_for(NAMESPACE_FINALIZER) {
        return namespace(object, snapshot);
    }
    Plan::default()
}

fn foreground(object: &Object, snapshot: &dyn Snapshot) -> Plan {
    let mut plan = Plan::default();
    let dependents = dependents(object, snapshot);
    if !dependents.iter().any(|dependent| blocks(dependent, object)) {
        release(&mut plan, object, FOREGROUND);
        return plan;
    }
    for dependent in dependents
        .iter()
        .filter(|dependent| !dependent.is_deleting())
        .take(MOST_DELETIONS)
    {
        let others = dependent.owners().iter().filter(|owner| owner["uid"] != object.uid());
        let wanted = others
            .into_iter()
            .any(|owner| state(owner, dependent, snapshot) == State::Living);
        if wanted {
            unlink(&mut plan, dependent, &[object.uid()]);
        } else {
            delete(&mut plan, dependent, true, snapshot);
        }
    }
    plan.wake_up(&object.key, LOOK_AGAIN_MS);
    plan
}

/// Whether an owner must not go before this dependent.
fn blocks(dependent: &Object, owner: &Object) -> bool {
    dependent
        .owners()
        .iter()
        .any(|o| o["uid"] == owner.uid() && o["blockOwnerDeletion"] == true)
}

fn namespace(namespace: &Object, snapshot: &dyn Snapshot) -> Plan {
    let contents = contents(&namespace.key, snapshot);
    let mut plan = delete_all(&namespace.key, &contents, snapshot);
    if contents.is_empty() {
        release(&mut plan, namespace, NAMESPACE_FINALIZER);
    } else {
        plan.patch_status(namespace, json!({"phase": "Terminating"}));
    }
    plan
}

/// Takes owners out of an object's references.
pub fn unlink(plan: &mut Plan, object: &Object, uids: &[&str]) {
    let kept = |owner: &&Value| !owner["uid"].as_str().is_some_and(|uid| uids.contains(&uid));
    let owners: Vec<&Value> = object.owners().iter().filter(kept).collect();
    plan.patch(object, json!({"metadata": {"ownerReferences": owners}}));
}

/// Takes a finalizer away.
fn release(plan: &mut Plan, object: &Object, finalizer: &str) {
    let finalizers: Vec<&str> = object
        .finalizers()
        .into_iter()
        .filter(|known| *known != finalizer)
        .collect();
    plan.patch(object, json!({"metadata": {"finalizers": finalizers}}));
}
