//! The simple face of the scheduler world: filter and score, and all the rest from the SDK.
use sampan_sdk::{
    scheduler::{
        Description, Engine, Node, Pod, PodClass, Policy, Rule, Scheduler, description, filters, no_changes, scores,
    },
    testing::{
        cluster, node,
        placing::{Cluster, Native, Subject, fuzz},
        pod,
    },
};
use std::cell::Cell;

/// Least used first, with a weight for what is preferred.
#[derive(Default)]
struct Spread {
    weight: i64,
}

impl Scheduler for Spread {
    fn describe() -> Description {
        description("spread", "0", "")
    }

    fn configure(&mut self, config: &sampan_sdk::Value) -> Result<(), String> {
        self.weight = config["weight"].as_i64().unwrap_or(1);
        if self.weight < 0 {
            Err("weight is below 0".to_owned())
        } else {
            Ok(())
        }
    }

    fn score(&self, pod: &Pod<'_>, node: &Node<'_>) -> i64 {
        let preferred = scores::preferred_nodes(pod, node) - scores::untolerated_preferences(pod, node);
        scores::WHOLE - scores::used_share(pod, node) + self.weight * scores::WHOLE * preferred
    }

    /// Neither owner nor labels matter to it.
    fn key(&self, pod: &Pod<'_>) -> PodClass {
        PodClass {
            id: 0,
            labels: Vec::new(),
            owner: 0,
            namespace: 0,
            ..pod.said().clone()
        }
    }
}

#[test]
fn pods_spread_and_a_preference_against_a_node_is_heeded() {
    let mut cluster = cluster::<Spread>([
        node("a").taint("spot", "", "PreferNoSchedule"),
        node("b").milli_cpu(200),
        node("c").milli_cpu(100),
    ]);
    let places = cluster.place_all(&pod().memory(0), 4);
    assert_eq!(places, ["b", "c", "b", "a"].map(|name| Ok(name.to_owned())));
}

#[test]
fn each_of_kubernetes_rules_turns_nodes_down_under_its_name() {
    let shape = pod().on("disk", "ssd").host_port(80).memory(2 << 30);
    let good = |name: &str| node(name).label("disk", "ssd");
    let mut busy = cluster::<Spread>([good("ports")]);
    assert!(busy.place(&shape).is_ok());
    for bad in [
        good("cordoned").cordoned(),
        good("tainted").taint("dedicated", "gpu", "NoSchedule"),
        node("unlabelled"),
        good("short").milli_cpu(50).memory(1 << 30),
        good("full").pods(0),
    ] {
        busy.node(&bad);
    }
    let mut away = good("away");
    away.ready = false;
    busy.node(&away);
    assert_eq!(
        busy.place(&shape).unwrap_err(),
        "0/7 nodes will do: 1 cordoned, 1 taint node.kubernetes.io/not-ready=, 1 taint dedicated=gpu, 1 node affinity, \
         1 host ports, 1 pods, 1 cpu, 1 memory"
    );
    let pinned = busy.place(&shape.pinned("short")).unwrap_err();
    assert_eq!(pinned, "0/7 nodes will do: 6 node name, 1 cpu, 1 memory");
}

#[test]
fn a_pinned_pod_goes_there_or_nowhere() {
    let mut cluster = cluster::<Spread>([node("a"), node("b"), node("c").milli_cpu(0)]);
    assert_eq!(cluster.place(&pod().pinned("b")), Ok("b".to_owned()));
    assert_eq!(cluster.place(&pod().pinned("b")), Ok("b".to_owned()));
    assert!(cluster.place(&pod().pinned("c")).is_err());
    assert!(cluster.place(&pod().pinned("nowhere")).is_err());
}

#[test]
fn groups_are_placed_together_or_not_at_all() {
    let mut cluster = cluster::<Spread>([node("a").pods(2), node("b").pods(1)]);
    let said = cluster.place_group(&pod(), 4, 4);
    assert!(said.iter().all(Result::is_err), "{said:?}");
    assert!(said[0].as_ref().unwrap_err().contains("for its group"));
    assert!(
        said[3].as_ref().unwrap_err().contains("2 pods"),
        "the fourth itself had no room: {said:?}"
    );
    let said = cluster.place_group(&pod(), 4, 3);
    assert_eq!(
        said.iter().filter(|said| said.is_ok()).count(),
        3,
        "all the room is there still: {said:?}"
    );
}

