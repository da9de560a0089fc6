//! Connections that nobody serves, or that may not be.
use crate::{or_skip, stage::*, traffic::*, wanted::*};
use sampan_sandbox::network::{Fallback, Frontend, Protocol, Scope};
use std::io;

#[test]
fn without_backends_connections_are_rejected_or_dropped() {
    or_skip!();
    let mut lab = Lab::of(1);
    lab.outside.ip(&format!("route add 10.96.0.0/12 via {NODE}"));
    lab.set(&entries([
        tcp(nobody(Fallback::Reject)),
        udp(nobody(Fallback::Reject)),
        node_port(Protocol::Tcp, nobody(Fallback::Reject), None),
    ]));
    let refused = |result: io::Result<Seen>| {
        let kind = result.unwrap_err().kind();
        // The kernel tells who is on the node itself before the packet has left.
        let is_told = matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied);
        assert!(is_told, "{kind:?}");
    };
    for from in [&lab.pods[0].namespace, &lab.node, &lab.outside] {
        assert_refused(from, SERVICE, 80);
        refused(try_udp(from, SERVICE, 80, PATIENCE));
        assert_refused(from, NODE, NODE_PORT);
    }
    lab.set(&entries([tcp(nobody(Fallback::Drop)), udp(nobody(Fallback::Drop))]));
    for from in [&lab.pods[0].namespace, &lab.outside] {
        assert_silent(from, SERVICE, 80);
        assert_silent_udp(from, SERVICE, 80);
    }
}

#[test]
fn an_address_of_services_that_is_nobodys_is_rejected() {
    or_skip!();
    let lab = Lab::of(1);
    assert_refused(&lab.pods[0].namespace, "10.96.7.7", 80);
    assert_refused(&lab.node, "10.96.7.7", 80);
}

#[test]
fn only_sources_may_connect_from_outside() {
    or_skip!();
    let mut lab = Lab::of(2);
    lab.outside.ip("addr add 192.0.2.77/24 dev eth0");
    lab.outside.ip(&format!("route add 203.0.113.0/24 via {NODE}"));
    let serving = pool(&[lab.pods[1].address()]);
    let address = "203.0.113.5";
    let balanced = |sources: &[&str]| Frontend {
        scope: Scope::LoadBalancer,
        sources: sources.iter().map(|text| range(text)).collect(),
        outside: Some(serving.clone()),
        ..at(address, Protocol::Tcp, serving.clone())
    };
    let elsewhere = Frontend {
        outside: Some(serving.clone()),
        ..at("203.0.113.6", Protocol::Tcp, serving.clone())
    };
    lab.set(&entries([
        balanced(&["192.0.2.9/32", "198.51.100.0/24", "198.51.0.0/16"]),
        elsewhere,
    ]));
    assert_eq!(ask(&lab.outside, address, 80).1, OUTSIDE);
    lab.set(&entries([balanced(&["192.0.2.64/26", "198.51.100.0/24"])]));
    assert_silent(&lab.outside, address, 80);
    // Who is inside may anyway, and other frontends are not concerned.
    assert_eq!(ask(&lab.pods[0].namespace, address, 80).0, "pod3");
    assert_eq!(ask(&lab.outside, "203.0.113.6", 80).0, "pod3");
    lab.set(&entries([balanced(&["192.0.2.0/24"])]));
    assert_eq!(ask(&lab.outside, address, 80).1, OUTSIDE);
    lab.set(&entries([balanced(&["2001:db8::/32"])]));
    assert_silent(&lab.outside, address, 80);
    lab.set(&entries([balanced(&[])]));
    assert_eq!(ask(&lab.outside, address, 80).1, OUTSIDE);
    if let Some(listing) = lab.listing() {
        assert!(!listing.contains("sources4"), "{listing}");
    }
}
