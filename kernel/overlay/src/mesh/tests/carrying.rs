//! Which packets are carried, in which pieces, and what becomes of the others.
use super::*;

/// What the kernel says of a large piece of TCP.
fn in_segments() -> Offload {
    Offload {
        unfinished: true,
        segments: Segments::Tcp,
        size: 1380,
        ..Offload::default()
    }
}

#[test]
fn nobody_speaks_in_the_name_of_others() {
    let authority = Authority::new();
    let mut net = Net::new();
    net.host(&authority.node("n1"), "10.0.0.0/8");
    net.host(&authority.node("n2"), "10.42.2.0/24");
    net.introduce();
    // To the second, the first has another range than it thinks.
    let mut first = peer(1);
    first.ranges = vec!["10.42.7.0/24".parse().unwrap()];
    let now = net.now;
    net.hosts[1].mesh.set_peers(vec![first], now);
    net.until("they are connected", |net| net.joined(1, 2));
    assert!(!net.carries());
    assert_eq!(net.status(1, 2).drops.of(Reason::Spoofed), 1);
    // What is not for the second's addresses.
    let mut second = peer(2);
    second.ranges = vec!["10.0.0.0/8".parse().unwrap()];
    net.hosts[0].mesh.set_peers(vec![second], now);
    net.hosts[1].mesh.set_peers(vec![peer(1)], now);
    let mut packet = Sample::udp(10).made();
    packet[16..20].copy_from_slice(&[10, 99, 0, 1]);
    net.submit(1, Offload::default(), packet);
    net.seconds(1);
    assert_eq!(net.status(1, 2).drops.of(Reason::Astray), 1);
    assert!(net.joined(1, 2), "they stay peers");
}

/// Three nodes, of which the second is in the middle: who is behind it is reached through it.
fn star(narrow: Option<usize>) -> Net {
    let mut net = Net::of(3);
    net.narrow = narrow.map(|longest| (address(3), longest));
    let now = net.now;
    for at in [1, 3] {
        let mut hub = peer(2);
        hub.ranges.extend(peer(4 - at).ranges);
        net.hosts[at - 1].mesh.set_peers(vec![hub], now);
    }
    net.until("the spokes have the hub", |net| net.joined(1, 2) && net.joined(2, 3));
    // What paths carry is found out.
    net.seconds(20);
    net
}

/// From the first to the third.
fn across(mut packet: Vec<u8>) -> Vec<u8> {
    packet[18] = 3;
    let length = packet.len();
    crate::packet::set_length(&mut packet, 20, length);
    packet
}

#[test]
fn the_one_in_the_middle_passes_on_what_is_for_others() {
    let mut net = star(None);
    let packet = across(Sample::udp(1200).made());
    net.submit(1, Offload::default(), packet.clone());
    let stream = across(Sample::tcp(50_000).made());
    net.submit(1, in_segments(), stream.clone());
    net.seconds(1);
    assert!(net.hosts[1].given.is_empty(), "nothing of it is for the hub itself");
    let given = &net.hosts[2].given;
    assert_eq!(given[0].len(), packet.len());
    assert_eq!(
        (given[0][8], &given[0][20..]),
        (packet[8] - 1, &packet[20..]),
        "one hop less"
    );
    let payload: Vec<u8> = given[1..].iter().flat_map(|packet| packet[40..].to_vec()).collect();
    assert!(payload == stream[40..], "the stream is the same");
    // The last hop, and routes that lead back where it came from.
    let mut last = packet.clone();
    last[8] = 1;
    crate::packet::set_length(&mut last, 20, packet.len());
    net.submit(1, Offload::default(), last);
    let now = net.now;
    let mut back = peer(1);
    back.ranges.extend(peer(3).ranges);
    net.hosts[1].mesh.set_peers(vec![back], now);
    // The way that was there before is forgotten.
    net.seconds(11);
    net.submit(1, Offload::default(), packet);
    net.seconds(1);
    assert_eq!(net.status(1, 2).drops.of(Reason::Astray), 2);
}

