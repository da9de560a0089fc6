//! History: every change once and in order, and a clear word where it is forgotten.
use crate::fixture::{World, config, create, key, refused};
use sampan_api::{LabelSelector, Object, Operation, Reason, Selection, Write};
use sampan_state::{Command, Event, EventKind, Snapshot};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// A hundred plans of all sorts.
fn busy() -> World {
    let mut world = World::new();
    for round in 0..100 {
        let name = format!("c{}", round % 7);
        let a = key("configmaps", &name);
        let plan = match (world.get(&a).is_some(), round % 5) {
            (false, _) => vec![
                create(config(&name, json!({}))),
                create(config(&format!("x{round}"), json!({}))),
            ],
            (true, 0) => vec![Write::new(a, Operation::Delete(Default::default()))],
            (true, 1) => vec![Write::new(a, Operation::Merge(json!({})))],
            (true, _) => vec![Write::new(
                a,
                Operation::Merge(json!({"data": {"round": round.to_string()}})),
            )],
        };
        world.plan(plan).unwrap();
    }
    world
}

fn replay(onto: &Snapshot, events: &[Arc<Event>]) -> BTreeMap<String, Arc<Object>> {
    let all = Selection::of("*");
    let mut objects: BTreeMap<_, _> = onto
        .list(&all)
        .map(|(key, object)| (format!("{key:?}"), object))
        .collect();
    for event in events {
        let key = format!("{:?}", event.key);
        let before = match event.kind {
            EventKind::Deleted => objects.remove(&key),
            _ => objects.insert(key, event.object.clone()),
        };
        assert_eq!(before, event.previous, "each event knows what was before it");
        assert_eq!(event.kind == EventKind::Added, event.previous.is_none());
        assert_eq!(event.object.metadata.resource_version, event.revision);
    }
    objects
}

#[test]
fn from_every_revision_the_events_lead_to_now() {
    let world = busy();
    // The snapshots of every revision, by playing the commands again.
    let mut again = sampan_state::Store::new("test");
    let now = world.store.snapshot();
    let expected = replay(&now, &[]);
    for (at, command) in world.commands.iter().enumerate() {
        again.apply(at as u64 + 1, command.clone());
        let then = again.snapshot();
        let events = now.since(then.revision()).unwrap();
        assert!(events.iter().all(|event| event.revision > then.revision()));
        assert!(events.windows(2).all(|pair| pair[0].revision <= pair[1].revision));
        assert_eq!(replay(&then, &events), expected);
    }
    assert!(now.since(now.revision()).unwrap().is_empty());
    assert!(now.since(now.revision() + 10).unwrap().is_empty());
}

#[test]
fn compacted_history_is_said_to_be_expired() {
    let mut world = busy();
    let revision = world.revision();
    world.apply(Command {
        compact_to: 20,
        ..Command::default()
    });
    let now = world.store.snapshot();
    assert_eq!((now.compacted(), now.revision()), (20, revision));
    refused(now.since(19), Reason::Expired, "compacted");
    assert!(now.since(20).unwrap().iter().all(|event| event.revision > 20));
    world.apply(Command {
        compact_to: 10,
        ..Command::default()
    });
    assert_eq!(world.store.snapshot().compacted(), 20, "it does not come back");
    world.apply(Command {
        compact_to: revision + 1000,
        ..Command::default()
    });
    assert_eq!(
        world.store.snapshot().compacted(),
        revision,
        "never beyond what happened"
    );
    world.create(config("later", json!({})));
    assert_eq!(world.store.snapshot().since(revision).unwrap().len(), 1);
}

#[test]
fn an_old_snapshot_stays_as_it_was() {
    let mut world = World::new();
    world.create(config("a", json!({"x": "1"})));
    let old = world.store.snapshot();
    world
        .write(&key("configmaps", "a"), Operation::Delete(Default::default()))
        .unwrap();
    assert_eq!(old.revision(), 2);
    assert!(old.get(&key("configmaps", "a")).is_some());
    assert!(world.get(&key("configmaps", "a")).is_none());
}

#[test]
fn lists_are_ordered_and_selected() {
    let mut world = World::new();
    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    for (namespace, name, tier) in [
        ("shop", "b", "web"),
        ("default", "c", "db"),
        ("default", "a", "web"),
        ("shop", "a", "db"),
    ] {
        let mut manifest = config(name, json!({}));
        manifest["metadata"]["namespace"] = namespace.into();
        manifest["metadata"]["labels"] = json!({"tier": tier});
        world.create(manifest);
    }
    let snapshot = world.store.snapshot();
    let paths = |selection: &Selection| snapshot.list(selection).map(|(key, _)| key.path()).collect::<Vec<_>>();
    let all = Selection::of("configmaps");
    assert_eq!(paths(&all), ["default/a", "default/c", "shop/a", "shop/b"]);
    assert_eq!(
        paths(&Selection {
            namespace: "shop".into(),
            ..all.clone()
        }),
        ["shop/a", "shop/b"]
    );
    assert_eq!(
        paths(&Selection {
            labels: LabelSelector::parse("tier=web").unwrap(),
            ..all.clone()
        }),
        ["default/a", "shop/b"]
    );
    assert_eq!(
        paths(&Selection {
            namespace: "shop".into(),
            ..Selection::of("*")
        }),
        ["shop/a", "shop/b"]
    );
    assert_eq!(snapshot.count(&Selection::of("*")), 6);
    assert_eq!(snapshot.count(&Selection::of("configmap")), 0);
}
