//! The ways of packets on a node with two pods, a Service, a policy and a peer.
use super::*;
use crate::{control::Change, net::Addresses};
use sampan_api::Object;
use sampan_sandbox::network::{PeerSet, PodKey, PodRules, Ports, Route, Rule, Scope};
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn range(text: &str) -> Range {
    Range::parse(text).unwrap()
}

fn pod(name: &str, last: u8) -> LocalPod {
    LocalPod {
        uid: name.into(),
        namespace: "default".into(),
        name: name.into(),
        interface: format!("sp-{name}"),
        addresses: Addresses {
            v4: Ipv4Addr::new(10, 42, 0, last),
            v6: Some(Ipv6Addr::new(0xfd42, 0, 0, 0, 0, 0, 0, last.into())),
        },
        host_ports: Vec::new(),
    }
}

/// A node port of the Service `web`, which also has an endpoint that is a node.
fn node_port() -> Entry {
    let Entry::Frontend(frontend) = frontend("10.96.0.1", &["10.42.0.2", "192.0.2.2"]) else {
        unreachable!()
    };
    Entry::Frontend(Frontend {
        key: FrontendKey {
            destination: Destination::Node(address("10.96.0.1").family()),
            port: 30080,
            protocol: Protocol::Tcp,
        },
        service: "default/web:".into(),
        ..frontend
    })
}

fn frontend(at: &str, backends: &[&str]) -> Entry {
    let backend = |at: &&str| Backend {
        address: address(at),
        port: 8080,
        weight: 1,
        local: false,
        terminating: false,
    };
    Entry::Frontend(Frontend {
        key: FrontendKey {
            destination: Destination::Address(address(at)),
            port: 80,
            protocol: Protocol::Tcp,
        },
        scope: Scope::Cluster,
        service: "default/web:http".into(),
        affinity_seconds: 0,
        sources: Vec::new(),
        inside: Pool {
            backends: backends.iter().map(backend).collect(),
            otherwise: Fallback::Reject,
        },
        outside: None,
    })
}

/// Through `n2`, the only peer that there is.
fn route(to: &str, peer: &str) -> Entry {
    Entry::Route(Route {
        range: range(to),
        peer: peer.into(),
        via: "n2".into(),
        underlay: address("192.0.2.2"),
    })
}

/// `b` is let in from `a` alone, on port 8080.
fn datapath() -> Datapath {
    let rule = Rule {
        peers: Some("a".into()),
        ports: Some(vec![Ports {
            protocol: Protocol::Tcp,
            first: 8080,
            last: 8080,
        }]),
    };
    Datapath::with([
        frontend("10.96.0.1", &["10.42.0.3", "10.42.1.2"]),
        frontend("10.96.0.2", &[]),
        node_port(),
        route("10.42.1.0/24", "n2"),
        route("10.42.2.0/24", "n3"),
        Entry::Peers(PeerSet {
            name: "a".into(),
            members: vec![range("10.42.0.2/32")],
        }),
        Entry::Rules(PodRules {
            pod: PodKey {
                namespace: "default".into(),
                name: "b".into(),
            },
            ingress: Some(vec![rule]),
            egress: Some(Vec::new()),
        }),
    ])
}

/// The pod `b`, and the policies of its namespace and of another: two take it for ingress, and one for egress.
fn objects() -> Objects {
    let meta = |name: &str, namespace: &str| json!({"name": name, "namespace": namespace, "uid": name, "labels": {"app": name}});
    let policy = |name: &str, namespace: &str, spec: Value| json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta(name, namespace), "spec": spec});
    let takes = |labels: Value| json!({"podSelector": {"matchLabels": labels}});
    let out = json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["b"]}]}, "policyTypes": ["Egress"]});
    let all = [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta("b", "default")}),
        policy("all", "default", json!({"podSelector": {}})),
        policy("b-in", "default", takes(json!({"app": "b"}))),
        policy("b-out", "default", out),
        policy("others", "default", takes(json!({"app": "a"}))),
        policy("all", "elsewhere", json!({"podSelector": {}})),
    ];
    let mut objects = Objects::default();
    for one in all {
        let object = Object::from_json(one.to_string().as_bytes()).unwrap();
        let resource = object.key().unwrap().resource.to_string();
        objects.take(&resource, Change::Seen(Box::new(object)));
    }
    objects
}

