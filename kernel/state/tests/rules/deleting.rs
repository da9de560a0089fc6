//! Deleting: at once, after a grace period, or when the last finalizer goes.
use crate::fixture::{START_MS, World, asking, config, key, node, refused};
use sampan_api::{
    Key, Object, Operation, Reason,
    plan::{Binding, Deletion, Propagation},
};
use serde_json::json;
use std::sync::Arc;

fn delete(grace: Option<u32>) -> Operation {
    Operation::Delete(Deletion {
        grace_period_seconds: grace,
        ..Deletion::default()
    })
}

/// A world with one pod that runs on a node.
fn with_running_pod() -> (World, Key) {
    let mut world = World::new();
    world.create(node("n", json!({}), "4", "10"));
    world.create(asking("p", "1"));
    let pod = key("pods", "p");
    world
        .write(
            &pod,
            Operation::Bind(Binding {
                node: "n".into(),
                policy: "x".into(),
            }),
        )
        .unwrap();
    (world, pod)
}

fn ends_after(pod: &Arc<Object>) -> (u64, Option<i64>) {
    let at = pod.metadata.deletion_timestamp.unwrap().as_millis();
    (
        (at - START_MS / 1000 * 1000) / 1000,
        pod.metadata.deletion_grace_period_seconds,
    )
}

#[test]
fn a_running_pod_gets_its_grace_and_a_second_delete_only_shortens_it() {
    let (mut world, pod) = with_running_pod();
    world.write(&pod, delete(None)).unwrap();
    assert_eq!(ends_after(&world.get(&pod).unwrap()), (30, Some(30)));
    world.now_ms += 5_000;
    world.write(&pod, delete(Some(60))).unwrap();
    assert_eq!(
        ends_after(&world.get(&pod).unwrap()),
        (30, Some(30)),
        "longer changes nothing"
    );
    world.write(&pod, delete(Some(10))).unwrap();
    assert_eq!(ends_after(&world.get(&pod).unwrap()), (15, Some(10)));
    world.write(&pod, delete(Some(0))).unwrap();
    assert_eq!(world.get(&pod), None, "no grace: at once");
}

#[test]
fn a_pod_s_own_grace_counts_where_none_is_given() {
    let (mut world, pod) = with_running_pod();
    world
        .write(
            &pod,
            Operation::Merge(json!({"spec": {"terminationGracePeriodSeconds": 7}})),
        )
        .unwrap();
    world.write(&pod, delete(None)).unwrap();
    assert_eq!(ends_after(&world.get(&pod).unwrap()), (7, Some(7)));
}

#[test]
fn what_cannot_be_running_goes_at_once() {
    let (mut world, pod) = with_running_pod();
    world
        .write(&pod, Operation::MergeStatus(json!({"status": {"phase": "Succeeded"}})))
        .unwrap();
    world.write(&pod, delete(None)).unwrap();
    assert_eq!(world.get(&pod), None, "finished");
    world.create(asking("q", "1"));
    world.write(&key("pods", "q"), delete(None)).unwrap();
    assert_eq!(world.get(&key("pods", "q")), None, "never bound");
}

#[test]
fn a_final_delete_ends_a_terminating_pod() {
    let (mut world, pod) = with_running_pod();
    world.write(&pod, delete(None)).unwrap();
    assert_eq!(world.store.snapshot().usage("n").pods, 1, "it counts until it is gone");
    let last = Operation::Delete(Deletion {
        final_: true,
        ..Deletion::default()
    });
    let committed = world.write(&pod, last).unwrap();
    assert_eq!(committed.objects, [None]);
    assert_eq!(world.store.snapshot().usage("n").pods, 0);
}

#[test]
fn finalizers_hold_an_object_until_the_last_is_gone() {
    let mut world = World::new();
    let mut manifest = config("a", json!({}));
    manifest["metadata"]["finalizers"] = json!(["one", "two"]);
    world.create(manifest);
    let a = key("configmaps", "a");
    world.write(&a, delete(None)).unwrap();
    assert!(world.get(&a).unwrap().metadata.deletion_timestamp.is_some());
    let revision = world.revision();
    world.now_ms += 5_000;
    world.write(&a, delete(None)).unwrap();
    assert_eq!(world.revision(), revision, "asked again, nothing changes");
    world
        .write(&a, Operation::Merge(json!({"metadata": {"finalizers": ["two"]}})))
        .unwrap();
    assert!(world.get(&a).is_some());
    let applied = world.plans(vec![
        sampan_api::Write::new(a.clone(), Operation::Merge(json!({"metadata": {"finalizers": null}}))).into(),
    ]);
    assert_eq!(applied.results[0].as_ref().unwrap().objects, [None]);
    assert_eq!(applied.events[0].kind, sampan_state::EventKind::Deleted);
    assert_eq!(world.get(&a), None);
}

#[test]
fn a_pod_that_never_ran_goes_with_its_last_finalizer() {
    let mut world = World::new();
    let mut manifest = asking("p", "1");
    manifest["metadata"]["finalizers"] = json!(["one"]);
    world.create(manifest);
    let pod = key("pods", "p");
    world.write(&pod, delete(None)).unwrap();
    assert!(world.get(&pod).is_some());
    world
        .write(&pod, Operation::Merge(json!({"metadata": {"finalizers": []}})))
        .unwrap();
    assert_eq!(world.get(&pod), None);
}

#[test]
fn a_running_pod_outlives_its_finalizers_until_its_node_ends_it() {
    let (mut world, pod) = with_running_pod();
    world
        .write(&pod, Operation::Merge(json!({"metadata": {"finalizers": ["one"]}})))
        .unwrap();
    world.write(&pod, delete(None)).unwrap();
    world
        .write(&pod, Operation::Merge(json!({"metadata": {"finalizers": []}})))
        .unwrap();
    assert!(world.get(&pod).is_some(), "its grace is not over");
}

#[test]
fn propagation_leaves_a_finalizer_for_the_garbage_collector() {
    for (propagation, finalizer) in [
        (Propagation::Foreground, "foregroundDeletion"),
        (Propagation::Orphan, "orphan"),
    ] {
        let mut world = World::new();
        world.create(config("a", json!({})));
        let a = key("configmaps", "a");
        world
            .write(
                &a,
                Operation::Delete(Deletion {
                    propagation,
                    ..Deletion::default()
                }),
            )
            .unwrap();
        let meta = world.get(&a).unwrap().metadata.clone();
        assert_eq!(
            (meta.finalizers, meta.deletion_timestamp.is_some()),
            (vec![finalizer.to_owned()], true)
        );
    }
}

#[test]
fn a_delete_of_another_uid_is_refused() {
    let mut world = World::new();
    let made = world.create(config("a", json!({})));
    let with = |uid: &str| {
        Operation::Delete(Deletion {
            uid: uid.to_owned(),
            ..Deletion::default()
        })
    };
    refused(
        world.write(&key("configmaps", "a"), with("other")),
        Reason::Conflict,
        "uid",
    );
    world.write(&key("configmaps", "a"), with(&made.metadata.uid)).unwrap();
    assert_eq!(world.get(&key("configmaps", "a")), None);
}
