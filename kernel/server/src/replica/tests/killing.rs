//! kill -9 at any moment: a child writes and prints what was acknowledged, the parent kills it and looks.
use super::{close, create, has, open, put};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

const DIR: &str = "SAMPAN_TEST_REPLICA_DIR";
const ROUND: &str = "SAMPAN_TEST_REPLICA_ROUND";
const ROUNDS: usize = 20;

/// The child: four threads write and print what was acknowledged, until the process is killed. As a test of its own it
/// does nothing.
#[test]
fn child_that_is_killed() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else {
        return;
    };
    let replica = open(Path::new(&dir));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (replica, round) = (replica.clone(), round.clone());
            scope.spawn(move || {
                for at in 0.. {
                    let name = format!("r{round}-{writer}-{at}");
                    put(&replica, create(&name, 2000 * writer));
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {name}").and_then(|()| out.flush()).unwrap();
                }
            });
        }
    });
}

fn spawn(dir: &Path, round: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "replica::tests::killing::child_that_is_killed",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = spawn(dir.path(), round);
        let out = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            // What was being printed at the end may be half a name.
            let names = lines.filter_map(|line| line.split_once("acknowledged ").map(|(_, name)| name.to_owned()));
            names.collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(rand::random_range(20..250)));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut names = reader.join().unwrap();
        names.pop();
        acknowledged.extend(names);
        let replica = open(dir.path());
        let lost: Vec<_> = acknowledged.iter().filter(|name| !has(&replica, name)).collect();
        assert!(lost.is_empty(), "lost after round {round}: {lost:?}");
        let (revision, count) = (replica.snapshot().revision(), replica.snapshot().len());
        assert_eq!(usize::try_from(revision).unwrap(), count, "each plan took one revision");
        close(&replica);
    }
    println!(
        "killed {ROUNDS} times, {} acknowledged writes, none lost",
        acknowledged.len()
    );
    assert!(acknowledged.len() > ROUNDS, "the children wrote something");
}