fn trace(connected: bool, from: &str, to: &str, port: u16, at: At) -> Vec<String> {
    let (a, b) = (pod("a", 2), pod("b", 3));
    let (datapath, objects) = (datapath(), objects());
    let connected = connected.then(|| sampan_overlay::Connected {
        address: "192.0.2.2:7444".parse().unwrap(),
        lasting: Duration::from_secs(1),
        rtt: Duration::from_micros(250),
        sent: 1,
        lost: 0,
        path_mtu: 1452,
    });
    let peer = PeerStatus {
        name: "n2".into(),
        address: "192.0.2.2:7444".parse().unwrap(),
        connected,
        received: Default::default(),
        sent: Default::default(),
        drops: Default::default(),
    };
    let node = |at: &str| NodeBounds {
        pod_ranges: Vec::new(),
        addresses: vec![address(at)],
    };
    let nodes = [
        ("n1".to_owned(), node("192.0.2.1")),
        ("n2".to_owned(), node("192.0.2.2")),
    ]
    .into();
    let here = Here {
        datapath: &datapath,
        objects: &objects,
        pods: vec![&a, &b],
        peers: vec![peer],
        me: "n1",
        gateways: vec!["10.42.0.1".parse().unwrap()],
        nodes: &nodes,
        own: vec![range("10.42.0.0/24")],
        cluster: vec![range("10.42.0.0/16"), range("fd42::/56")],
        services: vec![range("10.96.0.0/12")],
    };
    let packet = Packet {
        source: from.parse().unwrap(),
        destination: to.parse().unwrap(),
        port,
        protocol: Protocol::Tcp,
    };
    let steps = here.trace(packet, &at).into_iter();
    let text = |step: Step| {
        let way = step.way.map_or(String::new(), |way| format!("{way} "));
        let next = step.next.map_or(String::new(), |(node, _)| format!(" => {node}"));
        format!("{way}{}: {} {:?}{next}", step.what, step.text, step.verdict)
    };
    steps.map(text).collect()
}

fn from(peer: &str) -> At {
    At::Peer(Some(peer.into()))
}

#[test]
fn a_service_leads_to_each_of_its_endpoints() {
    assert_eq!(
        trace(true, "10.42.0.2", "10.96.0.1", 80, At::Pod),
        [
            "service: 10.96.0.1:80/tcp is default/web:http: one of 2 endpoints GoesOn",
            "1 ingress: a policy allows it from 10.42.0.2 GoesOn",
            "1 pod: default/b at 10.42.0.3:8080/tcp, by sp-b Arrives",
            "2 route: 10.42.1.2 is on node n2 (10.42.1.0/24) GoesOn",
            "2 peer: n2 at 192.0.2.2:7444, round trip 0.25 ms GoesOn => n2",
        ]
    );
    assert_eq!(
        trace(true, "10.42.0.2", "10.96.0.2", 80, At::Pod),
        ["service: default/web:http has no endpoint: it is refused Stops"]
    );
    assert_eq!(
        trace(true, "10.42.0.2", "10.96.0.3", 80, At::Pod),
        ["service: no Service has 10.96.0.3:80/tcp Stops"]
    );
    assert_eq!(
        trace(true, "10.42.0.2", "10.96.0.1", 81, At::Pod),
        ["service: no Service has 10.96.0.1:81/tcp: there is 10.96.0.1:80/tcp (default/web:http) Stops"]
    );
}

#[test]
fn it_stops_where_it_is_stopped() {
    assert_eq!(
        trace(true, "10.42.0.2", "10.42.0.3", 22, At::Pod),
        ["ingress: none of 1 rules of policies default/all, default/b-in allows it from 10.42.0.2, port 22 Stops"]
    );
    assert_eq!(
        trace(true, "10.42.0.3", "10.42.0.2", 80, At::Pod),
        ["egress: no rule of policy default/b-out allows anything to anybody: not to 10.42.0.2 Stops"]
    );
    assert_eq!(
        trace(false, "10.42.0.2", "10.42.1.9", 80, At::Pod),
        [
            "route: 10.42.1.9 is on node n2 (10.42.1.0/24) GoesOn",
            "peer: n2 is away: it is dialled at 192.0.2.2:7444 Stops",
        ]
    );
    assert_eq!(
        trace(true, "10.42.0.2", "10.42.9.1", 80, At::Pod),
        ["route: no node has 10.42.9.1 Stops"]
    );
    assert_eq!(
        trace(true, "10.42.0.2", "10.42.0.77", 80, At::Pod),
        ["pod: no pod of this node has 10.42.0.77 Stops"]
    );
}

