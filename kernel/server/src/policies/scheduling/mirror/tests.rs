//! What plugins are told of changes.
use super::*;
use crate::policies::scheduling::reading::Facts;
use sampan_sandbox::scheduler::{Bound, Changes, MOST_CHANGES};
use serde_json::{Value, json};

fn object(value: &Value) -> Object {
    Object::from_value(value).unwrap()
}

fn node(name: &str, cpu: &str, labels: Value) -> Object {
    object(
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "9"},
            "conditions": [{"type": "Ready", "status": "True"}]}}),
    )
}

fn pod(name: &str, spec: Value) -> Object {
    let metadata = json!({"name": name, "namespace": "default", "uid": format!("{name}-uid"), "labels": {"app": "a"}});
    object(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

fn put(mirror: &mut Mirror, pod: &Object, at: u64) -> Option<u32> {
    let shape = mirror.read(pod);
    let key = Key::new("pods", "default", &pod.metadata.name);
    mirror.pod(&key, pod, &shape, &Facts::of(pod), at)
}

/// What is told, in one call.
fn told(mirror: &mut Mirror, symbols: &mut usize) -> Changes {
    let touched = mirror.take_touched();
    let mut calls = touched::changes(mirror, &touched, *symbols);
    assert_eq!(calls.len(), 1);
    *symbols = mirror.symbols.count();
    mirror.told();
    calls.remove(0)
}

#[test]
fn a_pod_is_told_when_it_is_bound_ends_and_goes() {
    let (mut mirror, mut symbols) = (Mirror::default(), 1);
    mirror.node(&node("n", "1", json!({})), false);
    let waiting = pod("p", json!({"containers": []}));
    let id = put(&mut mirror, &waiting, 1).unwrap();
    let first = told(&mut mirror, &mut symbols);
    assert_eq!((first.nodes.len(), first.classes.len(), first.bound.len()), (1, 1, 0));
    let class = first.classes[0].id;
    let text = |text: &str| first.symbols.iter().any(|named| named.text == text);
    assert!(text("app") && text(nodes::CORDON) && text(nodes::NOT_READY));
    mirror.take_news();

    mirror.bound(id, "n", 7, 5);
    let bound = Bound {
        pod: id,
        node: 1,
        class,
        start: 7,
    };
    assert_eq!(told(&mut mirror, &mut symbols).bound, [bound]);
    assert_eq!(mirror.take_news(), News::COMPANY);
    assert_eq!(put(&mut mirror, &waiting, 4), None, "that is older news");
    // Its own news of it changes nothing, and when it started is not said again.
    let running = pod("p", json!({"nodeName": "n", "containers": []}));
    assert_eq!(put(&mut mirror, &running, 5), Some(id));
    assert_eq!(told(&mut mirror, &mut symbols), Changes::default());

    let mut ending = running.clone();
    ending.metadata.deletion_timestamp = Some(sampan_api::time::Timestamp::from_millis(9));
    put(&mut mirror, &ending, 6);
    let changes = told(&mut mirror, &mut symbols);
    assert_eq!((changes.bound, changes.ending), (vec![bound], vec![id]));
    assert_eq!(mirror.take_news(), News::DEPARTURE);
    mirror.remove(id);
    assert_eq!(told(&mut mirror, &mut symbols).released, [id]);
    assert!(mirror.take_news().meets(News::ROOM));
    // The class stays for the next.
    let next = put(&mut mirror, &pod("q", json!({"containers": []})), 7).unwrap();
    assert_eq!(mirror.pods.get(next).unwrap().class, class);
}

#[test]
fn pods_of_a_node_count_once_it_is_there_and_a_number_comes_again_after_it_was_told() {
    let (mut mirror, mut symbols) = (Mirror::default(), 1);
    let early = pod(
        "p",
        json!({"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}),
    );
    let id = put(&mut mirror, &early, 1).unwrap();
    assert_eq!(told(&mut mirror, &mut symbols).bound, []);
    mirror.node(&node("n", "4", json!({})), false);
    let changes = told(&mut mirror, &mut symbols);
    assert_eq!((changes.bound[0].pod, changes.bound[0].node), (id, 1));
    assert_eq!(mirror.nodes.get(1).unwrap().requested.milli_cpu, 1000);
    mirror.node(&node("n", "4", json!({})), true);
    mirror.node(&node("m", "4", json!({})), false);
    let changes = told(&mut mirror, &mut symbols);
    assert_eq!((changes.nodes_gone, changes.nodes[0].id), (vec![1], 2));
    mirror.node(&node("n", "4", json!({})), false);
    let changes = told(&mut mirror, &mut symbols);
    assert_eq!((changes.nodes[0].id, changes.bound[0].node), (1, 1));
    assert_eq!(mirror.nodes.get(1).unwrap().requested.milli_cpu, 1000);
}

#[test]
fn pods_that_say_the_same_are_of_one_class_and_services_make_siblings() {
    let (mut mirror, mut symbols) = (Mirror::default(), 1);
    let pinned = |name: &str| {
        let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        let required =
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}});
        pod(name, json!({"affinity": required, "containers": []}))
    };
    mirror.node(&node("a", "4", json!({})), false);
    let ids = ["a", "b"].map(|name| put(&mut mirror, &pinned(name), 1).unwrap());
    let [a, b] = ids.map(|id| mirror.waiting(id).unwrap());
    assert_eq!(a.class, b.class);
    assert_eq!(a.pinned, 1);
    assert!(
        b.pinned != 0 && mirror.nodes.get(b.pinned).is_none(),
        "there is no node b"
    );
    assert_eq!(told(&mut mirror, &mut symbols).classes[0].siblings, None);

    let service = object(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"},
        "spec": {"selector": {"app": "a"}}}),
    );
    let key = Key::new("services", "default", "s");
    mirror.service(&key, Some(&service));
    let changes = told(&mut mirror, &mut symbols);
    assert_eq!(changes.classes.len(), 1);
    assert_eq!(changes.classes[0].siblings.as_ref().map(Vec::len), Some(1));
    mirror.service(&key, Some(&service));
    assert_eq!(told(&mut mirror, &mut symbols), Changes::default());
    mirror.service(&key, None);
    assert_eq!(told(&mut mirror, &mut symbols).classes[0].siblings, None);
}

