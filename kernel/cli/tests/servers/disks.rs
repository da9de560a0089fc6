//! Disks of a group that run full, and logs that are damaged.
use crate::{
    group::{Group, PATIENCE, play},
    killing::HELD_UP,
    load::{Load, commit, create},
};
use serde_json::json;
use std::{
    fs,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Bytes that are lost of a log: several records.
const LOST: u64 = 3003;

/// A file in which a server's disk is used up.
fn filler(group: &Group, host: usize) -> PathBuf {
    group.data(host).join("server/filler")
}

/// Takes what is left of a server's disk.
fn fill(group: &Group, host: usize) {
    let mut file = fs::File::create(filler(group, host)).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// The newest file of a server's log.
fn log_file(group: &Group, host: usize) -> PathBuf {
    let files = fs::read_dir(group.data(host).join("server/log")).unwrap().flatten();
    files.map(|entry| entry.path()).max().expect("a log")
}

/// Writes much, so that whoever has no room left finds out.
async fn write_much(group: &Group, prefix: &str) {
    let text = "x".repeat(200_000);
    let began = Instant::now();
    let mut at = 0;
    for count in 0..12 {
        let name = format!("{prefix}-{count}");
        let write = create(&name, &json!({}), &json!({"value": text}));
        while let Err(error) = commit(&group.session(at), write.clone(), &name).await {
            at = (at + 1) % 3;
            let late = began.elapsed() > PATIENCE;
            assert!(!late, "{name} was never written: {error:#}\n{}", group.all_said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    println!("{prefix}: 12 large writes took {:?}", began.elapsed());
}

/// Who reads at a server that cannot keep up is told so at once, and reads at the next.
async fn reads_elsewhere(group: &Group, full: usize) {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        if let Err(error) = crate::load::read(&group.session(full).patient(PATIENCE), "no-such").await {
            let (said, took) = (format!("{error:#}"), asked.elapsed());
            println!("the full follower, after {took:?}: {said}");
            assert!(
                said.contains("cannot catch up") && said.contains("free space there"),
                "{said}"
            );
            // Much less than the quarter of a minute after which it would be said that nobody leads.
            assert!(took < Duration::from_secs(10), "{took:?}");
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "s{full} answers reads though its disk is full"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let list = group.ok((full + 1) % 3, "member list");
    assert!(list.contains("no room"), "{list}");
    let selection = sampan_api::rpc::Selection {
        resource: "namespaces".to_owned(),
        ..Default::default()
    };
    let found = group
        .session_from(full)
        .patient(PATIENCE)
        .list(&selection)
        .await
        .unwrap();
    assert!(!found.objects.is_empty());
}

#[test]
fn one_servers_full_disk_holds_up_nobody() {
    play(Some("40m"), async |group| {
        let load = Load::start(group).await;
        for leads in [false, true] {
            let leader = group.leader().await;
            let full = if leads { leader } else { (leader + 1) % 3 };
            let what = if leads { "leader" } else { "follower" };
            fill(group, full);
            write_much(group, &format!("full-{what}")).await;
            let held = load.resumed(Instant::now()).await;
            assert!(held < HELD_UP);
            if !leads {
                reads_elsewhere(group, full).await;
            }
            fs::remove_file(filler(group, full)).unwrap();
            let freed = Instant::now();
            group.settled().await;
            println!(
                "the full {what} s{full} is there again {:?} after its disk was freed",
                freed.elapsed()
            );
        }
        load.end(group).await;
    });
}

/// Where the records of a log end: behind them are zeros.
fn end_of_records(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    (last as u64 + 1).next_multiple_of(8)
}

/// A byte of a record, about halfway: what is zero may be between records.
fn middle_of_records(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let half = usize::try_from(end_of_records(path) / 2).unwrap();
    let found = bytes[half..].iter().position(|byte| *byte != 0).unwrap();
    (half + found) as u64
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_damaged_log_is_cut_at_its_end_and_refused_in_its_middle() {
    play(None, async |group| {
        let load = Load::start(group).await;
        let victim = (group.leader().await + 1) % 3;
        for what in ["rubbish behind it", "its last record damaged", "its end lost"] {
            tokio::time::sleep(Duration::from_millis(500)).await;
            group.kill(victim);
            let path = log_file(group, victim);
            let end = end_of_records(&path);
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            match what {
                "rubbish behind it" => file.write_all_at(&[0xa5; 100], end).unwrap(),
                "its last record damaged" => flip(&path, end - 9),
                // In the middle of a record. Entries that it has confirmed go with it.
                _ => file.set_len(end - LOST).unwrap(),
            }
            let before = group.said(victim).len();
            group.start(victim).await;
            let said = group.said_since(victim, before);
            assert!(said.contains("a torn record at the end of the log was cut"), "{said}");
            let began = Instant::now();
            group.settled().await;
            println!("a log with {what}: caught up after {:?}", began.elapsed());
        }

        group.kill(victim);
        let path = log_file(group, victim);
        let middle = middle_of_records(&path);
        flip(&path, middle);
        let done = group.run(victim, &format!("up {}", group.server_args(victim)));
        assert_eq!(done.code, Some(1), "{done:?}");
        let place = format!("of {}", path.display());
        assert!(
            done.err.contains("the log is damaged in its middle, at byte"),
            "{done:?}"
        );
        assert!(done.err.contains(&place), "{done:?}");
        println!("damaged at {middle}: {}", done.err.lines().last().unwrap_or_default());
        let held = load.resumed(Instant::now()).await;
        assert!(held < HELD_UP, "the others go on");

        // The way out: another in its place, with a new directory.
        let others = [(victim + 1) % 3, (victim + 2) % 3];
        let by = group.leader_of(&others).await;
        group.remove(by, victim).await;
        let token = group.ok(by, "token create --role server --single-use");
        group.renew(victim);
        group.join(victim, &token, by).await;
        group.settled().await;
        load.end(group).await;
    });
}
