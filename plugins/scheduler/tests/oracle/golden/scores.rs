//! What nodes are worth.
use super::Case;
use crate::{
    checks,
    filters::{Settings, Strategy},
    model::pod,
};
use scheduler::types::{Amount, Effect, Image, NodeTerm, Operator, PreferredNode, Taint};

/// A class that asks for these amounts.
fn asking(case: &mut Case, milli_cpu: u64, memory: u64) -> u32 {
    let mut class = case.class("web");
    class.requests = crate::model::amounts(milli_cpu, memory, 0);
    (class.scored_cpu, class.scored_memory) = (milli_cpu, memory);
    case.add(&class)
}

fn with(case: &Case, config: &str, settings: &Settings, class: u32, node: u32) -> i64 {
    let mut engine = case.engine(config);
    let explanation = checks::explain(&mut engine, &case.world, settings, &pod(1000, class));
    let verdict = explanation
        .verdicts
        .iter()
        .find(|verdict| verdict.node == node)
        .unwrap();
    verdict.scores[0].normalized
}

#[test]
fn least_allocated_is_the_default() {
    let mut case = Case::new(2);
    let class = asking(&mut case, 1000, 8 << 30);
    case.there(class, &[1]);
    // CPU and memory: half used with the pod on node 1, a quarter on node 2.
    assert_eq!([case.scores(class, 1)[0], case.scores(class, 2)[0]], [50, 75]);
    assert_eq!(case.goes(class, 3), [2, 1, 2]);
}

#[test]
fn pods_that_ask_for_nothing_count_for_something() {
    let mut case = Case::new(2);
    let mut none = case.class("none");
    none.requests = crate::model::amounts(0, 0, 0);
    (none.scored_cpu, none.scored_memory) = (100, 200 << 20);
    let none = case.add(&none);
    case.there(none, &[1; 8]);
    // 900m of 4000m and 1800Mi of 32Gi: 77 and 94.
    assert_eq!(case.scores(none, 1)[0], 85);
}

#[test]
fn most_allocated_fills() {
    let mut case = Case::new(2);
    let class = asking(&mut case, 1000, 8 << 30);
    case.there(class, &[2]);
    let settings = Settings {
        strategy: Strategy::Most,
        ..Settings::default()
    };
    let config = r#"{"scoringStrategy": {"type": "MostAllocated"}}"#;
    assert_eq!(
        [
            with(&case, config, &settings, class, 1),
            with(&case, config, &settings, class, 2)
        ],
        [25, 50]
    );
}

#[test]
fn requested_to_capacity_follows_its_shape() {
    let mut case = Case::new(1);
    let name = case.symbol("example.com/gpu");
    case.node(1).extended = vec![Amount { name, amount: 4 }];
    let mut class = case.class("train");
    class.extended = vec![Amount { name, amount: 1 }];
    let class = case.add(&class);
    let settings = Settings {
        strategy: Strategy::Ratio(vec![(0, 0), (50, 100), (100, 0)]),
        resources: vec![("example.com/gpu".to_owned(), 2), ("cpu".to_owned(), 1)],
        ..Settings::default()
    };
    let config = r#"{"scoringStrategy": {"type": "RequestedToCapacityRatio",
        "resources": [{"name": "example.com/gpu", "weight": 2}, {"name": "cpu"}],
        "shape": [{"utilization": 0, "score": 0}, {"utilization": 50, "score": 10}, {"utilization": 100, "score": 0}]}}"#;
    // 25 % of the GPUs: 50; 2 % of the CPUs: 4. (2·50 + 4)/3 = 34.67, rounded.
    assert_eq!(with(&case, config, &settings, class, 1), 35);
}

#[test]
fn even_use_is_balanced_use() {
    let mut case = Case::new(1);
    let even = asking(&mut case, 1000, 8 << 30);
    let odd = asking(&mut case, 2000, 8 << 30);
    let none = asking(&mut case, 0, 0);
    assert_eq!(case.scores(even, 1)[1], 100);
    // A half and a quarter: a deviation of an eighth.
    assert_eq!(case.scores(odd, 1)[1], 87);
    assert_eq!(case.scores(none, 1)[1], 0, "a pod that asks for nothing is not weighed");
}

#[test]
fn images_that_are_there() {
    let mut case = Case::new(4);
    let name = case.symbol("web:1");
    case.node(1).images = vec![Image { name, kib: 1000 << 10 }];
    case.node(2).images = vec![Image { name, kib: 1000 << 10 }];
    let mut class = case.class("web");
    class.images = vec![name];
    let class = case.add(&class);
    // 1000 MiB on two of four nodes count for 500: 100·(500 - 23)/(1000 - 23).
    assert_eq!([case.scores(class, 1)[2], case.scores(class, 3)[2]], [48, 0]);
    assert_eq!(case.goes(class, 1), [1]);
}

#[test]
fn preferred_nodes_by_weight() {
    let mut case = Case::new(3);
    case.label(1, "disk", "ssd");
    case.label(1, "cpu", "new");
    case.label(2, "cpu", "new");
    let mut class = case.class("web");
    for (key, weight) in [("disk", 20), ("cpu", 60)] {
        let expressions = vec![case.requirement(key, Operator::Exists, &[])];
        let fields = Vec::new();
        class.preferred_nodes.push(PreferredNode {
            weight,
            term: NodeTerm { expressions, fields },
        });
    }
    let class = case.add(&class);
    assert_eq!([1, 2, 3].map(|node| case.scores(class, node)[3]), [100, 75, 0]);
}

#[test]
fn preferences_against_pods() {
    let mut case = Case::new(3);
    for (id, taints) in [(1, 2), (2, 1)] {
        for key in 0..taints {
            let (key, value) = (case.symbol(&format!("taint-{key}")), 0);
            let effect = Effect::PreferNoSchedule;
            case.node(id).taints.push(Taint { key, value, effect });
        }
    }
    let class = case.class("web");
    let class = case.add(&class);
    assert_eq!([1, 2, 3].map(|node| case.scores(class, node)[4]), [0, 50, 100]);
}

#[test]
fn equals_go_by_number_of_pods_and_then_by_number() {
    let mut case = Case::new(4);
    let mut free = case.class("free");
    free.requests = crate::model::amounts(0, 0, 0);
    (free.scored_cpu, free.scored_memory) = (0, 0);
    let free = case.add(&free);
    case.there(free, &[1, 3]);
    assert_eq!(case.goes(free, 6), [2, 4, 1, 2, 3, 4]);
}

#[test]
fn weights_come_from_the_config() {
    let mut case = Case::new(2);
    let class = asking(&mut case, 1000, 8 << 30);
    case.there(class, &[1]);
    let config = r#"{"weights": {"NodeResourcesFit": 0, "NodeResourcesBalancedAllocation": 0, "TaintToleration": 5}}"#;
    let settings = Settings {
        weights: [0, 0, 1, 2, 5, 2, 2],
        ..Settings::default()
    };
    let explanation = checks::explain(&mut case.engine(config), &case.world, &settings, &pod(1000, class));
    assert_eq!(explanation.verdicts[0].total, 500);
}
