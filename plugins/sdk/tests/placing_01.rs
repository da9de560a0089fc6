//! Placing through the index is placing by asking every node, only faster: both are fed the same and must agree.
use sampan_sdk::scheduler_01::{
    Delta, Description, Effect, Engine, Label, Node, Outcome, Pod, Resources, Scheduler, Toleration, Usage,
    description, filters,
    testing::{node, pod, taint},
};
use std::collections::BTreeMap;

#[derive(Default)]
struct Spread;

impl Scheduler for Spread {
    fn describe() -> Description {
        description("spread", "0", "")
    }
    fn score(&self, pod: &Pod, node: &Node) -> i64 {
        filters::WHOLE - filters::used_share(pod, node) - filters::WHOLE * filters::untolerated_preferences(pod, node)
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn node(&mut self, id: u32) -> Node {
        let mut node = node(id, 1000 * (1 + self.roll(8)), (1 + self.roll(16)) << 30);
        node.unschedulable = self.roll(20) == 0;
        node.ready = self.roll(20) > 0;
        node.labels = vec![Label {
            key: 1,
            value: u32::try_from(self.roll(3)).unwrap(),
        }];
        let effects = [Effect::NoSchedule, Effect::PreferNoSchedule, Effect::NoExecute];
        if self.roll(5) == 0 {
            node.taints = vec![taint(5, effects[usize::try_from(self.roll(3)).unwrap()])];
        }
        node
    }

    /// One of a dozen kinds of pods; the last two say they are of the same class and are not.
    fn pod(&mut self, id: u32) -> Pod {
        let kind = self.roll(12);
        let mut pod = pod(50 * (1 + kind % 5), (1 + kind % 3) << 28);
        pod.id = id;
        pod.class = u32::try_from(kind.min(10)).unwrap();
        if kind % 4 == 1 {
            pod.node_selector = vec![Label {
                key: 1,
                value: u32::try_from(kind % 3).unwrap(),
            }];
        }
        if kind % 4 == 2 {
            pod.tolerations = vec![Toleration {
                key: Some(5),
                value: None,
                effect: None,
            }];
        }
        pod
    }
}

/// What the engine should do, done slowly.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<u32, Node>,
}

impl Model {
    fn take_in(&mut self, delta: &Delta) {
        match delta {
            Delta::Node(node) => drop(self.nodes.insert(node.id, node.clone())),
            Delta::NodeGone(id) => drop(self.nodes.remove(id)),
            Delta::Bound(usage) => self.usage(usage.node, &usage.resources, true),
            Delta::Released(usage) => self.usage(usage.node, &usage.resources, false),
            Delta::Symbol(_) => {}
        }
    }

    fn usage(&mut self, id: u32, amount: &Resources, add: bool) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let sum = |a: u64, b: u64| if add { a + b } else { a.saturating_sub(b) };
        node.requested.milli_cpu = sum(node.requested.milli_cpu, amount.milli_cpu);
        node.requested.memory = sum(node.requested.memory, amount.memory);
        let pods = sum(node.requested.pods.into(), amount.pods.into());
        node.requested.pods = u32::try_from(pods).unwrap();
    }

    fn place(&mut self, pod: &Pod) -> Option<u32> {
        let fits = self.nodes.values().filter(|node| filters::default(pod, node).is_ok());
        let best = fits
            .max_by_key(|node| (Spread.score(pod, node), std::cmp::Reverse(node.id)))
            .map(|node| node.id)?;
        self.usage(best, &pod.requests, true);
        Some(best)
    }
}

#[test]
fn the_index_agrees_with_asking_every_node() {
    for seed in 0..20 {
        let (mut dice, mut engine, mut model) = (Dice(seed), Engine::<Spread>::default(), Model::default());
        let mut next_node = 1;
        let mut bound: Vec<(u32, Pod)> = Vec::new();
        for round in 0..60_u64 {
            let mut deltas = Vec::new();
            for _ in 0..dice.roll(12) {
                let known = |dice: &mut Dice| 1 + u32::try_from(dice.roll(next_node)).unwrap();
                deltas.push(match dice.roll(6) {
                    0 | 1 => {
                        next_node += 1;
                        Delta::Node(dice.node(u32::try_from(next_node).unwrap()))
                    }
                    2 => {
                        let id = known(&mut dice);
                        if !model.nodes.contains_key(&id) {
                            continue;
                        }
                        Delta::Node(Node {
                            requested: model.nodes[&id].requested,
                            ..dice.node(id)
                        })
                    }
                    3 if round % 7 == 0 => Delta::NodeGone(known(&mut dice)),
                    _ => {
                        let Some((node, pod)) = bound.pop() else { continue };
                        Delta::Released(Usage {
                            node,
                            resources: pod.requests,
                        })
                    }
                });
                model.take_in(deltas.last().unwrap());
            }
            engine.sync(round, round + 1, deltas).unwrap();
            let pods: Vec<Pod> = (0..40).map(|id| dice.pod(id)).collect();
            for (assignment, pod) in engine.place(&pods).into_iter().zip(&pods) {
                let expected = model.place(pod);
                let found = if let Outcome::Bind(id) = assignment.outcome {
                    Some(id)
                } else {
                    None
                };
                assert_eq!(found, expected, "seed {seed}, round {round}, pod {}", pod.id);
                bound.extend(expected.map(|id| (id, pod.clone())));
            }
        }
    }
}

