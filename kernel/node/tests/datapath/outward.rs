//! Traffic of pods to the outside of the cluster.
use crate::{or_skip, stage::*, traffic::*};

#[test]
fn pods_leave_with_the_nodes_address() {
    or_skip!();
    let lab = Lab::of(1);
    // The host outside knows no way to pods.
    assert_eq!(
        ask(&lab.pods[0].namespace, OUTSIDE, 8080),
        ("outside".to_owned(), NODE.into())
    );
    assert_eq!(ask_udp(&lab.pods[0].namespace, OUTSIDE, 8080).1, NODE);
    // The node itself is as ever.
    assert_eq!(ask(&lab.node, OUTSIDE, 8080).1, NODE);
}

#[test]
fn within_the_cluster_they_keep_theirs() {
    or_skip!();
    let mut lab = Lab::of(1);
    lab.outside.ip("addr add 10.42.9.9/32 dev eth0");
    lab.outside.ip(&format!("route add 10.42.1.0/24 via {NODE}"));
    lab.node.ip(&format!("route add 10.42.9.9/32 via {OUTSIDE}"));
    let own = lab.pods[0].address();
    assert_eq!(ask(&lab.pods[0].namespace, "10.42.9.9", 8080).1, own);
    lab.settings.masquerade = false;
    lab.open();
    let pods = lab.links();
    lab.act(|datapath| datapath.replace_with(&[], &pods)).unwrap();
    assert_eq!(ask(&lab.pods[0].namespace, OUTSIDE, 8080).1, own);
}

#[test]
fn packets_are_passed_on_whatever_the_machine_says() {
    or_skip!();
    let mut lab = Lab::of(1);
    lab.node
        .within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap());
    assert_silent(&lab.pods[0].namespace, OUTSIDE, 8080);
    assert!(lab.act(|datapath| datapath.mend()).unwrap().mended);
    assert_eq!(ask(&lab.pods[0].namespace, OUTSIDE, 8080).1, NODE);
}
