//! Who has to go.
use super::Case;
use crate::{filters::Settings, model::pod};
use scheduler::types::{Budget, Nomination, Operator};

/// A class that fills half a node, of some priority.
fn half(case: &mut Case, app: &str, priority: i32) -> u32 {
    let mut class = case.class(app);
    class.requests.milli_cpu = 2000;
    class.priority = priority;
    case.add(&class)
}

fn starts(case: &mut Case, pods: &[u32], starts: &[u32]) {
    for (pod, start) in pods.iter().zip(starts) {
        case.world.pods.get_mut(pod).unwrap().start = *start;
    }
}

#[test]
fn the_less_important_go_and_no_more_than_needed() {
    let mut case = Case::new(1);
    let (low, high) = (half(&mut case, "low", 0), half(&mut case, "high", 10));
    case.there(low, &[1, 1]);
    assert_eq!(
        case.evicts(high),
        (1, vec![2]),
        "the one that started last, here by its number"
    );
    assert_eq!(case.evicts(low), (0, vec![]), "nobody of the own priority goes");
}

#[test]
fn a_pod_that_must_not_preempt_waits() {
    let mut case = Case::new(1);
    let low = half(&mut case, "low", 0);
    case.there(low, &[1, 1]);
    let mut polite = case.class("polite");
    (polite.requests.milli_cpu, polite.priority, polite.may_preempt) = (2000, 10, false);
    let polite = case.add(&polite);
    assert_eq!(case.evicts(polite), (0, vec![]));
}

#[test]
fn budgets_come_first() {
    let mut case = Case::new(2);
    let (low, lower, high) = (
        half(&mut case, "low", 5),
        half(&mut case, "lower", 0),
        half(&mut case, "high", 10),
    );
    case.there(lower, &[1, 1]);
    case.there(low, &[2, 2]);
    let selector = Some(vec![case.requirement("app", Operator::IsIn, &["lower"])]);
    let namespace = case.symbol("red");
    case.world.budgets.insert(
        1,
        Budget {
            id: 1,
            namespace,
            selector,
            allowed: 0,
            disrupted: Vec::new(),
        },
    );
    assert_eq!(case.evicts(high).0, 2, "rather a higher priority than a broken budget");
    case.world.budgets.get_mut(&1).unwrap().allowed = 1;
    assert_eq!(case.evicts(high).0, 1);
    (
        case.world.budgets.get_mut(&1).unwrap().allowed,
        case.world.budgets.get_mut(&1).unwrap().disrupted,
    ) = (0, vec![1, 2]);
    assert_eq!(
        case.evicts(high).0,
        1,
        "those that are counted as disrupted break nothing"
    );
}

#[test]
fn a_budget_is_used_up_by_victims_of_the_same_call() {
    let mut case = Case::new(3);
    let (low, other, high) = (
        half(&mut case, "low", 0),
        half(&mut case, "other", 5),
        half(&mut case, "high", 10),
    );
    case.there(low, &[1, 1, 2, 2]);
    case.there(other, &[3, 3]);
    let selector = Some(vec![case.requirement("app", Operator::IsIn, &["low"])]);
    let namespace = case.symbol("red");
    case.world.budgets.insert(
        1,
        Budget {
            id: 1,
            namespace,
            selector,
            allowed: 1,
            disrupted: Vec::new(),
        },
    );
    let answer = case.answer(high, 3);
    let nominated: Vec<u32> = answer.unplaced.iter().map(|unplaced| unplaced.nominated).collect();
    assert_eq!(nominated, [1, 3, 3]);
}

#[test]
fn a_budget_that_comes_later_counts() {
    let mut case = Case::new(3);
    let (low, other, high) = (
        half(&mut case, "low", 0),
        half(&mut case, "other", 0),
        half(&mut case, "high", 10),
    );
    case.there(low, &[1, 1, 2, 2]);
    case.there(other, &[3, 3]);
    let selector = Some(vec![case.requirement("app", Operator::IsIn, &["low"])]);
    let namespace = case.symbol("red");
    let mut engine = case.engine("{}");
    let nominated = |engine: &mut scheduler::Engine, id| engine.place(&[pod(id, high)], &[]).unplaced[0].nominated;
    assert_eq!(nominated(&mut engine, 50), 1);
    let mut changes = crate::model::nothing();
    changes.budgets.push(Budget {
        id: 1,
        namespace,
        selector,
        allowed: 0,
        disrupted: Vec::new(),
    });
    engine.sync(1, 2, changes).unwrap();
    assert_eq!([51, 52].map(|id| nominated(&mut engine, id)), [3, 3]);
}

#[test]
fn then_the_priority_of_the_most_important_victim() {
    let mut case = Case::new(2);
    let (low, mid, high) = (
        half(&mut case, "low", 0),
        half(&mut case, "mid", 5),
        half(&mut case, "high", 10),
    );
    case.there(mid, &[1, 1]);
    case.there(low, &[2, 2]);
    assert_eq!(case.evicts(high).0, 2);
}

