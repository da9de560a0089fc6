//! What a new pod is given: the priority of its class, and the word that its gates hold it.
use crate::fixture::{World, create, key, object, pod, refused};
use sampan_api::{Operation, Reason, Write, plan::Deletion};
use serde_json::{Value, json};

fn class(name: &str, value: i32, more: Value) -> Value {
    let mut class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
        "value": value});
    class
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().cloned().unwrap());
    class
}

fn class_key(name: &str) -> sampan_api::Key {
    key("priorityclasses.scheduling.k8s.io", name)
}

/// Priority, what it may do to others and the class of a new pod with this spec.
fn given(world: &mut World, name: &str, spec: Value) -> (Value, Value, Value) {
    let mut spec = world.create(pod(name, spec)).field_value("spec");
    let mut take = |field: &str| spec[field].take();
    (take("priority"), take("preemptionPolicy"), take("priorityClassName"))
}

fn of(value: i32, preemption: &str, name: &str) -> (Value, Value, Value) {
    (json!(value), json!(preemption), json!(name))
}

const NOTHING: (Value, Value, Value) = (Value::Null, Value::Null, Value::Null);

#[test]
fn a_class_says_the_priority() {
    let mut world = World::at_level(4);
    world.create(class("high", 1000, json!({})));
    world.create(class("meek", -5, json!({"preemptionPolicy": "Never"})));
    let containers = json!([{"name": "c", "image": "say \"priority\""}]);
    let spec = json!({"containers": containers, "priorityClassName": "high"});
    assert_eq!(given(&mut world, "a", spec), of(1000, "PreemptLowerPriority", "high"));
    let a = world.get(&key("pods", "a")).unwrap().field_value("spec");
    assert_eq!(a["containers"], containers, "the rest of the spec stays");
    let spec = json!({"priorityClassName": "meek", "priority": null});
    assert_eq!(given(&mut world, "b", spec), of(-5, "Never", "meek"));
    // What says the same itself may.
    let spec = json!({"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "PreemptLowerPriority"});
    assert_eq!(given(&mut world, "c", spec), of(1000, "PreemptLowerPriority", "high"));
    // Those of the system are there without an object.
    let spec = json!({"priorityClassName": "system-node-critical"});
    let critical = of(2_000_001_000, "PreemptLowerPriority", "system-node-critical");
    assert_eq!(given(&mut world, "d", spec), critical);
    assert_eq!(given(&mut world, "e", json!({})), NOTHING);
    assert_eq!(
        given(&mut world, "f", json!({"priorityClassName": "", "priority": 0})).0,
        json!(0)
    );
}

#[test]
fn what_contradicts_the_class_is_forbidden() {
    let mut world = World::at_level(4);
    world.create(class("high", 1000, json!({})));
    for (spec, words) in [
        (
            json!({"priorityClassName": "hihg"}),
            "pods \"p\" is forbidden: no PriorityClass with name hihg was found",
        ),
        (
            json!({"priorityClassName": "high", "priority": 7}),
            "the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000",
        ),
        (json!({"priority": 7}), "computed 0 from the given PriorityClass name"),
        (
            json!({"priorityClassName": "high", "preemptionPolicy": "Never"}),
            "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller \
             computed PreemptLowerPriority",
        ),
        (json!({"preemptionPolicy": "Never"}), "computed PreemptLowerPriority"),
    ] {
        refused(world.try_create(pod("p", spec)), Reason::Forbidden, words);
    }
    // Of two of a name nobody knows which one others would read.
    let mut twice = object(&pod("p", json!({})));
    let text = r#"{"priority":0,"priority":9}"#.to_owned();
    twice
        .fields
        .set("spec", serde_json::value::RawValue::from_string(text).unwrap());
    let write = Write::new(key("pods", "p"), Operation::Create(twice));
    refused(world.plan(vec![write]), Reason::Invalid, "pods \"p\" is invalid");
}

#[test]
fn of_several_defaults_the_least_is_given() {
    let mut world = World::at_level(4);
    world.create(class("b", 20, json!({"globalDefault": true})));
    world.create(class(
        "a",
        30,
        json!({"globalDefault": true, "preemptionPolicy": "Never"}),
    ));
    world.create(class("c", 10, json!({})));
    assert_eq!(given(&mut world, "p", json!({})), of(20, "PreemptLowerPriority", "b"));
    world
        .write(&class_key("b"), Operation::Merge(json!({"globalDefault": false})))
        .unwrap();
    assert_eq!(given(&mut world, "q", json!({"containers": []})), of(30, "Never", "a"));
    // Those of the same plan count.
    let default = Operation::Merge(json!({"globalDefault": true}));
    let writes = vec![
        Write::new(class_key("a"), Operation::Delete(Deletion::default())),
        Write::new(class_key("c"), default),
        create(pod("r", json!({}))),
    ];
    world.plan(writes).unwrap();
    let spec = world.get(&key("pods", "r")).unwrap().field_value("spec");
    assert_eq!(spec["priorityClassName"], "c");
    world
        .write(&class_key("c"), Operation::Delete(Deletion::default()))
        .unwrap();
    assert_eq!(given(&mut world, "s", json!({})), NOTHING);
}

#[test]
fn gates_are_said_and_hold_against_bindings() {
    let mut world = World::at_level(4);
    world.create(crate::fixture::node("n", json!({}), "2", "3"));
    let gated = world.create(pod("p", json!({"schedulingGates": [{"name": "example.com/a"}]})));
    let condition = gated.field_value("status")["conditions"][0].clone();
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"]),
        (&json!("PodScheduled"), &json!("False"), &json!("SchedulingGated"))
    );
    let to = || {
        Operation::Bind(sampan_api::plan::Binding {
            node: "n".into(),
            policy: "x".into(),
        })
    };
    refused(
        world.write(&key("pods", "p"), to()),
        Reason::Conflict,
        "scheduling gates",
    );
    world
        .write(
            &key("pods", "p"),
            Operation::Merge(json!({"spec": {"schedulingGates": []}})),
        )
        .unwrap();
    world.write(&key("pods", "p"), to()).unwrap();
    let free = world.create(pod("q", json!({"schedulingGates": []})));
    assert_eq!(free.field_value("status"), json!({"phase": "Pending"}));
}

#[test]
fn while_a_build_is_there_that_knows_nothing_of_it_pods_stay_as_they_are() {
    let mut world = World::at_level(3);
    world.create(class("high", 1000, json!({"globalDefault": true})));
    let spec = json!({"priority": 7, "schedulingGates": [{"name": "a"}]});
    let made = world.create(pod("p", spec.clone()));
    assert_eq!(made.field_value("spec"), spec);
    assert_eq!(made.field_value("status"), json!({"phase": "Pending"}));
    world.create(pod("q", json!({"priorityClassName": "nobody"})));
}
