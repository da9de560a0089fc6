//! A snapshot is restored whole or not at all, and nothing else is taken for one.
use super::*;
use crate::{
    features,
    replica::{ReplicaConfig, ReplicaHandle},
};
use sampan_api::{Operation, Plan, Write, kinds};
use sampan_state::{LEAP, encode_checkpoint};
use serde_json::json;

fn object(resource: &str, name: &str) -> Object {
    Object::new(kinds::of_resource(resource).unwrap(), "", name)
}

fn create(object: Object) -> Plan {
    let key = object.key().unwrap();
    Write::new(key, Operation::Create(object)).into()
}

/// A snapshot of a cluster with a namespace, a member, a token and its Cluster object.
async fn saved(dir: &Path) -> (PathBuf, Vec<u8>) {
    saved_at(dir, 1).await
}

/// As [`saved`], of one with this level of features in force.
async fn saved_at(dir: &Path, level: u32) -> (PathBuf, Vec<u8>) {
    let replica = ReplicaHandle::open(&ReplicaConfig {
        dir: dir.join("old"),
        cluster: new_cluster("lab"),
        member: 7,
        joins: false,
        alone: false,
        quota_bytes: crate::QUOTA,
    })
    .unwrap();
    let member = object(peers::RESOURCE, "s0").with_field("spec", &json!({"id": 7, "address": "h:1"}));
    let plans = [
        object("namespaces", "kept"),
        member,
        object(token::RESOURCE, "1a2b3c4d"),
        object(features::RESOURCE, "cluster").with_field("status", &json!({"level": level})),
    ]
    .map(create);
    for result in replica.commit(plans.into()).await.unwrap() {
        result.unwrap();
    }
    replica.put_blob("hello".into()).await.unwrap();
    let (header, store) = replica.state().await.unwrap();
    replica.shutdown().await;
    let bytes: Vec<u8> = encode_checkpoint(&header, &store).flatten().collect();
    let path = dir.join("saved");
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

#[tokio::test]
async fn a_new_cluster_begins_with_the_state_and_without_the_old_identity() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = saved(dir.path()).await;
    let seen = inspect(&path).unwrap();
    assert_eq!((seen.cluster_name.as_str(), &seen.voters[..]), ("lab", &[7][..]));
    assert_eq!((seen.blobs, seen.blob_bytes, seen.bytes), (1, 5, bytes.len() as u64));
    assert_eq!(seen.objects["namespaces"], 1);
    assert_eq!(seen.members[0].name, "s0");

    let data = dir.path().join("new");
    let named = Names {
        name: Some("s9".to_owned()),
        cluster_name: None,
    };
    let restored = restore(&path, &data, named).unwrap();
    assert_eq!(restored.cluster_name, "lab");
    assert_ne!(restored.cluster, seen.cluster);
    let kept = names(&data).unwrap();
    assert_eq!(
        (kept.name.as_deref(), kept.cluster_name.as_deref()),
        (Some("s9"), Some("lab"))
    );
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing is left beside");

    let replica = ReplicaHandle::open(&ReplicaConfig {
        dir: data.join(SERVER),
        cluster: "not used".to_owned(),
        member: FIRST_MEMBER,
        joins: false,
        alone: false,
        quota_bytes: crate::QUOTA,
    })
    .unwrap();
    let state = replica.snapshot();
    assert_eq!(state.revision(), seen.revision + LEAP);
    assert_eq!(state.list(&Selection::of("*")).count(), 2);
    assert!(state.get(&Key::new("namespaces", "", "kept")).is_some());
    assert_eq!(state.blobs().count(), 1);
    assert!(
        state.since(seen.revision).is_err(),
        "a watch of the old cluster is not gone on with"
    );
    let (header, _) = replica.state().await.unwrap();
    assert_eq!(
        (header.cluster, header.members.unwrap().voters),
        (restored.cluster, vec![1])
    );
    replica.commit_one(create(object("namespaces", "more"))).await.unwrap();
    replica.shutdown().await;
}

#[tokio::test]
async fn what_is_not_whole_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (path, good) = saved(dir.path()).await;
    let data = dir.path().join("new");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = restore(&path, &data, Names::default()).unwrap_err();
        assert!(matches!(error, BackupError::Unusable { .. }), "{error}");
        assert_eq!(inspect(&path).unwrap_err().to_string(), error.to_string());
        assert!(!data.exists(), "{error}");
        error.to_string()
    };
    assert!(refused(&good[..good.len() - 1]).contains("cut short"));
    assert!(refused(&good[..good.len() / 2]).contains("cut short"));
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        refused(&bad);
    }
    assert!(refused(&[&good[..], b"x"].concat()).contains("1 bytes follow"));
    assert!(refused(b"").contains("no checkpoint"));
    assert!(matches!(inspect(dir.path()), Err(BackupError::NoFile(_))));

    fs::write(&path, &good).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("note"), "mine").unwrap();
    let error = restore(&path, &data, Names::default()).unwrap_err().to_string();
    assert!(error.contains("is not empty, there is note"), "{error}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    // What a restore that was killed left behind is no reason.
    fs::remove_file(data.join("note")).unwrap();
    private_dir(&data.join(ASIDE).join("server/snap")).unwrap();
    restore(&path, &data, Names::default()).unwrap();
    assert!(!data.join(ASIDE).exists());
}

#[tokio::test]
async fn what_needs_a_newer_build_is_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = saved_at(dir.path(), features::LEVEL + 1).await;
    let data = dir.path().join("new");
    let error = restore(&path, &data, Names::default()).unwrap_err().to_string();
    assert!(error.contains("install a newer sampan"), "{error}");
    assert!(!data.join(SERVER).exists());
}
