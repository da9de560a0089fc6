//! What is carried, whatever its size and the network's, and that nobody on the way can read it.
use crate::{
    or_skip,
    stage::{Lab, PORT, TUN, ip, until},
    traffic::{Listener, pattern, ping, tcp_echo, tcp_echo_at, udp, udp_arrives, udp_at},
};
use sampan_overlay::Reason;
use std::net::UdpSocket;

#[test]
fn packets_of_all_kinds_and_sizes_arrive() {
    or_skip!();
    let lab = Lab::running(3, 1500);
    for (from, to) in [(0, 1), (1, 0), (2, 0)] {
        let (from, to) = (&lab.hosts[from], &lab.hosts[to]);
        assert!(ping(from, to.address()), "{} to {}", from.name, to.name);
        for length in [1, 1400, 65_536, 3_000_000] {
            let bytes = pattern(length);
            assert!(tcp_echo(from, to, &bytes) == bytes, "{length} bytes by TCP");
        }
        let (one, other) = (udp(from), udp(to));
        for length in [1, 1200, 64_000] {
            udp_arrives(&one, &other, &pattern(length));
            udp_arrives(&other, &one, &pattern(length));
        }
    }
    let status = lab.hosts[0].status("n2");
    assert!(
        status.sent.bytes > 6_000_000 && status.received.bytes > 6_000_000,
        "{status:?}"
    );
    assert_eq!(status.drops.of(Reason::Spoofed), 0);
}

#[test]
fn so_do_those_of_ipv6() {
    or_skip!();
    let lab = Lab::running(2, 1500);
    let (one, other) = (&lab.hosts[0], &lab.hosts[1]);
    for length in [1, 1400, 3_000_000] {
        let bytes = pattern(length);
        assert!(
            tcp_echo_at(one, other, other.address_v6(), &bytes) == bytes,
            "{length} bytes by TCP"
        );
    }
    let (from, to) = (udp_at(one, one.address_v6()), udp_at(other, other.address_v6()));
    for length in [1, 1200, 1300, 64_000] {
        udp_arrives(&from, &to, &pattern(length));
        udp_arrives(&to, &from, &pattern(length));
    }
}

#[test]
fn nobody_on_the_way_can_read_it() {
    or_skip!();
    let lab = Lab::running(2, 1500);
    let (one, other) = (&lab.hosts[0], &lab.hosts[1]);
    let marker = b"the quick brown sampan";
    let listener = Listener::at(&lab.hub);
    let bytes = marker.repeat(2000);
    assert!(tcp_echo(one, other, &bytes) == bytes);
    udp_arrives(&udp(one), &udp(other), &bytes[..1000]);
    let (all, with) = listener.heard(marker);
    assert!(all > 10, "the packets were heard: {all}");
    assert_eq!(with, 0, "of {all} packets, so many can be read");
    // Beside the overlay, it could be.
    let plain = one.namespace.within(|| UdpSocket::bind((one.underlay, 0)).unwrap());
    plain.send_to(marker, (other.underlay, 9)).unwrap();
    assert!(listener.heard(marker).1 > 0);
}

#[test]
fn a_network_that_carries_little_swallows_nothing() {
    or_skip!();
    for mtu in [1280, 1400] {
        let lab = Lab::running(2, mtu);
        let (one, other) = (&lab.hosts[0], &lab.hosts[1]);
        for length in [1, 1300, 1400, 65_536, 1_000_000] {
            let bytes = pattern(length);
            assert!(
                tcp_echo(one, other, &bytes) == bytes,
                "{length} bytes by TCP over {mtu}"
            );
        }
        let (from, to) = (udp(one), udp(other));
        for length in [1, 1200, 1300, 1400, 1409, 64_000] {
            udp_arrives(&from, &to, &pattern(length));
        }
        let path = one.status("n2").connected.unwrap().path_mtu;
        assert!(path <= mtu - 28, "{path}");
        assert!(one.status("n2").drops.of(Reason::TooLarge) > 0, "the sender was told");
    }
}

#[test]
fn nothing_is_left() {
    or_skip!();
    let mut lab = Lab::running(2, 1500);
    let shows = |namespace: &str| ip(&format!("-n {namespace} link show {TUN}")).status.success();
    let namespace = lab.hosts[0].namespace.0.clone();
    assert!(shows(&namespace));
    lab.hosts[0].overlay.take().unwrap().shutdown();
    // A command that another test begins at this moment has both until it runs.
    until("the device is gone", || !shows(&namespace));
    let free = || UdpSocket::bind(("0.0.0.0", PORT)).is_ok();
    until("the port is free", || lab.hosts[0].namespace.within(free));
    until("the other was told", || !lab.hosts[1].is_connected("n1"));
    lab.hosts[0].start();
    lab.introduce();
    lab.connected();
    assert!(ping(&lab.hosts[0], lab.hosts[1].address()));
}
