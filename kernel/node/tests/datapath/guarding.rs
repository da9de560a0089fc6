//! Packets with sources that are not their sender's.
use crate::{or_skip, stage::*, traffic::*, wanted::*};

#[test]
fn a_pod_speaks_only_with_its_own_address() {
    or_skip!();
    let mut lab = Lab::of(2);
    let other = &lab.pods[1];
    assert_eq!(
        ask(&lab.pods[0].namespace, other.address(), 8080).1,
        lab.pods[0].address()
    );
    // Somebody else's address, which answers would find their way to.
    let pod = &lab.pods[0];
    pod.namespace.ip("addr add 10.42.1.77/32 dev eth0");
    pod.namespace
        .ip("route replace default via 169.254.1.1 dev eth0 onlink src 10.42.1.77");
    lab.node
        .ip(&format!("route add 10.42.1.77/32 dev {}", pod.link.interface));
    assert_silent_udp(&pod.namespace, other.address(), 8080);
    assert_silent(&pod.namespace, GATEWAY, 8080);
    // Until it is its own.
    let mut pods = lab.links();
    pods.get_mut(&lab.pods[0].key)
        .unwrap()
        .addresses
        .push("10.42.1.77".parse().unwrap());
    lab.act(|datapath| datapath.set_pods(&pods)).unwrap();
    let seen = ask_udp(&lab.pods[0].namespace, lab.pods[1].address(), 8080);
    assert_eq!(seen.1.to_string(), "10.42.1.77");
    // And a pod that is not known says nothing.
    pods.remove(&lab.pods[0].key);
    lab.act(|datapath| datapath.set_pods(&pods)).unwrap();
    assert_silent_udp(&lab.pods[0].namespace, lab.pods[1].address(), 8080);
}

#[test]
fn nobody_from_elsewhere_has_an_address_of_a_pod_here() {
    or_skip!();
    let mut lab = Lab::with(1, |settings| settings.masquerade = false);
    lab.outside.ip("addr add 10.42.1.99/32 dev eth0");
    lab.outside
        .ip(&format!("route add 10.42.1.0/24 via {NODE} src 10.42.1.99"));
    lab.node.ip(&format!("route add 10.42.1.99/32 via {OUTSIDE}"));
    assert_silent_udp(&lab.outside, lab.pods[0].address(), 8080);
    // With an address of its own it is heard.
    lab.outside
        .ip(&format!("route replace 10.42.1.0/24 via {NODE} src {OUTSIDE}"));
    assert_eq!(ask_udp(&lab.outside, lab.pods[0].address(), 8080).1, OUTSIDE);
    lab.set(&entries([tcp(pool(&[lab.pods[0].address()]))]));
}
