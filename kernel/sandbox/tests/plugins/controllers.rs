//! What controllers read, and what becomes of what they answer.
use crate::{CONTROLLER, ENGINE};
use sampan_api::{Key, Object, Operation, plugin::World};
use sampan_sandbox::{
    CallError, Limits,
    controller::{ControllerPlan, ControllerPlugin, Mapping, Query, SnapshotReader},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Two objects at revision 9.
struct Two;

fn object() -> Arc<Object> {
    let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"copy","namespace":"default","resourceVersion":"5"}}"#;
    Arc::new(Object::from_json(json.as_bytes()).unwrap())
}

impl SnapshotReader for Two {
    fn revision(&self) -> u64 {
        9
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        (&*key.name == "copy").then(object)
    }

    fn list(&self, query: &Query) -> Vec<(Key, Arc<Object>)> {
        assert_eq!(query.resource, "configmaps");
        vec![(key("copy"), object()), (key("other"), object())]
    }

    fn count(&self, _: &Query) -> u32 {
        2
    }
}

fn key(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

fn controller() -> ControllerPlugin {
    let limits = Limits::for_world(World::Controller);
    ENGINE
        .load(World::Controller, &CONTROLLER, &Value::Null, limits)
        .unwrap()
        .controller()
        .unwrap()
}

fn reconcile(name: &str) -> Result<ControllerPlan, CallError> {
    controller().reconcile(&[key(name)], Arc::new(Two), 1234)
}

#[test]
fn it_says_what_it_watches() {
    let mut controller = controller();
    let watches = controller.watches().unwrap();
    assert_eq!(watches.len(), 1);
    // It keeps the contract without what may be exported besides.
    assert_eq!(controller.selects().unwrap(), [""; 0]);
    assert_eq!(
        (watches[0].resource.as_str(), watches[0].mapping),
        ("configmaps", Mapping::Itself)
    );
}

#[test]
fn it_reads_the_snapshot_and_answers_a_plan() {
    let plan = reconcile("copy").unwrap();
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(plan.writes[0].key, key("copy"));
    assert_eq!(plan.writes[0].expect, 5);
    assert_eq!(
        plan.writes[0].operation,
        Operation::Merge(json!({ "data": { "seen": "2 2 9" } }))
    );
    assert_eq!(plan.wake_ups, [(key("copy"), Duration::from_millis(1500))]);
    assert_eq!(
        (plan.events[0].reason.as_str(), plan.events[0].message.as_str()),
        ("Seen", "at 1234")
    );
    assert!(plan.events[0].warning);
    let plan = reconcile("fresh").unwrap();
    assert!(matches!(&plan.writes[0].operation, Operation::Create(object) if object.metadata.name == "fresh"));
}

#[test]
fn its_refusal_leaves_it_as_it_was() {
    let mut plugin = controller();
    let error = plugin.reconcile(&[key("refuse")], Arc::new(Two), 0).unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(words) if words == "not now"),
        "{error}"
    );
    plugin.reconcile(&[key("copy")], Arc::new(Two), 0).unwrap();
}

#[test]
fn rubbish_is_told_by_what_it_is() {
    for (name, words) in [
        ("broken", "write 0 of its plan: the object is not valid JSON"),
        ("list", "the patch is no JSON object"),
        ("kind", "and its key"),
        ("elsewhere", "and its key"),
        ("coup", "policies do not decide about policies"),
        ("resource", "no resource \"gadgets\" is known"),
        ("many", "a plan of 20000 writes, 0 events and 0 wake-ups is too large"),
    ] {
        let mut plugin = controller();
        let error = plugin.reconcile(&[key(name)], Arc::new(Two), 0).unwrap_err();
        assert!(
            matches!(&error, CallError::Rubbish(said) if said.contains(words)),
            "{name}: {error}"
        );
        assert!(matches!(plugin.watches(), Err(CallError::Poisoned)), "{name}");
    }
}
