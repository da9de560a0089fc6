//! Meshes on a network and a clock that are only numbers.
use super::*;
use crate::packet::{OFFLOAD, Offload, Segments, samples::Sample};
use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair as Key,
};
use sampan_tls::{Credentials, KeyPair};
use std::{sync::Arc, time::Duration};

const LATENCY: Duration = Duration::from_millis(1);

struct Authority(Issuer<'static, Key>, String);

impl Authority {
    fn new() -> Self {
        let key = Key::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).unwrap().pem();
        Authority(Issuer::new(params, key), pem)
    }

    fn issue(&self, host: &str, user: &str, group: &str) -> Arc<Credentials> {
        let key = Key::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let own = KeyPair {
            cert_pem: params.signed_by(&key, &self.0).unwrap().pem(),
            key_pem: key.serialize_pem(),
        };
        Credentials::new(&self.1, &own).unwrap()
    }

    fn node(&self, name: &str) -> Arc<Credentials> {
        self.issue(name, &format!("system:node:{name}"), "system:nodes")
    }
}

struct Packet {
    due: Instant,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

struct Host {
    mesh: Mesh,
    address: SocketAddr,
    /// What its kernel was given, without the word about it.
    given: Vec<Vec<u8>>,
}

/// Hosts `n1`, `n2`, … at 192.0.2.1, 192.0.2.2, …
struct Net {
    now: Instant,
    hosts: Vec<Host>,
    flying: Vec<Packet>,
    /// The longest UDP payload that arrives.
    longest: usize,
    /// The same, of one host.
    narrow: Option<(SocketAddr, usize)>,
    /// Hosts that nothing reaches or leaves.
    dead: Vec<usize>,
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::new([192, 0, 2, u8::try_from(number).unwrap()].into(), 7)
}

fn peer(number: usize) -> Peer {
    Peer {
        name: format!("n{number}"),
        address: address(number),
        ranges: vec![format!("10.42.{number}.0/24").parse().unwrap()],
    }
}

fn mesh(number: usize, credentials: &Arc<Credentials>, ranges: &str) -> Mesh {
    Mesh::new(Parts {
        name: format!("n{number}"),
        ranges: vec![ranges.parse().unwrap()],
        transport: Transport::new(credentials, 1472).unwrap(),
        joins_udp: true,
        discovers_mtu: true,
        seed: [u8::try_from(number).unwrap(); 32],
    })
}

impl Net {
    fn new() -> Self {
        Net {
            now: Instant::now(),
            hosts: Vec::new(),
            flying: Vec::new(),
            longest: 1472,
            narrow: None,
            dead: Vec::new(),
        }
    }

    /// So many of one authority, who know each other.
    fn of(count: usize) -> Self {
        let authority = Authority::new();
        let mut net = Net::new();
        for number in 1..=count {
            net.host(&authority.node(&format!("n{number}")), &format!("10.42.{number}.0/24"));
        }
        net.introduce();
        net
    }

    fn host(&mut self, credentials: &Arc<Credentials>, ranges: &str) {
        let number = self.hosts.len() + 1;
        self.hosts.push(Host {
            mesh: mesh(number, credentials, ranges),
            address: address(number),
            given: Vec::new(),
        });
    }

    fn introduce(&mut self) {
        let peers: Vec<Peer> = (1..=self.hosts.len()).map(peer).collect();
        for host in &mut self.hosts {
            host.mesh.set_peers(peers.clone(), self.now);
        }
    }

    fn step(&mut self) {
        let arriving: Vec<Packet> = {
            let (arriving, flying) = self.flying.drain(..).partition(|packet| packet.due <= self.now);
            self.flying = flying;
            arriving
        };
        for packet in arriving {
            let to = self.hosts.iter().position(|host| host.address == packet.to);
            if let Some(to) = to.filter(|to| !self.dead.contains(to)) {
                let bytes = BytesMut::from(&packet.bytes[..]);
                self.hosts[to].mesh.heard(self.now, packet.from, None, None, bytes);
            }
        }
        for (number, host) in self.hosts.iter_mut().enumerate() {
            host.mesh.expire(self.now);
            let given = &mut host.given;
            let mut sink = |head: &[u8], parts: &[Bytes]| given.push([&head[OFFLOAD..], &parts.concat()].concat());
            host.mesh.deliver(self.now, &mut sink);
            host.mesh.flush(&mut sink);
            let mut buffer = Vec::new();
            while let Some(transmit) = host.mesh.transmit(self.now, |_| 10, &mut buffer) {
                let bytes = &buffer[..transmit.size];
                let narrow = self
                    .narrow
                    .filter(|(at, _)| [host.address, transmit.destination].contains(at));
                let longest = narrow.map_or(self.longest, |(_, longest)| longest);
                for bytes in bytes.chunks(transmit.segment_size.unwrap_or(bytes.len())) {
                    if bytes.len() <= longest && !self.dead.contains(&number) {
                        self.flying.push(Packet {
                            due: self.now + LATENCY,
                            from: host.address,
                            to: transmit.destination,
                            bytes: bytes.to_vec(),
                        });
                    }
                }
            }
        }
        let dues = self.hosts.iter().filter_map(|host| host.mesh.due());
        let next = dues.chain(self.flying.iter().map(|packet| packet.due)).min();
        self.now = next.unwrap_or(self.now).max(self.now + Duration::from_micros(100));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// How long it takes until it is so.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now;
        while !holds(self) {
            assert!(
                self.now - begun < Duration::from_secs(120),
                "it never came about: {what}"
            );
            self.step();
        }
        self.now - begun
    }

