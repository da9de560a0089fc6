//! The same for IPv6.
use crate::{or_skip, stage::*, traffic::*, wanted::*};
use sampan_sandbox::network::{Destination, Fallback, Family, Frontend, FrontendKey, Pool, Protocol, Scope};
use std::net::IpAddr;

const SERVICE_V6: &str = "fd00:96::10";
const NODE_V6: &str = "2001:db8::1";
const OUTSIDE_V6: &str = "2001:db8::9";
const GATEWAY_V6: &str = "fd42:1::1";

fn dual(pods: u8) -> Lab {
    let mut lab = Lab::with(pods, |settings| {
        settings.pod_ranges.push(range("fd42:1::/64"));
        settings.cluster_ranges.push(range("fd42::/16"));
        settings.service_ranges.push(range("fd00:96::/112"));
        settings.node_addresses.push(GATEWAY_V6.parse().unwrap());
    });
    lab.node.ip(&format!("addr add {NODE_V6}/64 dev out0 nodad"));
    lab.outside.ip(&format!("addr add {OUTSIDE_V6}/64 dev eth0 nodad"));
    lab.node.ip(&format!("route add default via {OUTSIDE_V6}"));
    for (number, pod) in (2..).zip(&mut lab.pods) {
        let (address, wire) = (format!("fd42:1::{number}"), &pod.link.interface);
        lab.node.ip(&format!("addr add {GATEWAY_V6}/128 dev {wire} nodad"));
        lab.node.ip(&format!("route add {address}/128 dev {wire}"));
        pod.namespace.ip(&format!("addr add {address}/128 dev eth0 nodad"));
        pod.namespace.ip(&format!("route add {GATEWAY_V6}/128 dev eth0"));
        pod.namespace
            .ip(&format!("route add default via {GATEWAY_V6} dev eth0"));
        pod.link.addresses.push(address.parse().unwrap());
    }
    let pods = lab.links();
    lab.act(|datapath| datapath.set_pods(&pods)).unwrap();
    lab
}

fn v6(pod: &Pod) -> IpAddr {
    pod.link.addresses[1]
}

fn node_port_v6(inside: Pool) -> Frontend {
    let frontend = node_port(Protocol::Tcp, inside, None);
    Frontend {
        key: FrontendKey {
            destination: Destination::Node(Family::V6),
            ..frontend.key
        },
        ..frontend
    }
}

#[test]
fn services_by_ipv6() {
    or_skip!();
    let mut lab = dual(3);
    let serving = pool(&[v6(&lab.pods[1])]);
    let sticky = Frontend {
        affinity_seconds: 60,
        ..at(SERVICE_V6, Protocol::Udp, pool(&[v6(&lab.pods[1]), v6(&lab.pods[2])]))
    };
    lab.set(&entries([
        at(SERVICE_V6, Protocol::Tcp, serving.clone()),
        sticky,
        at("fd00:96::11", Protocol::Tcp, pool(&[v6(&lab.pods[0])])),
        at("fd00:96::12", Protocol::Tcp, nobody(Fallback::Reject)),
        node_port_v6(serving),
    ]));
    let pod = &lab.pods[0].namespace;
    assert_eq!(ask(pod, SERVICE_V6, 80), ("pod3".to_owned(), v6(&lab.pods[0])));
    assert_eq!(ask(&lab.node, SERVICE_V6, 80).0, "pod3");
    let first = ask_udp(pod, SERVICE_V6, 80);
    for _ in 0..10 {
        assert_eq!(ask_udp(pod, SERVICE_V6, 80), first);
    }
    assert_eq!(
        ask(pod, "fd00:96::11", 80),
        ("pod2".to_owned(), GATEWAY_V6.parse().unwrap())
    );
    assert_refused(pod, "fd00:96::12", 80);
    assert_refused(pod, "fd00:96::99", 80);
    assert_eq!(ask(&lab.outside, NODE_V6, NODE_PORT).1.to_string(), GATEWAY_V6);
    assert_eq!(ask(pod, NODE_V6, NODE_PORT).0, "pod3");
}

