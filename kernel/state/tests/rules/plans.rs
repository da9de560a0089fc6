//! Plans: whole or not at all, one revision each, and once for each idempotency key.
use crate::fixture::{World, config, create, key, refused};
use sampan_api::{Operation, Plan, Reason, Write};
use sampan_state::Command;
use serde_json::json;

#[test]
fn a_plan_that_fails_changes_nothing() {
    let mut world = World::new();
    world.create(config("a", json!({"x": "1"})));
    let before = world.store.digest();
    let writes = vec![
        create(config("b", json!({}))),
        Write::new(key("configmaps", "a"), Operation::Merge(json!({"data": {"x": "2"}}))),
        Write::new(key("configmaps", "missing"), Operation::Merge(json!({}))),
    ];
    let applied = world.plans(vec![writes.into()]);
    refused(applied.results[0].clone(), Reason::NotFound, "missing");
    assert!(applied.events.is_empty());
    assert_eq!(world.store.digest(), before);
}

#[test]
fn the_plans_of_a_command_stand_alone() {
    let mut world = World::new();
    let plans: Vec<Plan> = ["a", "a", "b"]
        .map(|name| Plan::from(create(config(name, json!({})))))
        .into_iter()
        .collect();
    let applied = world.plans(plans);
    assert_eq!(applied.results[0].as_ref().unwrap().revision, 2);
    refused(applied.results[1].clone(), Reason::AlreadyExists, "\"a\"");
    assert_eq!(applied.results[2].as_ref().unwrap().revision, 3);
    assert_eq!(
        applied.events.iter().map(|event| event.revision).collect::<Vec<_>>(),
        [2, 3]
    );
}

#[test]
fn all_writes_of_a_plan_share_a_revision_and_see_each_other() {
    let mut world = World::new();
    let writes = vec![
        create(config("a", json!({"x": "1"}))),
        Write::new(key("configmaps", "a"), Operation::Merge(json!({"data": {"x": "2"}}))),
        create(config("b", json!({}))),
        Write::new(key("configmaps", "b"), Operation::Delete(Default::default())),
    ];
    let applied = world.plans(vec![writes.into()]);
    let committed = applied.results[0].as_ref().unwrap();
    assert_eq!(
        (committed.revision, committed.keys.len(), applied.events.len()),
        (2, 4, 1)
    );
    assert_eq!(committed.objects[0].as_ref().unwrap().field_value("data")["x"], "2");
    assert_eq!(
        committed.objects[2], None,
        "made and gone within the plan: nobody saw it"
    );
    assert_eq!(world.get(&key("configmaps", "a")).unwrap().metadata.resource_version, 2);
}

#[test]
fn an_idempotency_key_commits_once_and_answers_alike() {
    let mut world = World::new();
    let command = |key: &str| Command {
        now_ms: 1,
        plans: vec![
            create(config("a", json!({}))).into(),
            create(config("a", json!({}))).into(),
        ],
        idempotency_key: key.to_owned(),
        ..Command::default()
    };
    let first = world.apply(command("k"));
    let again = world.apply(command("k"));
    assert_eq!(again.results, first.results);
    assert!(again.events.is_empty());
    assert!(world.apply(command("other")).results[0].is_err());
}

#[test]
fn old_answers_are_forgotten() {
    let mut world = World::new();
    let keyed = |key: u64| Command {
        now_ms: key * 1000,
        plans: vec![create(config(&format!("c{key}"), json!({}))).into()],
        idempotency_key: format!("k{key}"),
        ..Command::default()
    };
    for key in 0..700 {
        world.apply(keyed(key));
    }
    assert!(world.apply(keyed(200)).results[0].is_ok(), "remembered for ten minutes");
    refused(world.apply(keyed(0)).results.remove(0), Reason::AlreadyExists, "c0");
}

#[test]
fn an_index_that_was_applied_is_not_applied_again() {
    let mut world = World::new();
    world.create(config("a", json!({})));
    let digest = world.store.digest();
    let repeated = Command {
        plans: vec![create(config("b", json!({}))).into()],
        ..Command::default()
    };
    assert!(world.store.apply(2, repeated).results.is_empty());
    assert_eq!((world.store.digest(), world.store.applied()), (digest, 2));
}

#[test]
fn blobs_are_found_by_their_digest_and_can_be_forgotten() {
    let mut world = World::new();
    world.apply(Command {
        blobs: vec!["hello".into()],
        ..Command::default()
    });
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(world.store.snapshot().blob(digest).as_deref(), Some(&b"hello"[..]));
    world.apply(Command {
        forget_blobs: vec![digest.to_owned()],
        ..Command::default()
    });
    assert_eq!(world.store.snapshot().blob(digest), None);
}

#[test]
fn owners_are_an_index() {
    let mut world = World::new();
    let owner = world.create(config("owner", json!({})));
    let mut owned = config("owned", json!({}));
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}]);
    world.create(owned);
    let names = |world: &World| -> Vec<String> {
        world
            .store
            .snapshot()
            .owned_by(&owner.metadata.uid)
            .into_iter()
            .map(|(key, _)| key.name.to_string())
            .collect()
    };
    assert_eq!(names(&world), ["owned"]);
    let free = Operation::Merge(json!({"metadata": {"ownerReferences": null}}));
    world.write(&key("configmaps", "owned"), free).unwrap();
    assert!(names(&world).is_empty());
}

#[test]
fn a_rehearsal_says_what_would_come_and_changes_nothing() {
    let mut world = World::new();
    world.create(config("a", json!({})));
    let (snapshot, before) = (world.store.snapshot(), world.store.digest());
    let made = snapshot.rehearse(&create(config("b", json!({}))).into(), 1).unwrap();
    assert_eq!(
        (made.revision, made.objects[0].as_ref().unwrap().metadata.generation),
        (3, 1)
    );
    refused(
        snapshot.rehearse(&create(config("a", json!({}))).into(), 1),
        Reason::AlreadyExists,
        "\"a\"",
    );
    assert_eq!((world.store.digest(), snapshot.revision()), (before, 2));
    assert!(snapshot.get(&key("configmaps", "b")).is_none());
}
