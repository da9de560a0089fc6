//! Creating: what the kernel gives a new object, and when it refuses one.
use crate::fixture::{World, asking, config, create, key, pod, refused};
use sampan_api::{Key, Operation, Reason, Write};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn a_new_object_gets_its_metadata_from_the_kernel() {
    let mut world = World::new();
    let mut manifest = config("a", json!({"x": "1"}));
    manifest["metadata"]["uid"] = "mine".into();
    manifest["metadata"]["generation"] = 7.into();
    manifest["metadata"]["resourceVersion"] = "99".into();
    manifest["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    manifest["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z".into();
    let made = world.create(manifest);
    let meta = &made.metadata;
    assert_eq!((meta.resource_version, meta.generation, meta.uid.len()), (2, 1, 36));
    assert_eq!(meta.creation_timestamp.unwrap().to_string(), "2026-03-01T12:00:00Z");
    assert_eq!(meta.deletion_timestamp, None);
    let other = world.create(config("b", json!({})));
    assert_ne!(other.metadata.uid, meta.uid);
}

#[test]
fn a_status_given_at_creation_is_kept() {
    let mut world = World::new();
    let node = world.create(crate::fixture::node("n", json!({}), "1", "10"));
    assert_eq!(node.field_value("status")["allocatable"]["pods"], "10");
}

#[test]
fn generated_names_are_free_and_of_five_letters() {
    let mut world = World::new();
    let mut names = BTreeSet::new();
    let mut manifest = config("", json!({}));
    manifest["metadata"]["generateName"] = "web-".into();
    let writes = (0..20).map(|_| create(manifest.clone())).collect();
    for key in world.plan(writes).unwrap().keys {
        assert_eq!((key.name.len(), &key.name[..4]), (9, "web-"));
        names.insert(key.name);
    }
    assert_eq!(names.len(), 20, "one plan gives each another name");
    refused(
        world.try_create(config("", json!({}))),
        Reason::BadRequest,
        "generateName",
    );
}

#[test]
fn a_taken_name_is_refused() {
    let mut world = World::new();
    world.create(config("a", json!({})));
    refused(
        world.try_create(config("a", json!({}))),
        Reason::AlreadyExists,
        "configmaps \"a\" already exists",
    );
    assert_eq!(world.revision(), 2);
}

#[test]
fn a_namespace_must_exist_and_stay() {
    let mut world = World::new();
    let mut manifest = config("a", json!({}));
    manifest["metadata"]["namespace"] = "shop".into();
    refused(
        world.try_create(manifest.clone()),
        Reason::NotFound,
        "namespaces \"shop\" not found",
    );
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "finalizers": ["kubernetes"]}});
    // Made earlier in the same plan, it exists.
    world.plan(vec![create(namespace), create(manifest.clone())]).unwrap();
    world
        .write(
            &Key::new("namespaces", "", "shop"),
            Operation::Delete(Default::default()),
        )
        .unwrap();
    manifest["metadata"]["name"] = "b".into();
    refused(world.try_create(manifest), Reason::Forbidden, "namespace");
}

#[test]
fn a_key_and_its_object_must_agree() {
    let mut world = World::new();
    let manifest = crate::fixture::object(&asking("p", "1"));
    let mut wrong = |key| world.write(&key, Operation::Create(manifest.clone()));
    refused(wrong(key("configmaps", "p")), Reason::BadRequest, "Pod");
    refused(wrong(Key::new("pods", "", "p")), Reason::BadRequest, "namespace");
    refused(wrong(Key::new("zebras", "default", "p")), Reason::BadRequest, "zebras");
}

#[test]
fn an_object_too_large_is_refused_however_it_came() {
    let mut world = World::new();
    let large = "x".repeat(sampan_api::MAX_OBJECT_BYTES - 100);
    let mut object = crate::fixture::object(&config("a", json!({})));
    object.set_field("data", &json!({ "large": large, "more": "y".repeat(200) }));
    let write = Write::new(object.key().unwrap(), Operation::Create(object));
    refused(world.plan(vec![write]), Reason::TooLarge, "limit");
    world.create(config("a", json!({ "half": &large[..large.len() / 2] })));
    let patch = json!({"data": {"other": &large[..large.len() / 2 + 1000]}});
    refused(
        world.write(&key("configmaps", "a"), Operation::Merge(patch)),
        Reason::TooLarge,
        "limit",
    );
    let patch = json!({"status": {"other": &large[..large.len() / 2 + 1000]}});
    refused(
        world.write(&key("configmaps", "a"), Operation::MergeStatus(patch)),
        Reason::TooLarge,
        "limit",
    );
}

#[test]
fn rubbish_in_a_field_the_kernel_reads_harms_nothing() {
    let mut world = World::new();
    world.create(crate::fixture::node("n", json!({}), "1", "10"));
    for (at, spec) in [json!("text"), json!([1]), json!({"nodeName": 5}), json!(null)]
        .into_iter()
        .enumerate()
    {
        world.create(pod(&format!("p{at}"), spec));
        let binding = sampan_api::plan::Binding {
            node: "n".into(),
            policy: "sha256:1".into(),
        };
        let result = world.write(&key("pods", &format!("p{at}")), Operation::Bind(binding));
        if let Err(error) = result {
            assert!(matches!(error.reason, Reason::Conflict | Reason::Invalid), "{error}");
        }
    }
}