    fn status(&self, of: usize, at: usize) -> PeerStatus {
        let all = self.hosts[at - 1].mesh.status(self.now);
        all.into_iter().find(|peer| peer.name == format!("n{of}")).unwrap()
    }

    fn joined(&self, one: usize, other: usize) -> bool {
        self.status(one, other).connected.is_some() && self.status(other, one).connected.is_some()
    }

    fn open(&self, at: usize) -> usize {
        let links = self.hosts[at - 1].mesh.links.iter().flatten();
        links.filter(|link| !link.connection.is_closed()).count()
    }

    fn submit(&mut self, at: usize, offload: Offload, mut packet: Vec<u8>) {
        let host = &mut self.hosts[at - 1];
        let given = &mut host.given;
        let mut sink = |head: &[u8], parts: &[Bytes]| given.push([&head[OFFLOAD..], &parts.concat()].concat());
        host.mesh.submit(self.now, &offload, &mut packet, &mut sink);
    }

    /// Whether a packet goes from the first to the second.
    fn carries(&mut self) -> bool {
        let packet = Sample::udp(700).made();
        self.hosts[1].given.clear();
        self.submit(1, Offload::default(), packet.clone());
        self.run(Duration::from_millis(100));
        self.hosts[1].given.contains(&packet)
    }
}

#[test]
fn of_two_that_dial_at_once_one_connection_remains() {
    let mut net = Net::of(2);
    // The second does not wait for the first.
    let at = net.hosts[1].mesh.by_name["n1"];
    let now = net.now;
    net.hosts[1].mesh.look(at, now);
    assert_eq!(net.open(2), 1);
    net.seconds(5);
    assert_eq!((net.open(1), net.open(2)), (1, 1));
    assert!(
        net.hosts[0]
            .mesh
            .links
            .iter()
            .flatten()
            .all(|link| link.connection.side().is_client())
    );
    assert!(net.joined(1, 2) && net.carries());
}

#[test]
fn only_one_of_two_dials_if_nothing_is_wrong() {
    let mut net = Net::of(3);
    let took = net.until("all are connected", |net| {
        net.joined(1, 2) && net.joined(1, 3) && net.joined(2, 3)
    });
    assert!(took < Duration::from_millis(100), "{took:?}");
    net.seconds(3);
    assert_eq!([1, 2, 3].map(|at| net.open(at)), [2; 3]);
}

#[test]
fn who_is_no_peer_is_not_heard() {
    let (authority, other) = (Authority::new(), Authority::new());
    let strangers = [
        ("another authority", other.node("n2")),
        ("not among the peers", authority.node("n9")),
        ("a user", authority.issue("n2", "system:node:n2", "devs")),
        ("a server", authority.issue("n2", "system:server:n2", "system:nodes")),
    ];
    for (what, credentials) in strangers {
        let mut net = Net::new();
        net.host(&authority.node("n1"), "10.42.1.0/24");
        net.host(&credentials, "10.42.2.0/24");
        net.introduce();
        for _ in 0..40 {
            net.run(Duration::from_millis(200));
            assert!(net.status(2, 1).connected.is_none(), "{what}");
            assert!(!net.carries(), "{what}");
        }
    }
    // And with the right certificate it is heard.
    let mut net = Net::of(2);
    net.until("they are connected", |net| net.joined(1, 2));
    assert!(net.carries());
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
    let offload = Offload {
        unfinished: true,
        segments: Segments::Tcp,
        size: 1380,
        ..Offload::default()
    };
    net.submit(1, offload, stream.clone());
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
    net.submit(1, Offload::default(), packet);
    net.seconds(1);
    assert_eq!(net.status(1, 2).drops.of(Reason::Astray), 2);
}

#[test]
fn the_one_in_the_middle_cuts_streams_and_tells_who_sends_too_much() {
    let mut net = star(Some(1252));
    let stream = across(Sample::tcp(50_000).made());
    let offload = Offload {
        unfinished: true,
        segments: Segments::Tcp,
        size: 1380,
        ..Offload::default()
    };
    net.submit(1, offload, stream.clone());
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
    let offload = Offload {
        unfinished: true,
        segments: Segments::Tcp,
        size: 1380,
        ..Offload::default()
    };
    let packet = Sample::tcp(50_000).made();
    net.submit(1, offload, packet.clone());
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
    let offload = Offload {
        unfinished: true,
        segments: Segments::Tcp,
        size: 1380,
        ..Offload::default()
    };
    net.submit(1, offload, Sample::tcp(40 * 1380).made());
    let full = net.hosts[0].mesh.transmit_full(now, |_| FULL, &mut buffer);
    assert!(full.is_none(), "what is not full waits");
    net.submit(1, offload, Sample::tcp(40 * 1380).made());
    let full = net.hosts[0].mesh.transmit_full(now, |_| FULL, &mut buffer).unwrap();
    assert_eq!(full.size.div_ceil(full.segment_size.unwrap()), FULL);
    assert!(net.hosts[0].mesh.transmit_full(now, |_| FULL, &mut buffer).is_none());
    let rest = net.hosts[0].mesh.transmit(now, |_| FULL, &mut buffer).unwrap();
    assert_eq!(rest.size.div_ceil(rest.segment_size.unwrap()), 36);
}

#[test]
fn an_address_that_changes_is_followed() {
    let mut net = Net::of(2);
    net.until("they are connected", |net| net.joined(1, 2));
    // Of the one that dialled: the other end sees it.
    net.hosts[0].address = address(11);
    let now = net.now;
    net.hosts[0].mesh.moved_here(now);
    net.run(Duration::from_millis(50));
    assert!(net.carries());
    assert_eq!(net.status(1, 2).connected.unwrap().address, address(11));
    // Of the one that was dialled: it dials.
    net.hosts[1].address = address(12);
    let now = net.now;
    net.hosts[1].mesh.moved_here(now);
    let mut moved = peer(1);
    moved.address = address(11);
    net.hosts[1].mesh.set_peers(vec![moved], now);
    net.run(Duration::from_millis(100));
    assert!(net.carries());
    net.seconds(5);
    assert_eq!((net.open(1), net.open(2)), (1, 1));
    // Unnoticed by the one that was dialled, who is dialled where it is said to be.
    net.hosts[0].address = address(21);
    let mut moved = peer(1);
    moved.address = address(21);
    let now = net.now;
    net.hosts[1].mesh.set_peers(vec![moved], now);
    net.run(Duration::from_millis(100));
    assert!(net.joined(1, 2) && net.carries());
}

#[test]
fn a_peer_that_died_is_noticed_and_comes_back() {
    let mut net = Net::of(2);
    net.until("they are connected", |net| net.joined(1, 2));
    net.dead.push(1);
    let took = net.until("it is noticed", |net| net.status(2, 1).connected.is_none());
    assert!(took < Duration::from_secs(8), "{took:?}");
    net.seconds(60);
    // Another process, that knows nothing of connections.
    net.dead.clear();
    let took = net.until("it is back", |net| net.joined(1, 2));
    assert!(took < Duration::from_secs(17), "{took:?}");
    assert!(net.carries());
}

#[test]
fn a_peer_that_starts_anew_is_back_at_once() {
    let authority = Authority::new();
    let mut net = Net::new();
    net.host(&authority.node("n1"), "10.42.1.0/24");
    net.host(&authority.node("n2"), "10.42.2.0/24");
    net.introduce();
    net.until("they are connected", |net| net.joined(1, 2));
    net.seconds(3);
    let now = net.now;
    net.hosts[0].mesh = mesh(1, &authority.node("n1"), "10.42.1.0/24");
    net.hosts[0].mesh.set_peers(vec![peer(2)], now);
    net.run(Duration::from_millis(100));
    assert!(net.joined(1, 2) && net.carries());
    net.seconds(10);
    assert_eq!((net.open(1), net.open(2)), (1, 1));
}

#[test]
fn peers_that_stay_are_left_alone() {
    let mut net = Net::of(3);
    net.until("all are connected", |net| net.joined(1, 2) && net.joined(1, 3));
    net.seconds(10);
    let now = net.now;
    net.hosts[0].mesh.set_peers(vec![peer(2)], now);
    net.seconds(1);
    assert!(net.status(2, 1).connected.unwrap().lasting > Duration::from_secs(10));
    assert_eq!(net.hosts[0].mesh.status(net.now).len(), 1);
    assert!(net.status(1, 3).connected.is_none(), "who is no peer any more is told");
    assert!(net.carries());
    let now = net.now;
    net.hosts[0].mesh.set_peers(vec![peer(2), peer(3)], now);
    net.until("it is a peer again", |net| net.joined(1, 3));
}

#[test]
fn a_peer_is_who_its_name_says() {
    let mut net = Net::of(3);
    // The second is said to be where the third is.
    let mut wrong = peer(2);
    wrong.address = address(3);
    let now = net.now;
    for host in &mut net.hosts {
        host.mesh.set_peers(Vec::new(), now);
    }
    net.hosts[0].mesh.set_peers(vec![wrong], now);
    net.hosts[2].mesh.set_peers(vec![peer(1)], now);
    for _ in 0..50 {
        net.run(Duration::from_millis(100));
        assert!(net.status(2, 1).connected.is_none());
    }
}
