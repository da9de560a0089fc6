//! Mistakes that the driver is told to make are found: a simulator that finds none of them would be worth nothing.
use sim::{Fault, Options, run};

/// Seeds in which a mistake is looked for; most show in the first.
const SEEDS: u64 = 150;

fn is_found(fault: Fault) {
    let found = (0..SEEDS).find_map(|seed| {
        let options = Options {
            fault,
            ..Options::seed(seed)
        };
        run(&options).err()
    });
    let failure = found.unwrap_or_else(|| panic!("{} was not found", fault.name()));
    assert!(
        failure.to_string().contains(&format!("--fault {}", fault.name())),
        "{failure}"
    );
}

macro_rules! mutants {
    ($($name:ident $fault:ident;)*) => {
        $(#[test]
        fn $name() {
            is_found(Fault::$fault);
        })*
    };
}

mutants! {
    messages_that_are_sent_too_early SendBeforePersist;
    syncs_that_are_left_out SkipSync;
    a_received_state_that_is_not_written ForgetCheckpoint;
    answers_before_the_commit AnswerEarly;
    retries_that_act_again ForgetKeys;
    proposals_made_twice ProposeTwice;
    reads_of_whatever_there_is StaleReads;
    votes_that_are_forgotten ForgetVote;
    snapshots_nobody_hears_of SilentSnapshots;
    events_given_again RepeatEvents;
    events_left_out SkipEvents;
}
