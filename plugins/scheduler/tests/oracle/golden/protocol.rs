//! What the contract says of calls: what is counted at once, what is taken back, what is refused.
use super::Case;
use crate::{
    checks,
    filters::Settings,
    model::{nothing, pod},
};
use scheduler::{
    Engine,
    types::{Bound, Changes, Named, PodGroup},
};

/// A cluster of nodes that take two pods each, and a class.
fn small(nodes: u32) -> (Case, u32) {
    let mut case = Case::new(nodes);
    (1..=nodes).for_each(|id| case.node(id).pods = 2);
    let class = case.class("web");
    let class = case.add(&class);
    (case, class)
}

#[test]
fn a_mirror_that_is_elsewhere_says_so() {
    let (case, _) = small(1);
    let mut engine = case.engine("{}");
    let error = engine.sync(7, 8, nothing()).unwrap_err();
    assert!(error.contains("at 1, not at 7"), "{error}");
    engine.sync(1, 2, nothing()).unwrap();
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let (case, class) = small(1);
    let bound = |node, class| Bound {
        pod: 1,
        node,
        class,
        start: 0,
    };
    for (node, class) in [(9, class), (1, 99)] {
        let mut engine = case.engine("{}");
        let changes = Changes {
            bound: vec![bound(node, class)],
            ..nothing()
        };
        assert!(engine.sync(1, 2, changes).is_err());
        assert!(engine.sync(2, 3, nothing()).is_err(), "it has to be told from nothing");
        engine.sync(0, 3, case.world.everything()).unwrap();
    }
    let mut engine = case.engine("{}");
    let mut node = case.world.nodes[&1].clone();
    node.id = 1 << 20;
    let changes = Changes {
        nodes: vec![node],
        ..nothing()
    };
    assert!(engine.sync(1, 2, changes).is_err(), "a number beyond the bounds");
}

#[test]
fn what_was_assigned_is_counted_at_once_and_taken_back_when_refused() {
    let (case, class) = small(1);
    let mut engine = case.engine("{}");
    assert_eq!(
        engine.place(&[pod(1, class), pod(2, class), pod(3, class)], &[]).nodes,
        [1, 1, 0]
    );
    let changes = Changes {
        released: vec![1],
        ..nothing()
    };
    engine.sync(1, 2, changes).unwrap();
    assert_eq!(engine.place(&[pod(3, class), pod(4, class)], &[]).nodes, [1, 0]);
}

#[test]
fn a_binding_that_is_confirmed_counts_once() {
    let (case, class) = small(1);
    let mut engine = case.engine("{}");
    assert_eq!(engine.place(&[pod(1, class)], &[]).nodes, [1]);
    let (node, start) = (1, 77);
    let bound = Bound {
        pod: 1,
        node,
        class,
        start,
    };
    let changes = Changes {
        bound: vec![bound],
        ..nothing()
    };
    engine.sync(1, 2, changes).unwrap();
    assert_eq!(engine.place(&[pod(2, class), pod(3, class)], &[]).nodes, [1, 0]);
}

#[test]
fn a_node_that_goes_takes_its_pods_along() {
    let (case, class) = small(2);
    let mut engine = case.engine("{}");
    assert_eq!(
        engine.place(&[pod(1, class), pod(2, class), pod(3, class)], &[]).nodes,
        [1, 2, 1]
    );
    let changes = Changes {
        nodes_gone: vec![1],
        ..nothing()
    };
    engine.sync(1, 2, changes).unwrap();
    assert_eq!(engine.place(&[pod(4, class), pod(5, class)], &[]).nodes, [2, 0]);
    let changes = Changes {
        nodes: vec![case.world.nodes[&1].clone()],
        ..nothing()
    };
    engine.sync(2, 3, changes).unwrap();
    assert_eq!(
        engine.place(&[pod(5, class), pod(6, class), pod(7, class)], &[]).nodes,
        [1, 1, 0]
    );
}

