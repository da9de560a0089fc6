//! Who is not heard, and what is not believed.
use crate::{
    or_skip,
    stage::{Authority, Lab, PORT, TUN, until},
    traffic::{ping, udp, udp_arrives},
};
use sampan_overlay::{Config, Overlay, OverlayError, Reason};
use std::{net::UdpSocket, thread, time::Duration};

#[test]
fn who_is_of_another_authority_or_no_peer_is_not_heard() {
    or_skip!();
    let other = Authority::new();
    let strangers = [
        ("another authority", Some(other.node("n2"))),
        ("another node's name", None),
    ];
    for (what, credentials) in strangers {
        let mut lab = Lab::of(2, 1500);
        lab.hosts[1].credentials = credentials.unwrap_or_else(|| lab.authority.node("n9"));
        for host in &mut lab.hosts {
            host.start();
        }
        lab.introduce();
        // Both have dialled, more than once.
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(300));
            assert!(!lab.hosts[0].is_connected("n2"), "{what}");
            assert!(!ping(&lab.hosts[1], lab.hosts[0].address()), "{what}");
        }
        assert_eq!(lab.hosts[0].status("n2").received.packets, 0, "{what}");
    }
}

#[test]
fn a_source_that_is_not_the_senders_is_dropped_and_counted() {
    or_skip!();
    let mut lab = Lab::of(2, 1500);
    // The first lets out more than the second lets in.
    lab.hosts[0].ranges = vec!["10.42.0.0/16".to_owned()];
    lab.hosts.iter_mut().for_each(super::stage::Host::start);
    lab.introduce();
    lab.connected();
    let (one, other) = (&lab.hosts[0], &lab.hosts[1]);
    let receiver = udp(other);
    let to = receiver.local_addr().unwrap();
    udp_arrives(&udp(one), &receiver, b"honest");
    let send = |address: &str| {
        one.namespace.ip(&format!("addr add {address}/32 dev {TUN}"));
        let socket = one.namespace.within(|| UdpSocket::bind((address, 0)).unwrap());
        socket.send_to(b"not mine", to).unwrap();
    };
    send("10.42.9.9");
    until("the peer counts it", || {
        other.status("n1").drops.of(Reason::Spoofed) > 0
    });
    send("203.0.113.1");
    until("it does not even leave", || {
        one.overlay().drops().unwrap().of(Reason::NotOurs) > 0
    });
    let mut buffer = [0; 100];
    assert!(receiver.recv_from(&mut buffer).is_err(), "nothing of it arrived");
    assert!(one.is_connected("n2"));
}

#[test]
fn noise_on_the_port_changes_nothing() {
    or_skip!();
    let lab = Lab::running(2, 1500);
    let noise = lab.hub.within(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    lab.hub.ip("addr add 192.0.2.200/24 dev br0");
    for length in 0..1400usize {
        let bytes: Vec<u8> = (0..length).map(|at| (at * length * 31 + at) as u8).collect();
        let _ = noise.send_to(&bytes, (lab.hosts[0].underlay, PORT));
    }
    assert!(ping(&lab.hosts[0], lab.hosts[1].address()));
}

#[test]
fn without_its_interface_it_ends_and_says_so() {
    or_skip!();
    let lab = Lab::running(2, 1500);
    lab.hosts[0].namespace.ip(&format!("link del {TUN}"));
    until("it has ended", || {
        matches!(lab.hosts[0].overlay().peers(), Err(OverlayError::Ended))
    });
    until("the peer is away", || !lab.hosts[1].is_connected("n1"));
}

#[test]
fn what_is_wrong_is_said() {
    or_skip!();
    let lab = Lab::running(1, 1500);
    let host = &lab.hosts[0];
    let start = |tun: &str, bind: &str, mtu: u16| {
        let config = Config {
            name: "n1".to_owned(),
            bind: bind.parse().unwrap(),
            credentials: host.credentials.clone(),
            tun: tun.to_owned(),
            ranges: Vec::new(),
            mtu,
        };
        host.namespace.within(|| Overlay::start(config)).unwrap_err()
    };
    assert!(matches!(
        start("other", "0.0.0.0:7473", 1500),
        OverlayError::Bind { .. }
    ));
    assert!(matches!(start(TUN, "0.0.0.0:0", 1500), OverlayError::Device { .. }));
    let long = start("a-name-that-is-too-long", "0.0.0.0:0", 1500).to_string();
    assert!(long.contains("1 to 15 bytes"), "{long}");
    assert!(matches!(start("other", "0.0.0.0:0", 1200), OverlayError::Mtu(1200)));
}