#[test]
fn a_config_is_taken_or_refused() {
    let mut engine = Engine::<Spread>::default();
    assert!(engine.configure(r#"{"weight": -1}"#).unwrap_err().contains("below 0"));
    assert!(engine.configure("weight").unwrap_err().contains("not JSON"));
    // And kept when the mirror begins anew.
    let heavy = json(r#"{"weight": 0}"#);
    let mut cluster = Cluster::<Engine<Spread>>::configured(
        [
            node("a").taint("spot", "", "PreferNoSchedule"),
            node("b").milli_cpu(1000),
        ],
        &heavy,
    );
    assert_eq!(cluster.place(&pod()), Ok("a".to_owned()), "a preference of no weight");
}

fn json(text: &str) -> sampan_sdk::Value {
    sampan_sdk::serde_json::from_str(text).unwrap()
}

#[test]
fn a_mirror_that_is_elsewhere_says_so() {
    let mut engine = Engine::<Spread>::default();
    engine.sync(0, 3, no_changes()).unwrap();
    assert!(engine.sync(2, 4, no_changes()).unwrap_err().contains("at 3, not at 2"));
    engine.sync(3, 4, no_changes()).unwrap();
}

#[test]
fn room_is_kept_for_those_who_wait_for_it() {
    let mut engine = Native(Engine::<Spread>::default());
    let mut kernel = sampan_sdk::testing::placing::Kernel::default();
    kernel.put_node(&node("a").pods(1));
    let high = kernel.waiting(1, &pod().priority(10));
    let low = kernel.waiting(2, &pod());
    let higher = kernel.waiting(3, &pod().priority(20));
    kernel.nominate(&high, 1);
    kernel.tell(&mut engine).unwrap();
    let mut place = |pod| engine.place(&[pod], &[]).unwrap().nodes;
    assert_eq!(place(low), [0], "the room is not its own");
    assert_eq!(place(high), [1]);
    let mut engine = Native(Engine::<Spread>::default());
    kernel.tell_all(&mut engine).unwrap();
    assert_eq!(
        engine.place(&[higher], &[]).unwrap().nodes,
        [1],
        "the more important does not wait"
    );
}

#[test]
fn explain_says_what_place_does_and_why() {
    let mut engine = Native(Engine::<Spread>::default());
    let mut kernel = sampan_sdk::testing::placing::Kernel::default();
    for shape in [node("a").milli_cpu(50), node("b").milli_cpu(1000), node("c")] {
        kernel.put_node(&shape);
    }
    let waiting = kernel.waiting(1, &pod());
    kernel.tell(&mut engine).unwrap();
    let explanation = engine.explain(&waiting, 2).unwrap();
    assert_eq!(explanation.node, 3);
    let verdicts: Vec<u32> = explanation.verdicts.iter().map(|verdict| verdict.node).collect();
    assert_eq!(verdicts, [3, 2], "the best first, and no more than asked");
    assert!(explanation.verdicts[0].total > explanation.verdicts[1].total);
    assert_eq!(explanation.refusal.turned_down.len(), 1);
    let all = engine.explain(&waiting, 10).unwrap().verdicts;
    assert_eq!((all[2].node, &all[2].against[..]), (1, &[Rule::Cpu][..]));
    assert_eq!(engine.place(&[waiting], &[]).unwrap().nodes, [3]);
}

#[test]
fn changes_come_to_the_same_as_everything_at_once() {
    for seed in 0..100 {
        fuzz(seed, || Native::<Engine<Spread>>::new("{}")).unwrap();
    }
}

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// Counts how often it is asked.
#[derive(Default)]
struct Counting;

impl Scheduler for Counting {
    fn describe() -> Description {
        description("counting", "0", "")
    }

    fn filter(&self, pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
        ASKED.set(ASKED.get() + 1);
        filters::kubernetes(pod, node)
    }

    fn score(&self, _: &Pod<'_>, node: &Node<'_>) -> i64 {
        -i64::from(node.id())
    }
}

#[test]
fn a_pod_costs_one_question_whatever_the_number_of_nodes() {
    let nodes = 1000;
    let mut cluster = cluster::<Counting>((0..nodes).map(|id| node(&format!("node-{id}")).pods(20)));
    let asked = |cluster: &mut Cluster<Engine<Counting>>, pods| {
        let before = ASKED.get();
        let said = cluster.place_all(&pod(), pods);
        assert!(said.iter().all(Result::is_ok));
        ASKED.get() - before
    };
    assert_eq!(asked(&mut cluster, 1), 1000, "the first of a class asks every node");
    let more = asked(&mut cluster, 500);
    // That the pod before is confirmed counts as a change, too.
    assert!(more <= 503, "{more} questions for 500 pods");
    // A refusal asks nobody again, either.
    let large = pod().milli_cpu(9000);
    assert!(cluster.place(&large).is_err());
    let before = ASKED.get();
    assert!(cluster.place_all(&large, 100).iter().all(Result::is_err));
    assert_eq!(ASKED.get() - before, 0);
}

#[test]
fn a_call_that_would_last_too_long_is_answered_in_parts() {
    let mut kernel = sampan_sdk::testing::placing::Kernel::default();
    for id in 0..60_000 {
        kernel.put_node(&node(&format!("node-{id}")));
    }
    let mut engine = Native(Engine::<Counting>::default());
    let pods: Vec<_> = (1..=10)
        .map(|id| kernel.waiting(id, &pod().milli_cpu(id.into())))
        .collect();
    kernel.tell(&mut engine).unwrap();
    let answered = engine.place(&pods, &[]).unwrap().nodes;
    assert_eq!(answered, [1, 1, 1], "each class looks at all of the nodes");
    assert_eq!(engine.place(&pods[3..], &[]).unwrap().nodes.len(), 3);
}

/// What it costs: `cargo test --release -p sampan-sdk --test placing -- --ignored --nocapture`.
#[test]
#[ignore = "figures, not a test"]
fn figures() {
    for (nodes, pods) in [(5_000, 100_000), (100_000, 200_000)] {
        let mut kernel = sampan_sdk::testing::placing::Kernel::default();
        for id in 0..nodes {
            kernel.put_node(&node(&format!("node-{id}")));
        }
        let mut engine = Native(Engine::<Spread>::default());
        let shape = pod();
        let waiting: Vec<_> = (1..=pods).map(|id| kernel.waiting(id, &shape)).collect();
        kernel.tell(&mut engine).unwrap();
        let start = std::time::Instant::now();
        for batch in waiting.chunks(256) {
            engine.place(batch, &[]).unwrap();
        }
        let micros = start.elapsed().as_secs_f64() * 1e6 / f64::from(pods);
        println!("{nodes} nodes: {micros:.2} µs a pod");
    }
}
