//! Connections to Services from pods, from the node and from outside.
use crate::{or_skip, stage::*, traffic::*, wanted::*};
use sampan_sandbox::network::{Fallback, Frontend, Op, Protocol, Scope};
use std::collections::BTreeMap;

#[test]
fn pods_and_the_node_reach_a_service_by_tcp_and_udp() {
    or_skip!();
    let mut lab = Lab::of(3);
    let serving = pool(&[lab.pods[1].address(), lab.pods[2].address()]);
    lab.set(&entries([tcp(serving.clone()), udp(serving)]));
    let (mut by_tcp, mut by_udp) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..24 {
        let (name, from) = ask(&lab.pods[0].namespace, SERVICE, 80);
        // Who is inside keeps his address.
        assert_eq!(from, lab.pods[0].address());
        *by_tcp.entry(name).or_insert(0) += 1;
        let (name, from) = ask_udp(&lab.pods[0].namespace, SERVICE, 80);
        assert_eq!(from, lab.pods[0].address());
        *by_udp.entry(name).or_insert(0) += 1;
    }
    let names = |seen: BTreeMap<String, i32>| seen.into_keys().collect::<Vec<_>>();
    assert_eq!(names(by_tcp), ["pod3", "pod4"]);
    assert_eq!(names(by_udp), ["pod3", "pod4"]);
    assert!(["pod3", "pod4"].contains(&ask(&lab.node, SERVICE, 80).0.as_str()));
    assert!(["pod3", "pod4"].contains(&ask_udp(&lab.node, SERVICE, 80).0.as_str()));
    // Not another port, nor another protocol's.
    assert_refused(&lab.pods[0].namespace, SERVICE, 81);
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    or_skip!();
    let mut lab = Lab::of(1);
    let serving = pool(&[lab.pods[0].address()]);
    lab.set(&entries([tcp(serving.clone()), udp(serving)]));
    let (name, from) = ask(&lab.pods[0].namespace, SERVICE, 80);
    assert_eq!((name.as_str(), from), ("pod2", GATEWAY.into()));
    assert_eq!(ask_udp(&lab.pods[0].namespace, SERVICE, 80).0, "pod2");
    // And what is not from itself is not touched.
    assert_eq!(ask(&lab.node, SERVICE, 80).0, "pod2");
}

#[test]
fn node_ports_from_everywhere() {
    or_skip!();
    let mut lab = Lab::of(2);
    let serving = pool(&[lab.pods[1].address()]);
    lab.set(&entries([
        node_port(Protocol::Tcp, serving.clone(), None),
        node_port(Protocol::Udp, serving, None),
    ]));
    // From outside, the node becomes the source.
    assert_eq!(ask(&lab.outside, NODE, NODE_PORT), ("pod3".to_owned(), GATEWAY.into()));
    assert_eq!(
        ask_udp(&lab.outside, NODE, NODE_PORT),
        ("pod3".to_owned(), GATEWAY.into())
    );
    // From a pod it does not, at any address of the node.
    let pod = (&lab.pods[0].namespace, lab.pods[0].address());
    assert_eq!(ask(pod.0, NODE, NODE_PORT), ("pod3".to_owned(), pod.1));
    assert_eq!(ask(pod.0, GATEWAY, NODE_PORT), ("pod3".to_owned(), pod.1));
    // From the node itself.
    assert_eq!(ask(&lab.node, NODE, NODE_PORT).0, "pod3");
    assert_refused(&lab.node, "127.0.0.1", NODE_PORT);
    // The same port of somebody else is not the node's.
    assert_refused(&lab.pods[0].namespace, OUTSIDE, NODE_PORT);
    assert_refused(&lab.outside, NODE, NODE_PORT + 1);
}

#[test]
fn with_an_outside_of_its_own_the_source_is_kept() {
    or_skip!();
    let mut lab = Lab::of(3);
    let (here, anywhere) = (lab.pods[2].address(), lab.pods[1].address());
    let frontend = |outside| node_port(Protocol::Tcp, pool(&[anywhere]), Some(outside));
    lab.set(&entries([frontend(pool(&[here]))]));
    assert_eq!(ask(&lab.outside, NODE, NODE_PORT), ("pod4".to_owned(), OUTSIDE.into()));
    assert_eq!(ask(&lab.pods[0].namespace, NODE, NODE_PORT).0, "pod3");
    lab.set(&entries([frontend(nobody(Fallback::Drop))]));
    assert_silent(&lab.outside, NODE, NODE_PORT);
    assert_eq!(ask(&lab.pods[0].namespace, NODE, NODE_PORT).0, "pod3");
}

#[test]
fn a_service_from_outside_is_masqueraded_and_marks_of_others_stay() {
    or_skip!();
    let mut lab = Lab::of(1);
    lab.outside.ip(&format!("route add 10.96.0.0/12 via {NODE}"));
    let serving = pool(&[lab.pods[0].address()]);
    lab.set(&entries([tcp(serving.clone())]));
    assert_eq!(ask(&lab.outside, SERVICE, 80), ("pod2".to_owned(), GATEWAY.into()));
    let balanced = Frontend {
        scope: Scope::LoadBalancer,
        outside: Some(serving.clone()),
        ..tcp(serving)
    };
    lab.set(&entries([balanced]));
    assert_eq!(ask(&lab.outside, SERVICE, 80), ("pod2".to_owned(), OUTSIDE.into()));
}

#[test]
fn weights_are_shares_of_new_connections() {
    or_skip!();
    let mut lab = Lab::of(4);
    let mut serving = pool(&[]);
    for (pod, weight) in lab.pods[1..].iter().zip([30, 10, 0]) {
        serving.backends.push(backend(pod.address(), weight));
    }
    lab.set(&entries([udp(serving)]));
    let mut seen: BTreeMap<String, i32> = BTreeMap::new();
    for _ in 0..400 {
        *seen.entry(ask_udp(&lab.pods[0].namespace, SERVICE, 80).0).or_default() += 1;
    }
    // 300 is meant; as far off as one time in many millions.
    let most = seen["pod3"];
    assert!((250..350).contains(&most), "{seen:?}");
    assert_eq!(seen.get("pod5"), None);
}

#[test]
fn what_is_removed_is_served_no_more() {
    or_skip!();
    let mut lab = Lab::of(2);
    let frontend = tcp(pool(&[lab.pods[1].address()]));
    let key = sampan_sandbox::network::EntryKey::Frontend(frontend.key);
    lab.set(&entries([frontend]));
    assert_eq!(ask(&lab.pods[0].namespace, SERVICE, 80).0, "pod3");
    lab.act(|datapath| datapath.change(&[Op::Remove(key)])).unwrap();
    assert_refused(&lab.pods[0].namespace, SERVICE, 80);
    if let Some(listing) = lab.listing() {
        assert!(!listing.contains(SERVICE), "{listing}");
        assert!(!listing.contains("inside4-1"), "{listing}");
    }
}
