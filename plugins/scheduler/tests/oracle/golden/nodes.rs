//! Rules between a pod and a node.
use super::Case;
use crate::model::pod;
use scheduler::types::{Amount, Effect, HostPort, Label, NodeTerm, Operator, Protocol, Rule, Taint, Toleration};

fn taint(case: &mut Case, key: &str, value: &str, effect: Effect) -> Taint {
    let (key, value) = (case.symbol(key), case.symbol(value));
    Taint { key, value, effect }
}

fn of(expressions: Vec<scheduler::types::Requirement>) -> NodeTerm {
    let fields = Vec::new();
    NodeTerm { expressions, fields }
}

#[test]
fn each_resource_that_is_short_is_named() {
    let mut case = Case::new(2);
    let gpu = case.symbol("example.com/gpu");
    case.node(1).allocatable = crate::model::amounts(50, 100, 5);
    case.node(2).pods = 0;
    let mut class = case.class("web");
    class.requests.ephemeral_storage = 10;
    class.extended = vec![Amount { name: gpu, amount: 1 }];
    let class = case.add(&class);
    let expected = [
        (Rule::Pods, 1),
        (Rule::Cpu, 1),
        (Rule::Memory, 1),
        (Rule::EphemeralStorage, 2),
        (Rule::Extended(gpu), 2),
    ];
    assert_eq!(case.refused(class), expected);
}

#[test]
fn a_resource_that_is_not_asked_for_is_never_short() {
    let mut case = Case::new(1);
    let mut all = case.class("all");
    all.requests = crate::model::amounts(4000, 32 << 30, 0);
    let all = case.add(&all);
    case.there(all, &[1]);
    let mut none = case.class("none");
    none.requests = crate::model::amounts(0, 0, 0);
    let none = case.add(&none);
    assert_eq!(case.goes(none, 1), [1]);
}

#[test]
fn extended_resources_are_counted() {
    let mut case = Case::new(2);
    let resource = case.symbol("example.com/gpu");
    case.node(2).extended = vec![Amount {
        name: resource,
        amount: 3,
    }];
    let mut class = case.class("train");
    class.extended = vec![Amount {
        name: resource,
        amount: 2,
    }];
    let class = case.add(&class);
    assert_eq!(case.goes(class, 2), [2, 0]);
}

#[test]
fn a_cordoned_node_takes_who_tolerates_that() {
    let mut case = Case::new(1);
    case.node(1).unschedulable = true;
    let mut class = case.class("web");
    let plain = case.add(&class);
    assert_eq!(case.refused(plain), [(Rule::Unschedulable, 1)]);
    class.id = 2;
    let key = case.symbol("node.kubernetes.io/unschedulable");
    class.tolerations = vec![Toleration {
        key: Some(key),
        value: None,
        effect: Some(Effect::NoSchedule),
    }];
    let tolerant = case.add(&class);
    assert_eq!(case.goes(tolerant, 1), [1]);
}

#[test]
fn a_node_that_is_not_ready_counts_as_tainted() {
    let mut case = Case::new(1);
    case.node(1).ready = false;
    let key = case.symbol("node.kubernetes.io/not-ready");
    let mut class = case.class("web");
    let plain = case.add(&class);
    assert_eq!(case.refused(plain), [(Rule::Taint(Label { key, value: 0 }), 1)]);
    class.id = 2;
    class.tolerations = vec![Toleration {
        key: Some(key),
        value: None,
        effect: None,
    }];
    let tolerant = case.add(&class);
    assert_eq!(case.goes(tolerant, 1), [1]);
}

#[test]
fn taints_of_every_effect() {
    let mut case = Case::new(3);
    let effects = [Effect::NoSchedule, Effect::NoExecute, Effect::PreferNoSchedule];
    for (id, effect) in (1..).zip(effects) {
        let taint = taint(&mut case, "dedicated", "x", effect);
        case.node(id).taints.push(taint);
    }
    let class = case.class("web");
    let class = case.add(&class);
    assert_eq!(case.goes(class, 2), [3, 3], "only a preference can be passed over");
}

#[test]
fn tolerations_by_key_value_and_effect() {
    let mut case = Case::new(1);
    let taint = taint(&mut case, "dedicated", "x", Effect::NoSchedule);
    case.node(1).taints.push(taint);
    let other = case.symbol("y");
    let cases = [
        (Some(taint.key), Some(taint.value), Some(Effect::NoSchedule), 1),
        (Some(taint.key), Some(taint.value), None, 1),
        (Some(taint.key), None, None, 1),
        (None, None, None, 1),
        (Some(taint.key), Some(other), None, 0),
        (Some(taint.key), None, Some(Effect::NoExecute), 0),
        (Some(other), None, None, 0),
    ];
    for (key, value, effect, node) in cases {
        let mut class = case.class("web");
        class.tolerations = vec![Toleration { key, value, effect }];
        let class = case.add(&class);
        assert_eq!(case.goes(class, 1), [node], "{key:?} {value:?} {effect:?}");
    }
}