#[test]
fn a_refusal_counts_each_node_once_under_its_first_reason() {
    let bad = |change: fn(&mut Node)| {
        let mut node = node(0, 1000, 1 << 30);
        change(&mut node);
        node
    };
    let nodes = [
        bad(|node| (node.unschedulable, node.ready) = (true, false)),
        bad(|node| node.ready = false),
        bad(|node| node.taints = vec![taint(1, Effect::NoExecute)]),
        bad(|node| node.labels.clear()),
        bad(|node| (node.labels, node.requested.milli_cpu) = (vec![Label { key: 1, value: 2 }], 950)),
        bad(|node| (node.labels, node.requested.memory) = (vec![Label { key: 1, value: 2 }], 1 << 30)),
        bad(|node| (node.labels, node.requested.pods) = (vec![Label { key: 1, value: 2 }], 110)),
    ];
    let deltas = nodes
        .into_iter()
        .zip(1..)
        .map(|(node, id)| Delta::Node(Node { id, ..node }))
        .collect();
    let mut engine = Engine::<Spread>::default();
    engine.sync(0, 5, deltas).unwrap();
    let wanted = Pod {
        node_selector: vec![Label { key: 1, value: 2 }],
        ..pod(100, 1 << 20)
    };
    let Outcome::Unschedulable(refusal) = engine.place(&[wanted])[0].outcome else {
        panic!("it was placed")
    };
    let counts = [
        refusal.cordoned,
        refusal.not_ready,
        refusal.tainted,
        refusal.selector,
        refusal.cpu,
        refusal.memory,
    ];
    assert_eq!((counts, refusal.ephemeral_storage, refusal.pods), ([1; 6], 0, 1));
}

#[test]
fn a_mirror_that_missed_something_says_so_and_starts_again() {
    let mut engine = Engine::<Spread>::default();
    engine.sync(0, 5, vec![Delta::Node(node(1, 1000, 1 << 30))]).unwrap();
    assert!(engine.sync(4, 6, Vec::new()).unwrap_err().contains("at 5"));
    engine.sync(0, 6, Vec::new()).unwrap();
    let refused = engine.place(&[pod(1, 1)]).pop().map(|assignment| assignment.outcome);
    assert!(
        matches!(refused, Some(Outcome::Unschedulable(_))),
        "the node of before is still known"
    );
}

/// For information: `cargo test --release -p sampan-sdk --test placing -- --ignored --nocapture`.
#[test]
#[ignore = "prints a figure"]
fn pace_at_5000_nodes_and_100_pods_a_call() {
    for classes in [1, 4, 16] {
        let mut engine = Engine::<Spread>::default();
        engine
            .sync(
                0,
                1,
                (1..=5000).map(|id| Delta::Node(node(id, 64_000, 256 << 30))).collect(),
            )
            .unwrap();
        let batch: Vec<Pod> = (0..100)
            .map(|id| Pod {
                id,
                class: id % classes,
                ..pod(100, 200 << 20)
            })
            .collect();
        let batch: Vec<Pod> = batch
            .into_iter()
            .map(|pod| Pod {
                requests: Resources {
                    milli_cpu: 100 + u64::from(pod.class),
                    ..pod.requests
                },
                ..pod
            })
            .collect();
        engine.place(&batch);
        let start = std::time::Instant::now();
        let calls = 1000;
        for _ in 0..calls {
            assert!(matches!(
                std::hint::black_box(engine.place(&batch))[99].outcome,
                Outcome::Bind(_)
            ));
        }
        let pods = f64::from(calls * 100);
        println!(
            "{classes} classes: {:.2} µs a pod",
            start.elapsed().as_secs_f64() * 1e6 / pods
        );
    }
}
