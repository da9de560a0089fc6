//! Checkpoints: the state as bytes and back, and no other bytes taken for it.
use crate::{fixture::World, replays::play};
use sampan_api::Reason;
use sampan_state::{
    Check, CheckpointError, Command, Header, LEAP, Store, decode_checkpoint, encode_checkpoint, refound,
};

fn header(store: &Store) -> Header {
    Header {
        cluster: "test".to_owned(),
        index: store.applied(),
        term: 3,
        revision: store.snapshot().revision(),
        ..Header::default()
    }
}

fn bytes(store: &Store) -> Vec<u8> {
    encode_checkpoint(&header(store), store).flatten().collect()
}

#[test]
fn a_restored_state_is_the_same_and_goes_on_the_same() {
    for seed in 1..=10 {
        let world = play(seed, 120);
        // At each third, go on from a checkpoint instead.
        let mut store = Store::new("test");
        for (at, command) in world.commands.iter().enumerate() {
            store.apply(at as u64 + 1, command.clone());
            if at % 40 == 39 {
                let (restored, read) = decode_checkpoint(&bytes(&store)).unwrap();
                assert_eq!(read, header(&store));
                assert_eq!(
                    (restored.digest(), restored.applied()),
                    (store.digest(), store.applied()),
                    "seed {seed}"
                );
                store = restored;
            }
        }
        assert_eq!(store.digest(), world.store.digest(), "seed {seed}");
        for node in ["n0", "n1", "n2"] {
            assert_eq!(
                store.snapshot().usage(node),
                world.store.snapshot().usage(node),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn a_restored_state_knows_how_late_it_is() {
    let mut world = World::new();
    world.now_ms += 5_000;
    world.create(crate::fixture::config("late", serde_json::json!({})));
    assert_eq!(world.store.newest_time(), world.now_ms);
    // To the second, as it is written.
    let (restored, _) = decode_checkpoint(&bytes(&world.store)).unwrap();
    assert_eq!(restored.newest_time() / 1000, world.now_ms / 1000);
    let (refounded, _) = refound(restored.clone(), "other", 1, |_, _| false);
    assert_eq!(refounded.newest_time(), restored.newest_time());
}

#[test]
fn answers_blobs_and_the_largest_objects_survive() {
    let mut world = World::new();
    world.apply(Command {
        blobs: vec!["hello".into()],
        ..Command::default()
    });
    // As large as one can be, by a status as large again.
    let half = "x".repeat(sampan_api::MAX_OBJECT_BYTES / 2 - 1000);
    world.create(crate::fixture::config("big", serde_json::json!({ "x": half })));
    let patch = serde_json::json!({"status": {"x": half}});
    world
        .write(
            &crate::fixture::key("configmaps", "big"),
            sampan_api::Operation::MergeStatus(patch),
        )
        .unwrap();
    let keyed = Command {
        plans: vec![crate::fixture::create(crate::fixture::config("a", serde_json::json!({}))).into()],
        idempotency_key: "k".into(),
        ..Command::default()
    };
    let first = world.apply(keyed.clone()).results.remove(0).unwrap();
    let (mut restored, _) = decode_checkpoint(&bytes(&world.store)).unwrap();
    assert_eq!(restored.digest(), world.store.digest());
    assert_eq!(restored.snapshot().blobs().count(), 1);
    let again = restored
        .apply(world.index + 1, keyed.clone())
        .results
        .remove(0)
        .unwrap();
    assert_eq!(
        (again.revision, again.keys),
        (first.revision, first.keys),
        "the key is remembered"
    );
}

#[test]
fn history_before_a_checkpoint_is_said_to_be_gone() {
    let world = play(1, 60);
    let (restored, _) = decode_checkpoint(&bytes(&world.store)).unwrap();
    let snapshot = restored.snapshot();
    assert!(snapshot.since(snapshot.revision()).unwrap().is_empty());
    assert_eq!(
        snapshot.since(snapshot.revision() - 1).unwrap_err().reason,
        Reason::Expired
    );
}

#[test]
fn every_cut_and_every_changed_byte_is_noticed() {
    let world = play(2, 12);
    let good = bytes(&world.store);
    let check = |bytes: &[u8]| {
        let mut check = Check::default();
        bytes.chunks(5).for_each(|piece| check.push(piece));
        check.finish()
    };
    assert_eq!(check(&good), Ok(good.len() as u64));
    for length in 0..good.len() {
        assert!(decode_checkpoint(&good[..length]).is_err(), "cut at {length}");
        assert!(check(&good[..length]).is_err(), "cut at {length}");
    }
    assert!(decode_checkpoint(&[&good[..], b"x"].concat()).is_err());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(decode_checkpoint(&bad).is_err(), "changed at {at}");
        assert!(check(&bad).is_err(), "changed at {at}");
    }
    let refused = |bytes: &[u8]| decode_checkpoint(bytes).map(drop).unwrap_err();
    assert_eq!(refused(b"SAMPCKP9"), CheckpointError::Newer);
    assert_eq!(refused(b"SAMPCKP0"), CheckpointError::NotACheckpoint);
    assert_eq!(refused(b"rubbish"), CheckpointError::NotACheckpoint);
}

#[test]
fn a_new_cluster_begins_with_the_state_under_its_own_name() {
    let world = play(3, 120);
    let old = world.store.snapshot();
    let gone = |key: &sampan_api::Key| *key.resource == *"pods";
    let (store, header) = refound(world.store.clone(), "new", 1, |key, _| !gone(key));
    assert_eq!((header.cluster.as_str(), header.index, store.applied()), ("new", 1, 1));
    let (mut read, _) = decode_checkpoint(&encode_checkpoint(&header, &store).flatten().collect::<Vec<_>>()).unwrap();
    assert_eq!(read.digest(), store.digest());
    let new = read.snapshot();
    assert_eq!(new.revision(), old.revision() + LEAP);
    assert_eq!(new.since(old.revision()).unwrap_err().reason, Reason::Expired);
    let all = sampan_api::Selection::of("*");
    let kept: Vec<_> = old.list(&all).filter(|(key, _)| !gone(key)).collect();
    assert_eq!(new.list(&all).collect::<Vec<_>>(), kept);
    for node in ["n0", "n1", "n2"] {
        assert_eq!(
            new.usage(node),
            Default::default(),
            "nothing runs there that is not there"
        );
    }
    let made = crate::fixture::create(crate::fixture::config("made", serde_json::json!({})));
    let command = Command {
        plans: vec![made.into()],
        ..Command::default()
    };
    let applied = read.apply(2, command.clone()).results.remove(0).unwrap();
    assert_eq!(applied.revision, old.revision() + LEAP + 1);
}
