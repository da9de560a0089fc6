//! The policy on random clusters: its answers can be carried out, and do not depend on how it came to know.
use apart::Apart;
use sampan_sdk::{
    scheduler::Engine,
    testing::placing::{Native, Trace, fuzz, run},
};

#[test]
fn a_trace_is_placed() {
    let report = run(
        &Trace::generate(1, 50, 1000),
        &mut Native::<Engine<Apart>>::new("{}").unwrap(),
    )
    .unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.placed > 500, "{} of 1000 are placed", report.placed);
}

#[test]
fn changes_come_to_the_same_as_everything_at_once() {
    for seed in 0..50 {
        fuzz(seed, || Native::<Engine<Apart>>::new("{}")).unwrap();
    }
}
