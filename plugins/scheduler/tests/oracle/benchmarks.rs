//! The cases of `bench scheduler` on fewer nodes: where each pod goes, and whom it drives out, is what a scan of all nodes by the
//! oracle says.
use crate::{
    checks::{Tally, place},
    filters::Settings,
    golden::Case,
    model::{amounts, pod},
    random::ZONE,
};
use scheduler::types::{NodeTerm, Operator, Pod, PodClass, PreferredPod, Unsatisfiable};

const NODES: u32 = 60;
/// Pods in a call.
const TOGETHER: usize = 50;

const HOST: &str = "kubernetes.io/hostname";
const ZONES: [&str; 3] = ["zone1", "zone2", "zone3"];

/// A cluster in so many zones, and pods of two classes one after the other.
struct Bench {
    case: Case,
    pods: Vec<Pod>,
}

impl Bench {
    fn new(zones: usize) -> Self {
        let mut case = Case::new(NODES);
        let of_nodes: Vec<&str> = (0..NODES as usize).map(|node| ZONES[node % zones]).collect();
        case.zones(&of_nodes);
        Bench { case, pods: Vec::new() }
    }

    /// 100m and 500 MiB, and a colour.
    fn class(&mut self, colour: &str) -> PodClass {
        self.case.class(colour)
    }

    fn pods(&mut self, class: &PodClass, count: u32) {
        let class = self.case.add(class);
        let first = self.pods.len() as u32 + 1;
        self.pods.extend((first..first + count).map(|id| pod(id, class)));
    }

    /// Places them all, each held against the oracle.
    fn run(mut self) -> Tally {
        let mut engine = self.case.engine("{}");
        let mut tally = Tally::default();
        for pods in self.pods.chunks(TOGETHER) {
            tally.add(&place(&mut engine, &mut self.case.world, &Settings::default(), pods));
        }
        tally
    }
}

#[test]
fn basic() {
    let mut bench = Bench::new(1);
    let plain = bench.class("");
    bench.pods(&plain, 300);
    assert_eq!(bench.run().placed, 300);
}

#[test]
fn daemonset() {
    let mut bench = Bench::new(1);
    for node in 1..=NODES {
        let mut pinned = bench.class("");
        let name = format!("node-{node}");
        let fields = vec![bench.case.requirement("metadata.name", Operator::IsIn, &[&name])];
        pinned.required_nodes = Some(vec![NodeTerm {
            expressions: Vec::new(),
            fields,
        }]);
        bench.pods(&pinned, 2);
    }
    assert_eq!(bench.run().placed, 2 * NODES);
}

#[test]
fn node_affinity() {
    let mut bench = Bench::new(3);
    let mut class = bench.class("");
    let expressions = vec![bench.case.requirement(ZONE, Operator::IsIn, &ZONES[..2])];
    class.required_nodes = Some(vec![NodeTerm {
        expressions,
        fields: Vec::new(),
    }]);
    bench.pods(&class, 200);
    assert_eq!(bench.run().placed, 200);
}

#[test]
fn preferred_affinity() {
    let mut bench = Bench::new(1);
    let mut class = bench.class("red");
    let term = bench.case.term(HOST, "red");
    class.preferred_affinity = vec![PreferredPod { weight: 1, term }];
    bench.pods(&class, 200);
    assert_eq!(bench.run().placed, 200);
}

#[test]
fn affinity() {
    let mut bench = Bench::new(3);
    let mut class = bench.class("blue");
    class.affinity = vec![bench.case.term(ZONE, "blue")];
    bench.pods(&class, 200);
    assert_eq!(bench.run().placed, 200);
}

#[test]
fn anti_affinity() {
    let mut bench = Bench::new(1);
    let mut class = bench.class("green");
    class.anti_affinity = vec![bench.case.term(HOST, "green")];
    // The last ones find no host.
    bench.pods(&class, NODES + 5);
    assert_eq!(bench.run().placed, NODES);
}

fn spread(when: Unsatisfiable) {
    let mut bench = Bench::new(3);
    let plain = bench.class("");
    bench.pods(&plain, NODES);
    let mut class = bench.class("blue");
    let mut constraint = bench.case.constraint(ZONE, "blue", when);
    constraint.max_skew = 5;
    class.spread = vec![constraint];
    bench.pods(&class, 120);
    assert_eq!(bench.run().placed, NODES + 120);
}

#[test]
fn spread_that_must() {
    spread(Unsatisfiable::DoNotSchedule);
}

#[test]
fn spread_that_may() {
    spread(Unsatisfiable::ScheduleAnyway);
}

fn sized(bench: &mut Bench, milli_cpu: u64, priority: i32) -> PodClass {
    PodClass {
        requests: amounts(milli_cpu, 500 << 20, 0),
        scored_cpu: milli_cpu,
        priority,
        ..bench.class("")
    }
}

#[test]
fn preemption() {
    let mut bench = Bench::new(1);
    let unimportant = sized(&mut bench, 900, 0);
    bench.pods(&unimportant, 4 * NODES);
    let important = sized(&mut bench, 3000, 2_000_000_000);
    bench.pods(&important, NODES);
    let tally = bench.run();
    assert_eq!((tally.placed, tally.victims), (4 * NODES, 3 * NODES));
}

#[test]
fn unschedulable_churn() {
    let mut bench = Bench::new(1);
    for _ in 0..5 {
        let too_large = sized(&mut bench, 9000, 2_000_000_000);
        bench.pods(&too_large, 1);
        let plain = bench.class("");
        bench.pods(&plain, 40);
    }
    assert_eq!(bench.run().placed, 200);
}
