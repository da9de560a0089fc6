//! A full disk, a damaged one, and checkpoints.
use super::{close, config, create, has, open, put};
use crate::replica::{OpenError, ReplicaHandle};
use bytes::Bytes;
use sampan_api::Reason;
use sampan_state::{
    encode_checkpoint,
    eraftpb::{Message, MessageType},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

const DIR: &str = "SAMPAN_TEST_FULL_DIR";

/// Runs [`child_on_a_small_disk`] on a tmpfs of 8 MiB in a mount namespace of its own, which ends with it.
#[test]
fn a_full_disk_refuses_writes_and_no_more() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root, to mount a small disk in a namespace of its own");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=8m tmpfs \"$1\" && exec \"$2\" replica::tests::disk::child_on_a_small_disk \
                  --exact --nocapture";
    let done = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && out.contains("recovered"),
        "{out}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn child_on_a_small_disk() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let dir = Path::new(&dir);
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![1; 3 << 20]).unwrap();
    let replica = open(dir);
    let mut written = 0;
    let error = loop {
        match replica.commit_blocking(vec![create(&format!("n{written}"), 200_000)]) {
            Ok(results) => assert!(results[0].is_ok()),
            Err(error) => break error,
        }
        written += 1;
        assert!(written < 1000, "the disk is never full");
    };
    assert_eq!(error.reason, Reason::Unavailable);
    assert!(error.message.contains("free space"), "{error}");
    assert!(written > 5 && has(&replica, "n0"), "reads go on");
    assert_eq!(replica.snapshot().len(), written);
    std::fs::remove_file(&filler).unwrap();
    put(&replica, create("after", 200_000));
    close(&replica);
    let again = open(dir);
    assert_eq!(again.snapshot().len(), written + 1);
    close(&again);
    println!("recovered after {written} writes");
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

/// Writes until there is a checkpoint beyond the first, and the log it made needless is gone.
fn write_much(replica: &ReplicaHandle, dir: &Path, from: usize) -> usize {
    let newest = |dir: &Path| files(&dir.join("snap"), ".checkpoint").pop();
    let before = newest(dir);
    let (mut at, begun) = (from, Instant::now());
    while newest(dir) == before {
        put(replica, create(&format!("n{at}"), 1_000_000));
        at += 1;
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "no checkpoint after {} MB",
            at - from
        );
    }
    at
}

#[test]
fn checkpoints_are_written_aside_and_the_log_behind_them_goes() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let mut count = write_much(&replica, dir.path(), 0);
    count = write_much(&replica, dir.path(), count);
    // The driver hears of it with the next request.
    std::thread::sleep(Duration::from_millis(200));
    put(&replica, create("last", 1));
    put(&replica, create("very-last", 1));
    let segments = files(&dir.path().join("log"), ".log");
    assert!(!segments[0].ends_with("0000000000000001.log"), "{segments:?}");
    assert_eq!(
        files(&dir.path().join("snap"), "").len(),
        2,
        "the newest, and the one before"
    );
    close(&replica);
    let again = open(dir.path());
    assert_eq!(again.snapshot().len(), count + 2);
    close(&again);
    // A damaged checkpoint is refused by name; without it, the one before and the log give the same.
    let newest = files(&dir.path().join("snap"), ".checkpoint").pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let error = ReplicaHandle::open(&config(dir.path())).err().unwrap();
    assert!(
        matches!(error, OpenError::Checkpoint { .. }) && error.to_string().contains("Move it away"),
        "{error}"
    );
    std::fs::rename(&newest, dir.path().join("away")).unwrap();
    let again = open(dir.path());
    assert_eq!(again.snapshot().len(), count + 2);
    close(&again);
}

#[test]
fn damage_is_refused_with_the_place_and_the_way_back() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    (0..20).for_each(|at| put(&replica, create(&format!("n{at}"), 500)));
    close(&replica);
    let log = files(&dir.path().join("log"), ".log").pop().unwrap();
    let whole = std::fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[3000] ^= 1;
    std::fs::write(&log, &damaged).unwrap();
    let error = ReplicaHandle::open(&config(dir.path())).err().unwrap().to_string();
    assert!(
        error.contains("0001.log") && error.contains("at byte") && error.contains("Restore"),
        "{error}"
    );
    assert_eq!(std::fs::read(&log).unwrap(), damaged, "and nothing is changed");
    std::fs::write(&log, &whole).unwrap();
    let snap = dir.path().join("snap");
    std::fs::rename(&snap, dir.path().join("away")).unwrap();
    let error = ReplicaHandle::open(&config(dir.path())).err().unwrap();
    assert!(matches!(error, OpenError::NoCheckpoint { .. }), "{error}");
    std::fs::remove_dir_all(&snap).unwrap();
    std::fs::rename(dir.path().join("away"), &snap).unwrap();
    let again = open(dir.path());
    assert_eq!(again.snapshot().len(), 20);
    close(&again);
}

#[tokio::test]
async fn a_state_that_does_not_come_whole_leaves_nothing() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (replica, far) = (open(dir.path()), open(other.path()));
    for at in 0..20 {
        far.commit_one(create(&format!("n{at}"), 1000)).await.unwrap();
    }
    let (header, store) = far.state().await.unwrap();
    let state: Vec<u8> = encode_checkpoint(&header, &store).flatten().collect();
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgSnapshot);
    let mut changed = state.clone();
    changed[state.len() / 2] ^= 1;
    for (bad, why) in [(&state[..state.len() - 9], "cut short"), (&changed[..], "damaged")] {
        let (sender, receiver) = mpsc::channel(1);
        let pieces: Vec<Bytes> = bad.chunks(1000).map(Bytes::copy_from_slice).collect();
        let send = async move {
            for piece in pieces {
                let _ = sender.send(piece).await;
            }
        };
        let ((), stepped) = tokio::join!(send, replica.step_state(message.clone(), receiver));
        let error = stepped.unwrap_err();
        assert!(error.message.contains("could not be received: it is"), "{error}: {why}");
        assert_eq!(files(&dir.path().join("snap"), ".received"), Vec::<PathBuf>::new());
    }
    replica.commit_one(create("after", 1)).await.unwrap();
    tokio::join!(replica.shutdown(), far.shutdown());
}
