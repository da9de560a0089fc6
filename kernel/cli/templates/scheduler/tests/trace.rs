//! The policy, natively, on made-up clusters; `sampan plugin test --expect` holds the component against the same answers.
use policy_name::PolicyName;
use sampan_sdk::{
    scheduler::Engine,
    testing::placing::{Native, Trace, fuzz, run},
};

type Policy = Native<Engine<PolicyName>>;

/// The trace that `sampan plugin test` makes up if it is told nothing else.
#[test]
fn what_it_answers_can_be_carried_out() {
    let report = run(&Trace::generate(1, 100, 2000), &mut Policy::new("{}").unwrap()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/answers.txt"), report.answers).unwrap();
}

#[test]
fn what_it_answers_does_not_depend_on_how_it_came_to_know() {
    for seed in 0..20 {
        fuzz(seed, || Policy::new("{}")).unwrap();
    }
}