/// At an address that is no machine's, from the sources that it has of this family.
#[test]
fn load_balancers_by_ipv6() {
    or_skip!();
    let mut lab = dual(2);
    let address = "2001:db8:7::1";
    lab.outside.ip(&format!("route add 2001:db8:7::/64 via {NODE_V6}"));
    let serving = pool(&[v6(&lab.pods[1])]);
    let balanced = |sources: &[&str]| {
        entries([Frontend {
            scope: Scope::LoadBalancer,
            sources: sources.iter().map(|text| range(text)).collect(),
            outside: Some(serving.clone()),
            ..at(address, Protocol::Tcp, serving.clone())
        }])
    };
    let outside: IpAddr = OUTSIDE_V6.parse().unwrap();
    for sources in [&[][..], &["192.0.2.0/24", "2001:db8::/112"]] {
        lab.set(&balanced(sources));
        assert_eq!(ask(&lab.outside, address, 80), ("pod3".to_owned(), outside));
    }
    for sources in [&["2001:db8::a/128"][..], &["192.0.2.0/24"]] {
        lab.set(&balanced(sources));
        assert_silent(&lab.outside, address, 80);
        assert_eq!(ask(&lab.pods[0].namespace, address, 80).0, "pod3", "who is inside may");
    }
}

#[test]
fn backends_leave_by_ipv6() {
    or_skip!();
    let mut lab = dual(3);
    let [one, other] = [1, 2].map(|pod: usize| v6(&lab.pods[pod]));
    let serving = |backend| {
        let by_port = node_port_v6(pool(&[backend]));
        let key = FrontendKey {
            protocol: Protocol::Udp,
            ..by_port.key
        };
        [
            at(SERVICE_V6, Protocol::Udp, pool(&[backend])),
            Frontend { key, ..by_port },
        ]
    };
    lab.set(&entries(serving(one)));
    let inside = Asking::of(&lab.pods[0].namespace, SERVICE_V6, 80).unwrap();
    let outside = Asking::of(&lab.outside, NODE_V6, NODE_PORT).unwrap();
    for (backend, name) in [(one, "pod3"), (other, "pod4")] {
        lab.set(&entries(serving(backend)));
        lab.settle();
        assert_eq!(inside.ask(PATIENCE).unwrap().0, name);
        assert_eq!(outside.ask(PATIENCE).unwrap().0, name);
    }
}

#[test]
fn guards_by_ipv6() {
    or_skip!();
    let mut lab = dual(2);
    assert_eq!(ask(&lab.pods[0].namespace, OUTSIDE_V6, 8080).1.to_string(), NODE_V6);
    assert_eq!(ask(&lab.pods[0].namespace, v6(&lab.pods[1]), 8080).0, "pod3");
    let friends = peers("friends", &[range("fd42:7::/32")]);
    lab.set(&[
        friends,
        rules(&lab.pods[1].key, Some(vec![allow(Some("friends"), None)]), None),
    ]);
    assert_silent(&lab.pods[0].namespace, v6(&lab.pods[1]), 8080);
    assert_eq!(ask(&lab.node, v6(&lab.pods[1]), 8080).0, "pod3");
    lab.set(&[peers(
        "friends",
        &[host(v6(&lab.pods[0])), range("::/127"), range("ffff::/16")],
    )]);
    assert_eq!(ask(&lab.pods[0].namespace, v6(&lab.pods[1]), 8080).0, "pod3");
    // Neighbours go on finding each other, and another's address is of no use.
    let (pod, wire) = (&lab.pods[0], &lab.pods[0].link.interface);
    pod.namespace.ip("-6 neigh flush dev eth0");
    lab.node.ip(&format!("-6 neigh flush dev {wire}"));
    assert_eq!(ask(&pod.namespace, v6(&lab.pods[1]), 8080).0, "pod3");
    pod.namespace.ip("addr del fd42:1::2/128 dev eth0");
    pod.namespace.ip("addr add fd42:1::77/128 dev eth0 nodad");
    lab.node.ip(&format!("route add fd42:1::77/128 dev {wire}"));
    assert_silent_udp(&pod.namespace, OUTSIDE_V6, 8080);
}
