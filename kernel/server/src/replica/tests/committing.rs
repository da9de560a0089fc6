//! Committing: group commit, isolation of plans, keys, blobs, and how long it takes.
use super::{close, config, create, has, key, open, put};
use crate::replica::{OpenError, ReplicaHandle};
use sampan_api::Reason;
use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    put(&replica, create("a", 10));
    let before = replica.snapshot().get(&key("a")).unwrap();
    close(&replica);
    assert_eq!(
        replica.commit_blocking(vec![create("b", 1)]).unwrap_err().reason,
        Reason::Unavailable
    );
    // The cluster's name counts only once: uids do not change with what a later start says.
    let other = crate::replica::ReplicaConfig {
        cluster: "other".to_owned(),
        ..config(dir.path())
    };
    let again = ReplicaHandle::open(&other).unwrap();
    assert_eq!(again.snapshot().get(&key("a")).unwrap(), before);
    put(&again, create("b", 10));
    close(&again);
}

#[test]
fn a_second_open_is_refused_and_names_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let Err(error) = ReplicaHandle::open(&config(dir.path())) else {
        panic!("opened twice")
    };
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("in use by process {}", std::process::id())),
        "{error}"
    );
    close(&replica);
    close(&open(dir.path()));
}

#[test]
fn a_bad_plan_harms_none_that_is_committed_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let large = create("large", 2 * sampan_api::MAX_OBJECT_BYTES);
    let results = replica
        .commit_blocking(vec![create("a", 1), large, create("a", 1), create("b", 1)])
        .unwrap();
    let reasons: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().err().map(|error| error.reason))
        .collect();
    assert_eq!(
        reasons,
        [None, Some(Reason::TooLarge), Some(Reason::AlreadyExists), None]
    );
    close(&replica);
    let again = open(dir.path());
    assert!(has(&again, "a") && has(&again, "b") && !has(&again, "large"));
    close(&again);
}

#[test]
fn many_writers_are_all_answered_and_see_what_they_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let replica = replica.clone();
            scope.spawn(move || {
                for at in 0..50 {
                    let name = format!("w{writer}-{at}");
                    // Some of them are heavy, so that what is gathered is split.
                    put(&replica, create(&name, if at % 10 == 0 { 900_000 } else { 100 }));
                    assert!(has(&replica, &name), "in the next snapshot");
                }
            });
        }
    });
    assert_eq!(replica.snapshot().revision(), 800);
    close(&replica);
    let again = open(dir.path());
    assert_eq!(again.snapshot().len(), 800);
    close(&again);
}

#[tokio::test]
async fn keys_commit_once_and_blobs_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let first = replica
        .commit_keyed(vec![create("a", 1)], "k".to_owned())
        .await
        .unwrap();
    let again = replica
        .commit_keyed(vec![create("a", 1)], "k".to_owned())
        .await
        .unwrap();
    assert_eq!(first, again);
    let error = replica
        .commit_keyed(vec![create("a", 1)], "k".repeat(1000))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::BadRequest);
    let digest = replica.put_blob("hello".into()).await.unwrap();
    replica.barrier().await.unwrap();
    replica.shutdown().await;
    let reopened = open(dir.path());
    assert_eq!(reopened.snapshot().blob(&digest).as_deref(), Some(&b"hello"[..]));
    let third = reopened
        .commit_keyed(vec![create("a", 1)], "k".to_owned())
        .await
        .unwrap();
    assert_eq!(third[0].as_ref().unwrap().revision, 1, "remembered across a restart");
    reopened.forget_blobs(vec![digest.clone()]).await.unwrap();
    assert_eq!(reopened.snapshot().blob(&digest), None);
    reopened.shutdown().await;
}

/// Prints and asserts nothing: times belong to benchmarks.
#[test]
fn how_long_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let replica = open(dir.path());
    println!("open of a new directory: {:?}", begun.elapsed());
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(dir.path().join("bare"))
        .unwrap();
    file.write_all_at(&vec![0; 1 << 20], 0).unwrap();
    file.sync_all().unwrap();
    // In turns, since others use the disk too.
    let (mut bare, mut puts) = (Vec::new(), Vec::new());
    for at in 0..200 {
        bare.push(time(|| {
            file.write_all_at(&[1; 512], at * 512).unwrap();
            file.sync_data().unwrap();
        }));
        puts.push(time(|| put(&replica, create(&format!("n{at}"), 100))));
    }
    let (bare, puts) = (median(&mut bare), median(&mut puts));
    println!(
        "fdatasync of 512 bytes: {bare:?}; put, one client: {puts:?} ({:.2}x)",
        puts.as_secs_f64() / bare.as_secs_f64()
    );
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..64 {
            let replica = replica.clone();
            scope.spawn(move || (0..50).for_each(|at| put(&replica, create(&format!("t{writer}-{at}"), 100))));
        }
    });
    println!("puts, 64 clients: {:.0}/s", 3200.0 / begun.elapsed().as_secs_f64());
    let plans = (0..5000).map(|at| create(&format!("b{at}"), 100)).collect();
    let begun = Instant::now();
    replica.commit_blocking(plans).unwrap();
    println!("plans in one commit: {:.0}/s", 5000.0 / begun.elapsed().as_secs_f64());
    close(&replica);
    let begun = Instant::now();
    let again = open(dir.path());
    println!("open with 8400 plans in the log: {:?}", begun.elapsed());
    close(&again);
}

fn time(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn what_was_decided_in_another_term_is_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let term = first.leadership().borrow().expect("the only member leads");
    first.commit_blocking_in(term, vec![create("a", 1)]).unwrap();
    close(&first);
    assert!(first.leadership().has_changed().is_err(), "closed with the replica");

    let again = open(dir.path());
    let next = again.leadership().borrow().expect("it leads again");
    assert!(next > term, "each start is a term of its own");
    for wrong in [term, next + 1] {
        let error = again.commit_blocking_in(wrong, vec![create("b", 1)]).unwrap_err();
        assert_eq!(error.reason, Reason::Unavailable, "{error}");
    }
    assert!(!has(&again, "b"));
    again.commit_blocking_in(next, vec![create("b", 1)]).unwrap();
    assert!(has(&again, "b") && has(&again, "a"));
    close(&again);
}
