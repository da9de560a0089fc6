//! Each bound, just kept and just broken.
use super::*;
use crate::{
    network::{Backend, Fallback, FrontendKey, NodeBounds, PodKey, Ports, Protocol},
    tables::MOST_ENTRIES,
};

const ALL: &[Table] = &[Table::Routes, Table::Frontends, Table::Policies];

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

fn range(text: &str) -> Range {
    Range::parse(text).unwrap()
}

fn node(pods: &str, own: &str) -> NodeBounds {
    NodeBounds {
        pod_ranges: vec![range(pods)],
        addresses: vec![address(own)],
    }
}

fn pod(name: &str) -> PodKey {
    PodKey {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn bounds() -> Bounds {
    let nodes = [
        ("here", node("10.244.1.0/24", "192.0.2.1")),
        ("there", node("10.244.2.0/24", "192.0.2.2")),
        ("hub", node("10.244.3.0/24", "192.0.2.3")),
    ];
    Bounds {
        node: "here".to_owned(),
        nodes: nodes.map(|(name, node)| (name.to_owned(), node)).into(),
        service_ranges: vec![range("10.96.0.0/12"), range("fd00:96::/112")],
        load_balancer_ranges: vec![range("203.0.113.0/24")],
        external_addresses: [address("198.51.100.9")].into(),
        pods: [pod("a")].into(),
        ..Bounds::default()
    }
}

fn route(to: &str, peer: &str, via: &str, underlay: &str) -> Entry {
    Entry::Route(Route {
        range: range(to),
        peer: peer.to_owned(),
        via: via.to_owned(),
        underlay: address(underlay),
    })
}

fn backend(text: &str) -> Backend {
    Backend {
        address: address(text),
        port: 8080,
        weight: 1,
        local: false,
        terminating: false,
    }
}

fn frontend(destination: Destination, port: u16, scope: Scope) -> Frontend {
    Frontend {
        key: FrontendKey {
            destination,
            port,
            protocol: Protocol::Tcp,
        },
        scope,
        service: "default/web:http".to_owned(),
        affinity_seconds: 0,
        sources: Vec::new(),
        inside: Pool {
            backends: vec![backend("10.244.2.7")],
            otherwise: Fallback::Reject,
        },
        outside: None,
    }
}

fn at(text: &str, scope: Scope) -> Frontend {
    frontend(Destination::Address(address(text)), 80, scope)
}

fn peers(name: &str, members: &[&str]) -> Entry {
    Entry::Peers(PeerSet {
        name: name.to_owned(),
        members: members.iter().map(|text| range(text)).collect(),
    })
}

fn rules(name: &str, set: Option<&str>, ports: Option<Vec<Ports>>) -> Entry {
    let rule = Rule {
        peers: set.map(str::to_owned),
        ports,
    };
    Entry::Rules(PodRules {
        pod: pod(name),
        ingress: Some(vec![rule]),
        egress: None,
    })
}

fn verdict(entries: Vec<Entry>) -> Result<(), String> {
    let ops: Vec<Op> = entries.into_iter().map(Op::Set).collect();
    check(&ops, ALL, &bounds(), &Datapath::default())
}

fn refusal(entry: Entry) -> String {
    verdict(vec![entry]).unwrap_err()
}

#[test]
fn what_keeps_the_bounds_passes() {
    let ports = vec![Ports {
        protocol: Protocol::Udp,
        first: 53,
        last: 53,
    }];
    let six = Frontend {
        inside: Pool {
            backends: vec![backend("fd00:244::7")],
            otherwise: Fallback::Drop,
        },
        ..at("fd00:96::a", Scope::Cluster)
    };
    let all = vec![
        route("10.244.2.0/24", "there", "there", "192.0.2.2"),
        route("10.244.3.128/25", "hub", "hub", "192.0.2.3"),
        Entry::Frontend(at("10.96.0.1", Scope::Cluster)),
        Entry::Frontend(six),
        Entry::Frontend(at("203.0.113.5", Scope::LoadBalancer)),
        Entry::Frontend(at("198.51.100.9", Scope::External)),
        Entry::Frontend(frontend(Destination::Node(Family::V4), 30_000, Scope::NodePort)),
        peers("set", &["10.244.2.7/32", "0.0.0.0/0", "fd00::/8"]),
        rules("a", Some("set"), Some(ports)),
    ];
    verdict(all).unwrap();
    verdict(vec![route("10.244.2.0/24", "there", "hub", "192.0.2.3")]).unwrap();
}

#[test]
fn routes_stay_in_the_ranges_of_their_peers() {
    for (route, why) in [
        (
            route("10.244.0.0/16", "there", "there", "192.0.2.2"),
            "the pods of node there are not there",
        ),
        (
            route("10.244.3.0/24", "there", "there", "192.0.2.2"),
            "the pods of node there are not there",
        ),
        (
            route("0.0.0.0/0", "there", "there", "192.0.2.2"),
            "the pods of node there are not there",
        ),
        (route("10.244.1.0/24", "here", "hub", "192.0.2.3"), "this node itself"),
        (route("10.244.2.0/24", "there", "here", "192.0.2.1"), "this node itself"),
        (
            route("10.244.2.0/24", "nowhere", "there", "192.0.2.2"),
            "there is no node nowhere",
        ),
        (
            route("10.244.2.0/24", "there", "nowhere", "192.0.2.2"),
            "there is no node nowhere",
        ),
        (
            route("10.244.2.0/24", "there", "there", "192.0.2.66"),
            "node there has no address 192.0.2.66",
        ),
        (
            route("10.244.2.0/24", "there", "there", "192.0.2.3"),
            "node there has no address 192.0.2.3",
        ),
    ] {
        let words = refusal(route);
        assert!(
            words.starts_with("operation 0 of its plan (set route ") && words.contains(why),
            "{words}"
        );
    }
    // A Node object that claims this node's range does not get it.
    let mut bounds = bounds();
    bounds
        .nodes
        .insert("thief".to_owned(), node("10.244.0.0/16", "192.0.2.9"));
    let op = Op::Set(route("10.244.1.64/26", "thief", "thief", "192.0.2.9"));
    let words = check(&[op], ALL, &bounds, &Datapath::default()).unwrap_err();
    assert!(words.contains("this node's own pods are there"), "{words}");
}

#[test]
fn frontends_stay_where_services_are() {
    let node_port = |port, scope| frontend(Destination::Node(Family::V4), port, scope);
    for (frontend, why) in [
        (at("10.244.2.7", Scope::Cluster), "in no range of Services"),
        (at("192.0.2.1", Scope::Cluster), "in no range of Services"),
        (at("10.96.0.1", Scope::LoadBalancer), "in no range of load balancers"),
        (at("10.96.0.1", Scope::External), "no external address"),
        (at("10.96.0.1", Scope::NodePort), "30000-32767"),
        (node_port(29_999, Scope::NodePort), "30000-32767"),
        (node_port(32_768, Scope::NodePort), "30000-32767"),
        (node_port(30_000, Scope::Cluster), "in no range of Services"),
        (
            frontend(Destination::Address(address("10.96.0.1")), 0, Scope::Cluster),
            "port 0",
        ),
    ] {
        let words = refusal(Entry::Frontend(frontend));
        assert!(words.contains(why), "{words}");
    }
}

#[test]
fn backends_can_be_reached() {
    let with = |change: &dyn Fn(&mut Frontend)| {
        let mut frontend = at("10.96.0.1", Scope::Cluster);
        change(&mut frontend);
        refusal(Entry::Frontend(frontend))
    };
    for text in [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let words = with(&|frontend| frontend.inside.backends.push(backend(text)));
        assert!(words.contains(&format!("a backend at {text}")), "{words}");
    }
    let pool = |text| Pool {
        backends: vec![backend(text)],
        otherwise: Fallback::Drop,
    };
    assert!(with(&|frontend| frontend.outside = Some(pool("127.0.0.1"))).contains("127.0.0.1"));
    assert!(with(&|frontend| frontend.inside = pool("fd00::1")).contains("the other address family"));
    assert!(with(&|frontend| frontend.inside.backends[0].port = 0).contains("has port 0"));
    let many = with(&|frontend| frontend.inside.backends = vec![backend("10.244.2.7"); 10_001]);
    assert!(many.contains("10001 backends: 10000 are the limit"), "{many}");
    assert!(with(&|frontend| frontend.affinity_seconds = 86_401).contains("86400 s are the limit"));
    assert!(with(&|frontend| frontend.service = "x".repeat(1025)).contains("1025 bytes"));
    let skew = Range {
        address: address("10.0.0.1"),
        prefix: 8,
    };
    assert!(with(&|frontend| frontend.sources = vec![skew]).contains("10.0.0.1/8 is no range"));
    assert!(with(&|frontend| frontend.sources = vec![range("10.0.0.0/8"); 1001]).contains("1001 sources"));
}

#[test]
fn rules_are_for_pods_of_this_node_and_name_sets_that_are_there() {
    assert!(refusal(rules("b", None, None)).contains("rules of pod default/b): no such pod is on this node"));
    assert!(refusal(rules("a", Some("gone"), None)).contains("there is no peer set gone"));
    let ports = vec![Ports {
        protocol: Protocol::Tcp,
        first: 90,
        last: 80,
    }];
    assert!(refusal(rules("a", None, Some(ports.clone()))).contains("90 to 80 is no range of ports"));
    assert!(refusal(rules("a", None, Some([ports[0]; 1001].into()))).contains("1001 ranges of ports"));
    let wide = Range {
        address: address("10.0.0.0"),
        prefix: 33,
    };
    let odd = PeerSet {
        name: "set".to_owned(),
        members: vec![wide],
    };
    assert!(refusal(Entry::Peers(odd)).contains("10.0.0.0/33 is no range"));
    assert!(refusal(peers("", &[])).contains("a name has 1 to 1024 bytes"));
}

#[test]
fn a_plan_is_taken_whole_or_not_at_all() {
    let mut datapath = Datapath::default();
    let first = [Op::Set(peers("set", &[])), Op::Set(rules("a", Some("set"), None))];
    // The order within a plan does not matter to what names what.
    for ops in [first.to_vec(), first.iter().rev().cloned().collect()] {
        check(&ops, ALL, &bounds(), &datapath).unwrap();
    }
    datapath.apply(&first);
    let said = |ops: &[Op]| check(ops, ALL, &bounds(), &datapath);
    let remove_set = Op::Remove(EntryKey::Peers("set".to_owned()));
    let remove_rules = Op::Remove(EntryKey::Rules(pod("a")));
    let words = said(std::slice::from_ref(&remove_set)).unwrap_err();
    assert_eq!(
        words,
        "its plan removes the peer set set, which the rules of pod default/a name"
    );
    said(&[remove_set.clone(), remove_rules.clone()]).unwrap();
    said(&[remove_set.clone(), Op::Set(peers("set", &["10.0.0.0/8"]))]).unwrap();
    let words = said(&[remove_rules.clone(), remove_rules]).unwrap_err();
    assert_eq!(
        words,
        "operation 1 of its plan (remove rules of pod default/a): there is no such entry"
    );
    let elsewhere = Op::Remove(EntryKey::Route(range("10.244.2.0/24")));
    assert!(said(&[elsewhere]).unwrap_err().contains("there is no such entry"));
    let good = Op::Set(Entry::Frontend(at("10.96.0.1", Scope::Cluster)));
    let bad = Op::Set(Entry::Frontend(at("8.8.8.8", Scope::Cluster)));
    let words = said(&[good.clone(), bad, good.clone()]).unwrap_err();
    assert!(
        words.starts_with("operation 1 of its plan (set frontend 8.8.8.8:80/tcp)"),
        "{words}"
    );
    let words = check(&[good], &[Table::Routes], &bounds(), &datapath).unwrap_err();
    assert!(words.contains("it does not fill the table frontends"), "{words}");
    let many = vec![remove_set; 200_001];
    assert_eq!(
        said(&many).unwrap_err(),
        "a plan of 200001 operations: 200000 are the limit"
    );
}

#[test]
fn tables_are_bounded() {
    let mut datapath = Datapath::default();
    let set = |number: usize| Op::Set(peers(&format!("set {number}"), &[]));
    let full: Vec<Op> = (0..MOST_ENTRIES).map(set).collect();
    datapath.apply(&full);
    let words = check(&[set(MOST_ENTRIES)], ALL, &bounds(), &datapath).unwrap_err();
    assert_eq!(
        words,
        "its plan leaves 200001 entries in the table policies: 200000 are the limit"
    );
    let one_out = Op::Remove(EntryKey::Peers("set 0".to_owned()));
    check(&[set(MOST_ENTRIES), one_out], ALL, &bounds(), &datapath).unwrap();
}

#[test]
fn the_difference_of_two_datapaths_leads_from_one_to_the_other() {
    let (mut old, mut new) = (Datapath::default(), Datapath::default());
    old.apply(&[
        Op::Set(peers("same", &[])),
        Op::Set(peers("gone", &[])),
        Op::Set(peers("other", &[])),
    ]);
    new.apply(&[
        Op::Set(peers("same", &[])),
        Op::Set(peers("other", &["10.0.0.0/8"])),
        Op::Set(peers("new", &[])),
    ]);
    let ops = old.changes_to(&new);
    assert_eq!(ops.len(), 3);
    old.apply(&ops);
    assert_eq!(old, new);
    assert!(old.changes_to(&new).is_empty());
}
