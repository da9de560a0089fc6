//! What may be said to pods, and by them.
use crate::{or_skip, stage::*, traffic::*, wanted::*};
use sampan_sandbox::network::{EntryKey, Op, Protocol};
use std::net::SocketAddr;

#[test]
fn ingress_by_peers_and_ports() {
    or_skip!();
    let mut lab = Lab::of(3);
    let (friend, stranger, pod) = (&lab.pods[0], &lab.pods[1], &lab.pods[2]);
    let at = SocketAddr::new(pod.address(), 8080);
    let mut before = Connection::open(&stranger.namespace, at, PATIENCE).unwrap();
    let friends = peers("friends", &[host(friend.address())]);
    let only =
        |ports: &[(Protocol, u16, u16)]| rules(&lab.pods[2].key, Some(vec![allow(Some("friends"), Some(ports))]), None);
    let web = only(&[(Protocol::Tcp, 1, 80), (Protocol::Tcp, 8000, 8100)]);
    let dns = only(&[
        (Protocol::Tcp, 8000, 8079),
        (Protocol::Tcp, 8081, 8081),
        (Protocol::Udp, 8080, 8080),
    ]);
    lab.set(&[friends, web]);
    let (friend, stranger, pod) = (&lab.pods[0], &lab.pods[1], &lab.pods[2]);
    assert_eq!(ask(&friend.namespace, pod.address(), 8080).0, "pod4");
    assert_silent_udp(&friend.namespace, pod.address(), 8080);
    assert_silent(&stranger.namespace, pod.address(), 8080);
    // What stands goes on, the node may, and what the pod says itself is answered.
    assert!(before.is_alive());
    assert_eq!(ask(&lab.node, pod.address(), 8080).0, "pod4");
    assert_eq!(ask(&pod.namespace, stranger.address(), 8080).0, "pod3");
    // Other ports, other peers.
    lab.set(&[dns]);
    let (friend, pod) = (&lab.pods[0], &lab.pods[2]);
    assert_silent(&friend.namespace, pod.address(), 8080);
    assert_eq!(ask_udp(&friend.namespace, pod.address(), 8080).0, "pod4");
    let stranger = host(lab.pods[1].address());
    lab.set(&[peers("friends", &[stranger])]);
    assert_silent_udp(&lab.pods[0].namespace, lab.pods[2].address(), 8080);
    assert_eq!(ask_udp(&lab.pods[1].namespace, lab.pods[2].address(), 8080).0, "pod4");
    // No rules: all may again, and nothing is left.
    let (key, set) = (
        EntryKey::Rules(lab.pods[2].key.clone()),
        EntryKey::Peers("friends".to_owned()),
    );
    lab.act(|datapath| datapath.change(&[Op::Remove(key), Op::Remove(set)]))
        .unwrap();
    assert_eq!(ask(&lab.pods[0].namespace, lab.pods[2].address(), 8080).0, "pod4");
    if let Some(listing) = lab.listing() {
        assert!(
            !listing.contains("peers4") && !listing.contains("chain in-"),
            "{listing}"
        );
    }
}

#[test]
fn egress_is_of_the_backend_and_holds_towards_the_node() {
    or_skip!();
    let mut lab = Lab::of(3);
    lab.servers.start(&lab.node, "node", 9090);
    let (allowed, forbidden) = (lab.pods[1].address(), lab.pods[2].address());
    let blocks = peers("blocks", &[range("10.42.1.2/31"), host(allowed)]);
    let some = rules(&lab.pods[0].key, None, Some(vec![allow(Some("blocks"), None)]));
    lab.set(&[blocks, some]);
    lab.set(&entries([tcp(pool(&[allowed])), udp(pool(&[forbidden]))]));
    let pod = &lab.pods[0].namespace;
    assert_eq!(ask(pod, allowed, 8080).0, "pod3");
    assert_silent(pod, forbidden, 8080);
    // The address of a Service is nobody's: its backend's counts.
    assert_eq!(ask(pod, SERVICE, 80).0, "pod3");
    assert_silent_udp(pod, SERVICE, 80);
    assert_silent(pod, GATEWAY, 9090);
    assert_eq!(ask(&lab.pods[1].namespace, GATEWAY, 9090).0, "node");
    // It is spoken to as before.
    assert_eq!(ask(&lab.node, lab.pods[0].address(), 8080).0, "pod2");
    assert_eq!(ask(&lab.pods[2].namespace, lab.pods[0].address(), 8080).0, "pod2");
    // Everybody at these ports.
    let everybody = vec![allow(None, Some(&[(Protocol::Tcp, 9090, 9090)]))];
    lab.set(&[rules(&lab.pods[0].key, None, Some(everybody))]);
    assert_eq!(ask(&lab.pods[0].namespace, GATEWAY, 9090).0, "node");
    assert_silent(&lab.pods[0].namespace, allowed, 8080);
}

#[test]
fn nothing_may_be_said_but_by_the_pod_to_itself() {
    or_skip!();
    let mut lab = Lab::of(2);
    lab.outside.ip(&format!("route add 10.42.1.0/24 via {NODE}"));
    let alone = rules(&lab.pods[0].key, Some(Vec::new()), Some(Vec::new()));
    let no_port = rules(&lab.pods[1].key, Some(vec![allow(None, Some(&[]))]), None);
    lab.set(&[alone, no_port]);
    lab.set(&entries([tcp(pool(&[lab.pods[0].address()]))]));
    assert_eq!(ask(&lab.pods[0].namespace, SERVICE, 80).0, "pod2");
    assert_silent(&lab.pods[1].namespace, lab.pods[0].address(), 8080);
    assert_silent(&lab.pods[0].namespace, lab.pods[1].address(), 8080);
    for pod in &lab.pods {
        assert_silent(&lab.outside, pod.address(), 8080);
    }
    // Rules hold from a pod's first packet on, and rules of a pod that is not here are kept for it.
    let (pods, none) = (lab.links(), Default::default());
    lab.act(|datapath| datapath.set_pods(&none)).unwrap();
    lab.act(|datapath| datapath.set_pods(&pods)).unwrap();
    assert_silent(&lab.outside, lab.pods[0].address(), 8080);
    assert_eq!(ask(&lab.node, lab.pods[0].address(), 8080).0, "pod2");
}

#[test]
fn large_sets_of_peers_change_member_by_member() {
    or_skip!();
    let mut lab = Lab::of(2);
    let mut members: Vec<_> = (0..20_000_u32)
        .map(|n| range(&format!("{}/32", std::net::Ipv4Addr::from_bits(0xC612_0000 + 2 * n))))
        .collect();
    lab.set(&[
        peers("many", &members),
        rules(&lab.pods[1].key, Some(vec![allow(Some("many"), None)]), None),
    ]);
    assert_silent(&lab.pods[0].namespace, lab.pods[1].address(), 8080);
    members.push(host(lab.pods[0].address()));
    // It joins two that are there.
    members.push(range("198.18.0.1/32"));
    let op = Op::Set(peers("many", &members));
    let done = lab.act(|datapath| datapath.change(&[op])).unwrap();
    assert!(done.bytes < 2000 && !done.mended, "{done:?}");
    assert_eq!(ask(&lab.pods[0].namespace, lab.pods[1].address(), 8080).0, "pod3");
    members.truncate(20_000);
    let op = Op::Set(peers("many", &members));
    assert!(lab.act(|datapath| datapath.change(&[op])).unwrap().bytes < 2000);
    assert_silent(&lab.pods[0].namespace, lab.pods[1].address(), 8080);
}