#[test]
fn then_the_sum_of_priorities_and_how_many() {
    let mut case = Case::new(2);
    let (half_pod, high) = (half(&mut case, "half", 0), half(&mut case, "high", 10));
    let mut quarter = case.class("quarter");
    quarter.requests.milli_cpu = 1000;
    let quarter = case.add(&quarter);
    case.there(quarter, &[1, 1, 1, 1]);
    case.there(half_pod, &[2, 2]);
    assert_eq!(case.evicts(high), (2, vec![6]), "one instead of two");
}

#[test]
fn then_those_who_started_last() {
    let mut case = Case::new(2);
    let (low, high) = (half(&mut case, "low", 0), half(&mut case, "high", 10));
    let pods = case.there(low, &[1, 1, 2, 2]);
    starts(&mut case, &pods, &[10, 20, 15, 30]);
    assert_eq!(case.evicts(high), (2, vec![4]));
}

#[test]
fn room_that_no_end_of_pods_can_make_costs_nobody() {
    let mut case = Case::new(3);
    let (low, high) = (half(&mut case, "low", 0), half(&mut case, "high", 10));
    case.there(low, &[1, 1, 2, 2, 3, 3]);
    case.node(1).unschedulable = true;
    case.node(2).allocatable.memory = 100;
    assert_eq!(case.evicts(high), (3, vec![6]));
}

#[test]
fn anti_affinity_of_the_less_important_is_no_obstacle() {
    let mut case = Case::new(1);
    let mut low = case.class("low");
    low.anti_affinity = vec![case.term(crate::random::HOST, "high")];
    let low = case.add(&low);
    let other = case.class("other");
    let other = case.add(&other);
    case.there(low, &[1]);
    case.there(other, &[1]);
    let mut high = case.class("high");
    high.priority = 10;
    let high = case.add(&high);
    assert_eq!(case.evicts(high), (1, vec![1]));
}

#[test]
fn those_who_are_ending_make_room_for_nothing() {
    let mut case = Case::new(2);
    let (low, high) = (half(&mut case, "low", 0), half(&mut case, "high", 10));
    let pods = case.there(low, &[1, 1, 2, 2]);
    case.world.pods.get_mut(&pods[3]).unwrap().ending = true;
    assert_eq!(case.evicts(high), (2, vec![]), "it waits where one is ending anyway");
}

#[test]
fn each_pod_gets_room_of_its_own() {
    let mut case = Case::new(2);
    let (low, high) = (half(&mut case, "low", 0), half(&mut case, "high", 10));
    case.there(low, &[1, 1, 2, 2]);
    let answer = case.answer(high, 5);
    let said: Vec<_> = answer
        .unplaced
        .iter()
        .map(|unplaced| (unplaced.nominated, unplaced.victims.len()))
        .collect();
    assert_eq!(said, [(1, 1), (1, 1), (2, 1), (2, 1), (0, 0)]);
}

#[test]
fn room_is_kept_from_those_who_are_no_more_important() {
    let mut case = Case::new(1);
    let (low, mid, high) = (
        half(&mut case, "low", 0),
        half(&mut case, "mid", 10),
        half(&mut case, "high", 20),
    );
    case.there(low, &[1]);
    case.world.nominations.insert(
        50,
        Nomination {
            pod: 50,
            node: 1,
            class: mid,
        },
    );
    assert_eq!(case.goes(low, 1), [0]);
    assert_eq!(case.goes(mid, 1), [0]);
    assert_eq!(case.goes(high, 1), [1], "a more important one need not wait");
}

#[test]
fn a_nominated_pod_goes_where_room_was_made() {
    let mut case = Case::new(3);
    let high = half(&mut case, "high", 10);
    case.world.nominations.insert(
        50,
        Nomination {
            pod: 50,
            node: 3,
            class: high,
        },
    );
    let mut engine = case.engine("{}");
    let mut world = case.world.clone();
    let answer = crate::checks::place(
        &mut engine,
        &mut world,
        &Settings::default(),
        &[pod(50, high), pod(51, high)],
    );
    assert_eq!(answer.nodes, [3, 1], "though others are as good");
}

#[test]
fn the_more_important_take_over_room() {
    let mut case = Case::new(1);
    let (low, mid, high) = (
        half(&mut case, "low", 0),
        half(&mut case, "mid", 10),
        half(&mut case, "high", 20),
    );
    case.there(low, &[1, 1]);
    case.world.nominations.insert(
        50,
        Nomination {
            pod: 50,
            node: 1,
            class: mid,
        },
    );
    let mut engine = case.engine("{}");
    let mut world = case.world.clone();
    let pods = [pod(60, high), pod(61, high), pod(50, mid)];
    let answer = crate::checks::place(&mut engine, &mut world, &Settings::default(), &pods);
    let said: Vec<_> = answer.unplaced.iter().map(|unplaced| unplaced.nominated).collect();
    assert_eq!(said, [1, 1, 0], "the nomination of the less important one ended");
}