#[test]
fn what_is_over_the_bounds_has_no_class() {
    let mut mirror = Mirror::default();
    let constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
    let constraints: Vec<Value> = (0..17).map(|_| constraint.clone()).collect();
    let shape = mirror.read(&pod(
        "p",
        json!({"topologySpreadConstraints": constraints, "containers": []}),
    ));
    assert_eq!(shape.class, 0);
    let why = shape.refused.as_ref().unwrap().to_string();
    assert_eq!(why, "17 spread constraints, and schedulers are told of 16 at the most");
}

#[test]
fn a_nomination_is_told_with_its_pod_and_ends_when_it_is_bound() {
    let (mut mirror, mut symbols) = (Mirror::default(), 1);
    mirror.node(&node("n", "1", json!({})), false);
    let id = put(&mut mirror, &pod("p", json!({"containers": []})), 1).unwrap();
    mirror.nominate(id, Some("n"), 2);
    let changes = told(&mut mirror, &mut symbols);
    assert_eq!((changes.nominated[0].pod, changes.nominated[0].node), (id, 1));
    mirror.bound(id, "n", 1, 3);
    let changes = told(&mut mirror, &mut symbols);
    assert_eq!((changes.nominated_no_more, changes.bound.len()), (vec![id], 1));
}

#[test]
fn much_is_told_in_several_calls_in_the_contracts_order() {
    let mut mirror = Mirror::default();
    mirror.node(&node("n", "1", json!({})), false);
    for n in 0..20_000 {
        put(
            &mut mirror,
            &pod(&format!("p{n}"), json!({"nodeName": "n", "containers": []})),
            1,
        );
    }
    let calls = touched::changes(&mirror, &mirror.everything(), 1);
    assert_eq!(calls.len(), 2);
    let pods: Vec<usize> = calls.iter().map(|call| call.bound.len()).collect();
    assert_eq!(pods.iter().sum::<usize>(), 20_000);
    assert!(pods[0] < MOST_CHANGES && calls[0].nodes.len() == 1 && calls[1].nodes.is_empty());
}

#[test]
fn news_says_what_a_change_of_a_node_could_help() {
    let mut mirror = Mirror::default();
    let mut news = |object: Object, gone: bool| {
        mirror.node(&object, gone);
        mirror.take_news()
    };
    assert_eq!(news(node("n", "1", json!({})), false), News::NODE);
    assert_eq!(news(node("n", "1", json!({})), false), News::NONE);
    assert_eq!(news(node("n", "1", json!({"a": "b"})), false), News::SHAPE);
    assert!(news(node("n", "2", json!({"a": "b"})), false).meets(News::ROOM));
    assert_eq!(news(node("n", "1", json!({"a": "b"})), false), News::NONE);
}
