//! Watching: each change once and in order, whatever the reader's pace; a clear end where history is forgotten.
use super::{close, create, open, put, relabel};
use sampan_api::Reason;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_every_pace_see_each_change_once() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let mut readers = Vec::new();
    for pause in [0, 1, 7] {
        let mut changes = replica.watch(0).unwrap();
        readers.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            while revisions.len() < 400 {
                // A wait that is given up loses nothing.
                let Ok(next) = tokio::time::timeout(Duration::from_millis(2), changes.next()).await else {
                    continue;
                };
                let batch = next.unwrap();
                assert_eq!(batch.events.last().unwrap().revision, batch.revision);
                revisions.extend(batch.events.iter().map(|event| event.revision));
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            revisions
        }));
    }
    let mut writers = Vec::new();
    for writer in 0..4 {
        let replica = replica.clone();
        writers.push(tokio::spawn(async move {
            for at in 0..100 {
                replica.commit_one(create(&format!("w{writer}-{at}"), 1)).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap(), (1..=400).collect::<Vec<_>>());
    }
    replica.shutdown().await;
}

#[tokio::test]
async fn a_closed_replica_ends_its_readers_after_the_last_change() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let mut changes = replica.watch(0).unwrap();
    replica.commit_one(create("a", 1)).await.unwrap();
    replica.shutdown().await;
    assert_eq!(changes.next().await.unwrap().revision, 1);
    assert!(changes.next().await.is_none());
    assert_eq!(replica.watch(0).err().unwrap().reason, Reason::Unavailable);
}

#[test]
fn a_reader_that_is_too_slow_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    put(&replica, create("a", 1));
    let mut slow = replica.watch(1).unwrap();
    for round in 0..22 {
        let plans = (0..2000).map(|at| relabel("a", round * 2000 + at)).collect();
        replica.commit_blocking(plans).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert!(runtime.block_on(slow.next()).is_none(), "what it missed is forgotten");
    let error = replica.watch(1).err().unwrap();
    assert_eq!(error.reason, Reason::Expired, "{error}");
    let now = replica.snapshot();
    assert!(
        now.revision() - now.compacted() >= 10_000,
        "so many revisions are kept at the least"
    );
    assert_eq!(now.since(now.revision() - 10_000).unwrap().len(), 10_000);
    close(&replica);
}
