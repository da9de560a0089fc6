//! A fixed budget of seeds, the seeds that found something once, and the proof that a seed is a run.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the test failing")]
use sim::{Options, Summary, run};

/// Seeds of the fixed budget: about twenty seconds on one core.
const BUDGET: u64 = 20;

fn all(seeds: impl Iterator<Item = u64>) -> Summary {
    let held = |seed| run(&Options::seed(seed)).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    seeds.map(held).fold(Summary::default(), |total, one| total.plus(&one))
}

#[test]
fn the_fixed_budget_holds() {
    let total = all(1000..1000 + BUDGET);
    println!("{total:#?}");
    // A budget in which little happens would prove little.
    assert!(total.commits > 100 && total.operations > 100);
    assert!(total.crashes > 10 && total.changes > 10 && total.snapshots > 0 && total.resumed > 10);
}

/// Raft gives up on a change that leaves no voter, and a committed one is met by every member, at every start.
#[test]
fn the_last_voter_is_to_be_removed() {
    all([10, 26].into_iter());
}

/// Raft panicked when a leader had applied its own removal and then heard that its last entries were on disk.
#[test]
fn a_removed_leader_persists() {
    all([53].into_iter());
}

/// Raft let a removed leader lead on: it took no proposals, and its heartbeats kept the others from an election.
#[test]
fn a_removed_leader_steps_down() {
    all([15, 43].into_iter());
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [7, 8] {
        let options = Options {
            steps: 6_000,
            ..Options::seed(seed)
        };
        assert_eq!(run(&options).unwrap(), run(&options).unwrap());
    }
}