#[test]
fn others_come_in_and_leave() {
    assert_eq!(
        trace(true, "10.42.1.2", "10.42.0.3", 8080, from("n2")),
        ["ingress: none of 1 rules of policies default/all, default/b-in allows it from 10.42.1.2, port 8080 Stops"]
    );
    assert_eq!(
        trace(true, "10.42.1.2", "10.42.0.2", 80, from("n2")),
        ["pod: default/a at 10.42.0.2:80/tcp, by sp-a Arrives"]
    );
    assert_eq!(
        trace(true, "10.42.0.2", "198.51.100.1", 443, At::Pod),
        ["route: 198.51.100.1 is outside: it leaves with the node's address Leaves"]
    );
}

#[test]
fn a_node_in_the_middle_passes_it_on_by_its_own_routes() {
    assert_eq!(
        trace(true, "10.42.0.2", "10.42.2.2", 80, At::Pod),
        [
            "route: 10.42.2.2 is on node n3 through n2 (10.42.2.0/24) GoesOn",
            "peer: n2 at 192.0.2.2:7444, round trip 0.25 ms GoesOn => n2",
        ]
    );
    assert_eq!(
        trace(true, "10.42.7.2", "10.42.1.2", 80, At::Peer(None)),
        [
            "route: passed on: 10.42.1.2 is on node n2 (10.42.1.0/24) GoesOn",
            "peer: n2 at 192.0.2.2:7444, round trip 0.25 ms GoesOn => n2",
        ]
    );
    // It does not go back to where it comes from.
    assert_eq!(
        trace(true, "10.42.1.2", "10.42.2.2", 80, from("n2")),
        ["route: 10.42.2.2 is reached through n2, from where it comes: it goes nowhere Stops"]
    );
    assert_eq!(
        trace(true, "10.42.1.2", "10.42.9.2", 80, from("n2")),
        ["route: 10.42.9.2 is not of this node, and no other has it Stops"]
    );
}

#[test]
fn a_peer_is_heard_for_those_alone_that_are_reached_through_it() {
    assert_eq!(
        trace(true, "10.42.2.2", "10.42.0.2", 80, from("n2")),
        ["pod: default/a at 10.42.0.2:80/tcp, by sp-a Arrives"]
    );
    assert_eq!(
        trace(true, "10.42.2.2", "10.42.0.2", 80, from("n3")),
        ["route: 10.42.2.2 is reached through n2 here: not heard from n3 Stops"]
    );
    assert_eq!(
        trace(true, "10.42.7.2", "10.42.0.2", 80, from("n2")),
        ["route: 10.42.7.2 is reached through nobody here: not heard from n2 Stops"]
    );
}

#[test]
fn addresses_of_nodes_are_theirs_and_node_ports_lead_on() {
    let ports = [
        "service: 192.0.2.1:30080/tcp is default/web:30080: one of 2 endpoints GoesOn",
        "1 pod: default/a at 10.42.0.2:8080/tcp, by sp-a Arrives",
        "2 route: 192.0.2.2 is node n2 itself: it leaves with this node's address Leaves",
    ];
    assert_eq!(trace(true, "10.42.0.2", "192.0.2.1", 30080, At::Pod), ports);
    assert_eq!(trace(true, "10.42.0.1", "192.0.2.1", 30080, At::Host), ports);
    let own = |at: &str| format!("node: {at} is this node's own: whatever listens there gets it Arrives");
    for (to, port) in [("192.0.2.1", 22), ("10.42.0.1", 53)] {
        let own = [own(&format!("{to}:{port}/tcp"))];
        assert_eq!(trace(true, "10.42.0.2", to, port, At::Pod), own);
        assert_eq!(trace(true, "10.42.1.2", to, port, from("n2")), own);
    }
    // Rules hold for what pods say to the node, too, but not for what it says to them.
    assert!(trace(true, "10.42.0.3", "192.0.2.1", 22, At::Pod)[0].starts_with("egress: "));
    let arrives = ["pod: default/b at 10.42.0.3:22/tcp, by sp-b Arrives"];
    assert_eq!(trace(true, "10.42.0.1", "10.42.0.3", 22, At::Host), arrives);
    assert_eq!(trace(true, "10.42.0.3", "10.42.0.3", 22, At::Pod), arrives);
    assert_eq!(
        trace(true, "10.42.0.2", "192.0.2.2", 30080, At::Pod),
        ["route: 192.0.2.2 is node n2 itself: it leaves with this node's address Leaves"]
    );
}

#[test]
fn loopback_stays_where_it_is() {
    assert_eq!(
        trace(true, "10.42.0.2", "127.0.0.1", 30080, At::Pod),
        ["pod: 127.0.0.1 is the pod itself, and does not leave it Arrives"]
    );
    assert_eq!(
        trace(true, "10.42.0.1", "127.0.0.1", 80, At::Host),
        ["node: 127.0.0.1 is this node itself Arrives"]
    );
}
