//! Meshes on a network and a clock that are only numbers.
mod carrying;
mod connecting;
mod swapping;

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