#[test]
fn the_node_selector_needs_every_label() {
    let mut case = Case::new(3);
    case.label(1, "disk", "ssd");
    case.label(2, "disk", "ssd");
    case.label(2, "cpu", "new");
    let mut class = case.class("web");
    class.node_selector = vec![case.world.label("disk", "ssd"), case.world.label("cpu", "new")];
    let class = case.add(&class);
    assert_eq!(case.goes(class, 2), [2, 2]);
}

#[test]
fn every_operator_of_node_affinity() {
    let mut case = Case::new(3);
    case.label(1, "size", "5");
    case.label(2, "size", "10");
    let cases = [
        (Operator::IsIn, vec!["5", "7"], vec![1]),
        (Operator::NotIn, vec!["5"], vec![2, 3]),
        (Operator::Exists, vec![], vec![1, 2]),
        (Operator::DoesNotExist, vec![], vec![3]),
        (Operator::Greater, vec!["5"], vec![2]),
        (Operator::Less, vec!["10"], vec![1]),
    ];
    for (operator, values, nodes) in cases {
        let mut class = case.class("web");
        class.required_nodes = Some(vec![of(vec![case.requirement("size", operator, &values)])]);
        let class = case.add(&class);
        assert_eq!(case.goes(class, nodes.len() as u32), nodes, "{operator:?}");
    }
}

#[test]
fn one_term_of_node_affinity_is_enough_and_all_of_its_requirements_are_needed() {
    let mut case = Case::new(3);
    case.label(1, "disk", "ssd");
    case.label(2, "disk", "ssd");
    case.label(2, "cpu", "old");
    case.label(3, "cpu", "new");
    let ssd = case.requirement("disk", Operator::IsIn, &["ssd"]);
    let old = case.requirement("cpu", Operator::IsIn, &["old"]);
    let new = case.requirement("cpu", Operator::IsIn, &["new"]);
    let mut class = case.class("web");
    class.required_nodes = Some(vec![of(vec![ssd, old]), of(vec![new])]);
    let class = case.add(&class);
    assert_eq!(case.goes(class, 2), [2, 3]);
}

#[test]
fn a_term_without_requirements_matches_nothing() {
    let mut case = Case::new(1);
    for terms in [vec![], vec![of(Vec::new())]] {
        let mut class = case.class("web");
        class.required_nodes = Some(terms);
        let class = case.add(&class);
        assert_eq!(case.refused(class), [(Rule::NodeAffinity, 1)]);
    }
}

#[test]
fn match_fields_look_at_the_name() {
    let mut case = Case::new(3);
    let mut class = case.class("daemon");
    let mut term = of(Vec::new());
    term.fields = vec![case.requirement("metadata.name", Operator::IsIn, &["node-2"])];
    class.required_nodes = Some(vec![term]);
    let class = case.add(&class);
    assert_eq!(case.goes(class, 2), [2, 2]);
}

#[test]
fn a_pinned_pod_goes_there_or_nowhere() {
    let mut case = Case::new(3);
    case.node(3).unschedulable = true;
    let class = case.class("daemon");
    let class = case.add(&class);
    let mut engine = case.engine("{}");
    let pinned = |id, pinned| scheduler::types::Pod {
        pinned,
        ..pod(id, class)
    };
    let answer = engine.place(&[pinned(1, 2), pinned(2, 3), pinned(3, 9)], &[]);
    assert_eq!(answer.nodes, [2, 0, 0]);
    let counted = |place: usize| {
        let refusal = &answer.refusals[answer.unplaced[place].refusal as usize];
        refusal
            .turned_down
            .iter()
            .map(|counted| (counted.rule, counted.nodes))
            .collect::<Vec<_>>()
    };
    assert_eq!(counted(0), [(Rule::NodeName, 2), (Rule::Unschedulable, 1)]);
    assert_eq!(counted(1), [(Rule::NodeName, 3)]);
}

#[test]
fn host_ports_clash_by_port_protocol_and_address() {
    let mut case = Case::new(1);
    let (here, there) = (case.symbol("10.0.0.1"), case.symbol("10.0.0.2"));
    let port = |port, protocol, address| HostPort {
        port,
        protocol,
        address,
    };
    let mut class = case.class("there");
    class.ports = vec![port(80, Protocol::Tcp, here), port(443, Protocol::Tcp, 0)];
    let taken = case.add(&class);
    case.there(taken, &[1]);
    let cases = [
        (port(80, Protocol::Tcp, here), false),
        (port(80, Protocol::Tcp, there), true),
        (port(80, Protocol::Tcp, 0), false),
        (port(80, Protocol::Udp, here), true),
        (port(81, Protocol::Tcp, here), true),
        (port(443, Protocol::Tcp, there), false),
    ];
    for (port, free) in cases {
        let mut class = case.class("new");
        class.ports = vec![port];
        let class = case.add(&class);
        assert_eq!(case.goes(class, 1) == [1], free, "{port:?}");
    }
    assert_eq!(case.refused(2), [(Rule::Ports, 1)]);
}
