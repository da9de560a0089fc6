//! The harness itself: traces are what they were, and policies that are wrong are found.
use sampan_sdk::{
    scheduler::{Description, Engine, Node, Pod, PodClass, Rule, Scheduler, description, scores},
    testing::placing::{Native, Trace, fuzz, run},
};
use std::cell::Cell;

/// One that is right.
#[derive(Default)]
struct Spread;

impl Scheduler for Spread {
    fn describe() -> Description {
        description("spread", "0", "")
    }

    fn score(&self, pod: &Pod<'_>, node: &Node<'_>) -> i64 {
        scores::WHOLE - scores::used_share(pod, node)
    }
}

/// Fills the first node, whatever room there is.
#[derive(Default)]
struct Blind;

impl Scheduler for Blind {
    fn describe() -> Description {
        description("blind", "0", "")
    }
    fn filter(&self, _: &Pod<'_>, _: &Node<'_>) -> Result<(), Rule> {
        Ok(())
    }
    fn score(&self, _: &Pod<'_>, node: &Node<'_>) -> i64 {
        -i64::from(node.id())
    }
}

/// Says something else each time.
#[derive(Default)]
struct Moody(Cell<i64>);

impl Scheduler for Moody {
    fn describe() -> Description {
        description("moody", "0", "")
    }
    fn score(&self, _: &Pod<'_>, node: &Node<'_>) -> i64 {
        self.0.set((self.0.get() * 31 + 7) % 101);
        self.0.get() ^ i64::from(node.id())
    }
}

/// Says that pods of all owners are alike, and treats them differently.
#[derive(Default)]
struct Careless;

impl Scheduler for Careless {
    fn describe() -> Description {
        description("careless", "0", "")
    }
    fn score(&self, pod: &Pod<'_>, node: &Node<'_>) -> i64 {
        i64::from(pod.said().owner.wrapping_mul(node.id() * 7919) % 97)
    }
    fn key(&self, pod: &Pod<'_>) -> PodClass {
        PodClass {
            id: 0,
            owner: 0,
            labels: Vec::new(),
            ..pod.said().clone()
        }
    }
}

#[test]
fn a_trace_is_the_same_from_its_seed_and_from_its_file() {
    let trace = Trace::generate(7, 20, 300);
    assert_eq!(trace, Trace::generate(7, 20, 300));
    assert_ne!(trace, Trace::generate(8, 20, 300));
    let read = Trace::read(&format!("# a comment\n\n{}", trace.write())).unwrap();
    assert_eq!(read, trace);
    let answers = |trace: &Trace| run(trace, &mut Native::<Engine<Spread>>::new("{}").unwrap()).unwrap();
    let (one, other) = (answers(&trace), answers(&read));
    assert_eq!(one.answers, other.answers);
    assert_eq!(one.problems, Vec::<String>::new());
    assert_eq!(one.placed + one.refused, one.answers.lines().count());
    let error = Trace::read("{\"node\": {\"name\": \"a\"}}\n{\"nodes\": 3}").unwrap_err();
    assert!(error.starts_with("line 2: "), "{error}");
}

#[test]
fn wrong_policies_are_found() {
    let trace = Trace::generate(1, 10, 400);
    let report = run(&trace, &mut Native(Engine::<Blind>::default())).unwrap();
    assert!(
        report.problems.iter().any(|problem| problem.contains("too little")),
        "{:?}",
        report.problems
    );
    let found = |finding: Result<(), _>| finding.is_err();
    assert!((0..5).any(|seed| found(fuzz(seed, || Native::<Engine<Moody>>::new("{}")))));
    assert!((0..50).any(|seed| found(fuzz(seed, || Native::<Engine<Careless>>::new("{}")))));
}
