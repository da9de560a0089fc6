//! Replacing and merging: what may change, what counts as a change, and who wins.
use crate::fixture::{World, config, key, node, object, refused};
use sampan_api::{Operation, Reason, Write};
use serde_json::json;

#[test]
fn generation_counts_changes_of_neither_metadata_nor_status() {
    let mut world = World::new();
    let n = key("nodes", "n");
    world.create(node("n", json!({}), "1", "10"));
    let mut generation = |patch, status: bool| {
        let operation = if status {
            Operation::MergeStatus(patch)
        } else {
            Operation::Merge(patch)
        };
        world.write(&n, operation).unwrap().objects[0]
            .as_ref()
            .unwrap()
            .metadata
            .generation
    };
    assert_eq!(generation(json!({"metadata": {"labels": {"a": "b"}}}), false), 1);
    assert_eq!(generation(json!({"status": {"phase": "Up"}}), true), 1);
    assert_eq!(generation(json!({"spec": {"unschedulable": true}}), false), 2);
    assert_eq!(
        generation(json!({"spec": {"unschedulable": true}}), false),
        2,
        "nothing changed"
    );
}

#[test]
fn a_write_that_changes_nothing_makes_no_revision_and_no_event() {
    let mut world = World::new();
    let made = world.create(config("a", json!({"x": "1"})));
    let same = [
        Operation::Replace(object(&config("a", json!({"x": "1"})))),
        Operation::Replace(object(
            &serde_json::from_str(
                r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{ "x" : "1" }}"#,
            )
            .unwrap(),
        )),
        Operation::Merge(json!({"data": {"x": "1", "y": null}})),
        Operation::MergeStatus(json!({})),
        Operation::Merge(json!({})),
    ];
    for operation in same {
        let applied = world.plans(vec![Write::new(key("configmaps", "a"), operation.clone()).into()]);
        let committed = applied.results[0].as_ref().unwrap();
        assert_eq!((committed.revision, applied.events.len()), (2, 0), "{operation:?}");
        assert_eq!(committed.objects[0].as_deref(), Some(&*made));
    }
}

#[test]
fn what_the_kernel_gave_cannot_be_replaced() {
    let mut world = World::new();
    let made = world.create(node("n", json!({}), "1", "10"));
    let mut next = object(&node("n", json!({"unschedulable": true}), "99", "99"));
    next.metadata.creation_timestamp = Some(sampan_api::time::Timestamp::from_millis(5_000));
    next.metadata.deletion_timestamp = Some(sampan_api::time::Timestamp::from_millis(5_000));
    next.metadata.generation = 40;
    let replaced = world
        .write(&key("nodes", "n"), Operation::Replace(next))
        .unwrap()
        .objects[0]
        .clone()
        .unwrap();
    assert_eq!(replaced.metadata.uid, made.metadata.uid);
    assert_eq!(replaced.metadata.creation_timestamp, made.metadata.creation_timestamp);
    assert_eq!(
        (replaced.metadata.deletion_timestamp, replaced.metadata.generation),
        (None, 2)
    );
    assert_eq!(
        replaced.field_value("status"),
        made.field_value("status"),
        "status is kept"
    );
    assert_eq!(replaced.field_value("spec")["unschedulable"], true);
}

#[test]
fn names_and_uids_of_another_object_are_refused() {
    let mut world = World::new();
    world.create(config("a", json!({})));
    let a = key("configmaps", "a");
    let other = Operation::Replace(object(&config("b", json!({}))));
    refused(world.write(&a, other), Reason::BadRequest, "cannot be changed");
    refused(
        world.write(&a, Operation::Merge(json!({"metadata": {"name": "b"}}))),
        Reason::BadRequest,
        "cannot be changed",
    );
    let mut stale = config("a", json!({}));
    stale["metadata"]["uid"] = "0".into();
    refused(
        world.write(&a, Operation::Replace(object(&stale))),
        Reason::Conflict,
        "uid",
    );
}

#[test]
fn status_writes_change_nothing_but_status() {
    let mut world = World::new();
    let made = world.create(node("n", json!({"podCIDR": "10.0.0.0/24"}), "1", "10"));
    let mut next = object(&node("n", json!({"podCIDR": "changed"}), "2", "20"));
    next.metadata.labels.insert("a".into(), "b".into());
    let after = world
        .write(&key("nodes", "n"), Operation::ReplaceStatus(next))
        .unwrap()
        .objects[0]
        .clone()
        .unwrap();
    assert_eq!(after.field_value("spec"), made.field_value("spec"));
    assert_eq!(after.metadata.labels, made.metadata.labels);
    assert_eq!(after.field_value("status")["allocatable"]["pods"], "20");
    let patch = json!({"status": {"phase": "Up"}, "spec": {"podCIDR": "changed"}, "metadata": {"labels": {"a": "b"}}});
    let after = world
        .write(&key("nodes", "n"), Operation::MergeStatus(patch))
        .unwrap()
        .objects[0]
        .clone()
        .unwrap();
    assert_eq!(after.field_value("spec"), made.field_value("spec"));
    assert_eq!(after.metadata.labels, made.metadata.labels);
    let status = after.field_value("status");
    assert_eq!(
        (&status["phase"], &status["allocatable"]["pods"]),
        (&json!("Up"), &json!("20")),
        "merged"
    );
}

#[test]
fn a_status_patch_without_a_status_leaves_it() {
    let mut world = World::new();
    let made = world.create(node("n", json!({}), "1", "10"));
    let after = world
        .write(&key("nodes", "n"), Operation::MergeStatus(json!({"spec": {}})))
        .unwrap();
    assert_eq!(after.objects[0].as_deref(), Some(&*made));
}

#[test]
fn a_stale_revision_is_a_conflict() {
    let mut world = World::new();
    world.create(config("a", json!({})));
    let a = key("configmaps", "a");
    let patch = |x: &str| Operation::Merge(json!({"data": {"x": x}}));
    world
        .plan(vec![Write::new(a.clone(), patch("1")).expecting(2)])
        .unwrap();
    for operation in [
        patch("2"),
        Operation::Delete(Default::default()),
        Operation::MergeStatus(json!({"status": 1})),
    ] {
        refused(
            world.plan(vec![Write::new(a.clone(), operation).expecting(2)]),
            Reason::Conflict,
            "at revision 3",
        );
    }
    // A replaced object carries the revision it was read at.
    let mut read = config("a", json!({"x": "3"}));
    read["metadata"]["resourceVersion"] = "2".into();
    refused(
        world.write(&a, Operation::Replace(object(&read))),
        Reason::Conflict,
        "at revision 3",
    );
    read["metadata"]["resourceVersion"] = "3".into();
    assert_eq!(world.write(&a, Operation::Replace(object(&read))).unwrap().revision, 4);
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut world = World::new();
    let a = key("configmaps", "a");
    for operation in [
        Operation::Replace(object(&config("a", json!({})))),
        Operation::ReplaceStatus(object(&config("a", json!({})))),
        Operation::Merge(json!({})),
        Operation::MergeStatus(json!({})),
        Operation::Delete(Default::default()),
    ] {
        refused(
            world.write(&a, operation),
            Reason::NotFound,
            "configmaps \"a\" not found",
        );
    }
}