#[test]
fn the_one_in_the_middle_cuts_streams_and_tells_who_sends_too_much() {
    let mut net = star(Some(1252));
    let stream = across(Sample::tcp(50_000).made());
    net.submit(1, in_segments(), stream.clone());
    net.seconds(1);
    let given = &net.hosts[2].given;
    let payload: Vec<u8> = given.iter().flat_map(|packet| packet[40..].to_vec()).collect();
    assert!(payload == stream[40..], "the stream is the same");
    assert!(net.hosts[0].given.is_empty());
    net.submit(1, Offload::default(), across(Sample::udp(1350).made()));
    net.seconds(1);
    let [told] = &net.hosts[0].given[..] else {
        panic!("one answer")
    };
    let mtu = u16::from_be_bytes([told[26], told[27]]);
    assert_eq!(
        (told[9], mtu),
        (1, net.status(3, 2).connected.unwrap().path_mtu - OVERHEAD)
    );
    assert_eq!(net.status(3, 2).drops.of(Reason::TooLarge), 1);
}

#[test]
fn what_goes_nowhere_is_counted() {
    let mut net = Net::of(2);
    net.submit(1, Offload::default(), Sample::udp(10).made());
    assert_eq!(net.status(2, 1).drops.of(Reason::Away), 1);
    net.until("they are connected", |net| net.joined(1, 2));
    let mut foreign = Sample::udp(10).made();
    foreign[12] = 11;
    let mut nowhere = Sample::udp(10).made();
    nowhere[16] = 11;
    for packet in [foreign, nowhere, vec![1, 2, 3]] {
        net.submit(1, Offload::default(), packet);
    }
    let drops: Vec<(Reason, u64)> = net.hosts[0].mesh.drops().iter().collect();
    assert_eq!(
        drops,
        [(Reason::Malformed, 1), (Reason::NotOurs, 1), (Reason::NoRoute, 1)]
    );
}

#[test]
fn large_packets_arrive_and_the_sender_of_too_large_ones_is_told() {
    let mut net = Net::of(2);
    net.longest = 1252;
    net.until("they are connected", |net| net.joined(1, 2));
    net.submit(1, Offload::default(), Sample::udp(1350).made());
    assert!(net.hosts[0].given.is_empty(), "nobody is told before it is known");
    net.seconds(20);
    let path = net.status(2, 1).connected.unwrap().path_mtu;
    assert!((1240..=1252).contains(&path), "{path}");
    let packet = Sample::tcp(50_000).made();
    net.submit(1, in_segments(), packet.clone());
    net.seconds(1);
    let payload: Vec<u8> = net.hosts[1]
        .given
        .iter()
        .flat_map(|packet| packet[40..].to_vec())
        .collect();
    assert!(payload == packet[40..], "the stream is the same");
    assert!(net.hosts[0].given.is_empty());
    net.submit(1, Offload::default(), Sample::udp(1350).made());
    assert_eq!(net.hosts[0].given.len(), 1);
    let mtu = u16::from_be_bytes([net.hosts[0].given[0][26], net.hosts[0].given[0][27]]);
    assert_eq!(mtu, path - OVERHEAD);
    net.submit(1, Offload::default(), Sample::udp(usize::from(mtu) - 28).made());
    net.seconds(1);
    assert_eq!(net.hosts[1].given.last().unwrap().len(), usize::from(mtu));
    assert_eq!(net.status(2, 1).drops.of(Reason::TooLarge), 2);
}

#[test]
fn while_there_is_more_to_come_calls_are_full() {
    const FULL: usize = 44;
    let mut net = Net::of(2);
    net.until("they are connected", |net| net.joined(1, 2));
    net.seconds(3);
    let now = net.now;
    let mut buffer = Vec::new();
    net.submit(1, in_segments(), Sample::tcp(40 * 1380).made());
    let full = net.hosts[0].mesh.transmit_full(now, |_| FULL, &mut buffer);
    assert!(full.is_none(), "what is not full waits");
    net.submit(1, in_segments(), Sample::tcp(40 * 1380).made());
    let full = net.hosts[0].mesh.transmit_full(now, |_| FULL, &mut buffer).unwrap();
    assert_eq!(full.size.div_ceil(full.segment_size.unwrap()), FULL);
    assert!(net.hosts[0].mesh.transmit_full(now, |_| FULL, &mut buffer).is_none());
    let rest = net.hosts[0].mesh.transmit(now, |_| FULL, &mut buffer).unwrap();
    assert_eq!(rest.size.div_ceil(rest.segment_size.unwrap()), 36);
}