#[test]
fn groups_are_placed_together_or_not_at_all() {
    let (case, class) = small(2);
    let mut engine = case.engine("{}");
    let pods: Vec<_> = (1..=10).map(|id| pod(id, class)).collect();
    let group = |first, count, least| PodGroup { first, count, least };
    // Four places: five do not fit together, three do, of the next three one does and that is enough.
    let answer = engine.place(&pods, &[group(0, 5, 5), group(5, 3, 3), group(8, 2, 1)]);
    assert_eq!(answer.nodes, [0, 0, 0, 0, 0, 1, 2, 1, 2, 0]);
    let for_its_group = |place: usize| checks::refusal_of(&answer, place).for_its_group;
    assert_eq!([0, 3, 4, 9].map(for_its_group), [true, true, false, false]);
    assert_eq!(
        engine.place(&[pod(11, class)], &[]).nodes,
        [0],
        "the cluster is full, and no fuller"
    );
}

#[test]
fn equal_refusals_are_said_once() {
    let (mut case, class) = small(1);
    case.there(class, &[1, 1]);
    let mut engine = case.engine("{}");
    let pods: Vec<_> = (10..20).map(|id| pod(id, class)).collect();
    let answer = engine.place(&pods, &[]);
    assert_eq!((answer.unplaced.len(), answer.refusals.len()), (10, 1));
}

#[test]
fn an_explanation_changes_nothing_and_keeps_to_its_length() {
    let (case, class) = small(3);
    let mut engine = case.engine("{}");
    let first = checks::explain(&mut engine, &case.world, &Settings::default(), &pod(1, class));
    assert_eq!(engine.explain(&pod(1, class), u32::MAX), first);
    assert_eq!(engine.explain(&pod(1, class), 2).verdicts, first.verdicts[..2]);
    assert_eq!(engine.place(&[pod(1, class)], &[]).nodes, [first.node]);
}

#[test]
fn a_text_that_the_config_names_may_come_late() {
    let (mut case, _) = small(2);
    let mut web = case.class("web");
    web.owner = case.symbol("uid");
    let web = case.add(&web);
    let mut engine = case.engine(
        r#"{"defaultingType": "List", "defaultConstraints":
        [{"maxSkew": 1, "topologyKey": "row", "whenUnsatisfiable": "DoNotSchedule"}]}"#,
    );
    assert_eq!(engine.place(&[pod(1, web)], &[]).nodes, [0], "no node has the label");
    let symbol = case.symbol("row");
    for id in [1, 2] {
        case.label(id, "row", "kubernetes.io/hostname");
    }
    let text = "row".to_owned();
    let changes = Changes {
        symbols: vec![Named { symbol, text }],
        nodes: case.world.nodes.values().cloned().collect(),
        ..nothing()
    };
    engine.sync(1, 2, changes).unwrap();
    assert_eq!(engine.place(&[pod(1, web)], &[]).nodes, [1]);
}

#[test]
fn a_class_nobody_told_of_gets_no_place() {
    let (case, _) = small(1);
    assert_eq!(case.engine("{}").place(&[pod(1, 99)], &[]).nodes, [0]);
}

#[test]
fn a_config_that_is_wrong_is_refused_by_name() {
    let cases = [
        ("{", "config"),
        (r#"{"weight": {}}"#, "weight"),
        (r#"{"weights": {"NodeAffinity": 101}}"#, "weights.NodeAffinity: 101"),
        (
            r#"{"weights": {"NodeAffinity": "2"}}"#,
            "weights.NodeAffinity: invalid type",
        ),
        (r#"{"scoringStrategy": {"type": "Best"}}"#, "Best"),
        (r#"{"scoringStrategy": {"type": "RequestedToCapacityRatio"}}"#, "shape"),
        (r#"{"scoringStrategy": {"resources": []}}"#, "resources"),
        (
            r#"{"scoringStrategy": {"resources": [{"name": "cpu", "weight": 0}]}}"#,
            "weight",
        ),
        (
            r#"{"scoringStrategy": {"type": "RequestedToCapacityRatio",
            "shape": [{"utilization": 50, "score": 1}, {"utilization": 50, "score": 2}]}}"#,
            "rise",
        ),
        (r#"{"hardPodAffinityWeight": 101}"#, "hardPodAffinityWeight"),
        (
            r#"{"balancedResources": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}, {"name": "e"},
            {"name": "f"}, {"name": "g"}, {"name": "h"}, {"name": "i"}]}"#,
            "balancedResources",
        ),
        (
            r#"{"defaultConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"}]}"#,
            "defaultingType",
        ),
    ];
    for (config, names) in cases {
        let error = Engine::default().configure(config).expect_err(config);
        assert!(error.contains(names), "{config}: {error}");
    }
}
