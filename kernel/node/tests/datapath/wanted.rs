//! Entries for tests, in few words.
use sampan_sandbox::network::{
    Backend, Destination, Entry, Fallback, Family, Frontend, FrontendKey, PeerSet, PodKey, PodRules, Pool, Ports,
    Protocol, Range, Rule, Scope,
};
use std::net::IpAddr;

pub const SERVICE: &str = "10.96.0.10";
pub const NODE_PORT: u16 = 30_080;

pub fn pool(backends: &[IpAddr]) -> Pool {
    let backends = backends.iter().map(|address| backend(*address, 1));
    Pool {
        backends: backends.collect(),
        otherwise: Fallback::Reject,
    }
}

pub fn backend(address: IpAddr, weight: u16) -> Backend {
    Backend {
        address: address.into(),
        port: 8080,
        weight,
        local: true,
        terminating: false,
    }
}

pub fn nobody(otherwise: Fallback) -> Pool {
    Pool {
        backends: Vec::new(),
        otherwise,
    }
}

/// Port 80 of an address of a Service.
pub fn at(address: &str, protocol: Protocol, inside: Pool) -> Frontend {
    let address: IpAddr = address.parse().unwrap();
    Frontend {
        key: FrontendKey {
            destination: Destination::Address(address.into()),
            port: 80,
            protocol,
        },
        scope: Scope::Cluster,
        service: "default/web:http".to_owned(),
        affinity_seconds: 0,
        sources: Vec::new(),
        inside,
        outside: None,
    }
}

pub fn tcp(inside: Pool) -> Frontend {
    at(SERVICE, Protocol::Tcp, inside)
}

pub fn udp(inside: Pool) -> Frontend {
    at(SERVICE, Protocol::Udp, inside)
}

/// A node port.
pub fn node_port(protocol: Protocol, inside: Pool, outside: Option<Pool>) -> Frontend {
    Frontend {
        key: FrontendKey {
            destination: Destination::Node(Family::V4),
            port: NODE_PORT,
            protocol,
        },
        scope: Scope::NodePort,
        outside,
        ..tcp(inside)
    }
}

pub fn entries(frontends: impl IntoIterator<Item = Frontend>) -> Vec<Entry> {
    frontends.into_iter().map(Entry::Frontend).collect()
}

pub fn peers(name: &str, members: &[Range]) -> Entry {
    Entry::Peers(PeerSet {
        name: name.to_owned(),
        members: members.to_vec(),
    })
}

pub fn host(address: IpAddr) -> Range {
    Range {
        address: address.into(),
        prefix: if address.is_ipv4() { 32 } else { 128 },
    }
}

pub fn allow(peers: Option<&str>, ports: Option<&[(Protocol, u16, u16)]>) -> Rule {
    let range = |(protocol, first, last): &(Protocol, u16, u16)| Ports {
        protocol: *protocol,
        first: *first,
        last: *last,
    };
    Rule {
        peers: peers.map(str::to_owned),
        ports: ports.map(|ports| ports.iter().map(range).collect()),
    }
}

pub fn rules(pod: &PodKey, ingress: Option<Vec<Rule>>, egress: Option<Vec<Rule>>) -> Entry {
    Entry::Rules(PodRules {
        pod: pod.clone(),
        ingress,
        egress,
    })
}
