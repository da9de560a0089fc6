//! The policy in the SDK's harness, as any policy is tried out: with preemption, which the simple face does not have.
use sampan_sdk::testing::placing::{Native, Trace, fuzz, run};
use scheduler::Engine;

#[test]
fn a_trace_is_placed() {
    let report = run(&Trace::generate(3, 20, 3000), &mut Native::<Engine>::new("{}").unwrap()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(
        report.answers.contains("; waits for node-"),
        "the important make others go"
    );
}

#[test]
fn changes_come_to_the_same_as_everything_at_once() {
    for seed in 0..50 {
        fuzz(seed, || Native::<Engine>::new("{}")).unwrap();
    }
}
