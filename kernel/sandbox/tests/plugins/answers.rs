//! Schedulers of the second edition: what is taken of their answers, and what is no answer.
use crate::{ENGINE, pods, support};
use sampan_api::plugin::World;
use sampan_sandbox::{
    CallError, Limits,
    scheduler::{Changes, Placement, PodGroup, SchedulerPlugin},
};
use serde_json::Value;
use std::sync::LazyLock;

static GUEST: LazyLock<Vec<u8>> = LazyLock::new(|| support::plugin("scheduler_02"));

fn plugin(behaviour: &str) -> SchedulerPlugin {
    let config = Value::String(behaviour.to_owned());
    let limits = Limits::for_world(World::Scheduler);
    let loaded = ENGINE.load(World::Scheduler, &GUEST, &config, limits).unwrap();
    loaded.scheduler().unwrap()
}

/// What it says of three pods, of which the last two are a group that needs both.
fn place(behaviour: &str) -> Result<Placement, String> {
    let group = PodGroup {
        first: 1,
        count: 2,
        least: 2,
    };
    let mut plugin = plugin(behaviour);
    let placed = plugin.place(&pods(1..4), &[group]);
    placed.map_err(|error| match error {
        CallError::Rubbish(words) => {
            assert!(matches!(plugin.place(&pods(1..2), &[]), Err(CallError::Poisoned)));
            words
        }
        error => panic!("{error}"),
    })
}

#[test]
fn both_editions_are_one_world() {
    let seen = ENGINE.inspect(&GUEST);
    assert_eq!((seen.world, seen.problems), (Some(World::Scheduler), Vec::new()));
    assert_eq!(seen.description.name, "guest-02");
    assert!(seen.exports.contains(&"sampan:scheduler/policy@0.2.0".to_owned()));
}

#[test]
fn answers_that_fit_are_taken() {
    assert_eq!(place("place").unwrap().nodes, [1, 2, 3]);
    assert_eq!(place("").unwrap().unplaced.len(), 3);
    assert_eq!(place("first").unwrap().nodes, [1], "for the first alone");
}

#[test]
fn answers_that_do_not_fit_the_question_are_rubbish() {
    for (behaviour, words) in [
        ("nothing", "it answers for none of 3 pods"),
        ("more", "4 nodes for 3 pods"),
        ("silent", "pod 2 has neither a node nor a reason"),
        ("order", "a reason for pod 2 where pod 0 has no node"),
        ("located", "a reason for pod 0, which has a node"),
        ("refusal", "refusal 7 of 1 for pod 0"),
        ("chatty", "4 refusals for 3 pods without a node"),
        ("nowhere", "victims for pod 0, and no node where they make room"),
        ("twice", "pod number 9 is to go twice"),
        ("half", "it answers for 2 pods, in the middle of a group"),
        ("some", "1 places for a group that needs 2"),
    ] {
        assert_eq!(place(behaviour).unwrap_err(), words, "{behaviour}");
    }
}

#[test]
fn it_explains_at_most_as_much_as_was_asked_for() {
    let mut pod = pods(1..2).remove(0);
    pod.pinned = 5;
    let explained = plugin("").explain(&pod, 2).unwrap();
    assert_eq!((explained.node, explained.verdicts.len()), (5, 1));
    assert_eq!(explained.verdicts[0].total, 3);
    let error = plugin("chatty").explain(&pod, 2).unwrap_err();
    assert!(
        matches!(&error, CallError::Rubbish(words) if words == "3 verdicts where 2 were asked for"),
        "{error}"
    );
}

#[test]
fn what_it_refuses_to_take_in_is_said_in_its_words() {
    let mut plugin = plugin("told");
    plugin.sync(0, 1, &Changes::default()).unwrap();
    let changes = Changes {
        released: vec![1, 2],
        ..Changes::default()
    };
    let error = plugin.sync(1, 2, &changes).unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(words) if words == "0 bound, 2 released"),
        "{error}"
    );
}
