//! Differences of datapaths and of routing tables: which entries, how many, and in which words.
use super::*;
use sampan_sandbox::{
    ingress::{Backend, HostName, Path, Pool, Protocol, Route, Routing, VirtualHost},
    network::{self, Entry, Fallback, Frontend, FrontendKey, PeerSet, PodKey, PodRules, Range, Rule, Scope},
};
use std::net::IpAddr;

fn address(text: &str) -> network::Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn route(range: &str, peer: &str, via: &str, underlay: &str) -> Entry {
    Entry::Route(network::Route {
        range: Range::parse(range).unwrap(),
        peer: peer.into(),
        via: via.into(),
        underlay: address(underlay),
    })
}

fn frontend(port: u16, backends: &[&str]) -> Entry {
    let backend = |text: &&str| network::Backend {
        address: address(text),
        port: 8080,
        weight: 1,
        local: false,
        terminating: false,
    };
    Entry::Frontend(Frontend {
        key: FrontendKey {
            destination: network::Destination::Address(address("10.96.0.9")),
            port,
            protocol: network::Protocol::Tcp,
        },
        scope: Scope::Cluster,
        service: "default/web:http".into(),
        affinity_seconds: 0,
        sources: Vec::new(),
        inside: network::Pool {
            backends: backends.iter().map(backend).collect(),
            otherwise: Fallback::Reject,
        },
        outside: None,
    })
}

fn rules(pod: &str, sets: Option<&[&str]>) -> Entry {
    let rule = |set: &&str| Rule {
        peers: Some((*set).to_owned()),
        ports: None,
    };
    Entry::Rules(PodRules {
        pod: PodKey {
            namespace: "default".into(),
            name: pod.into(),
        },
        ingress: sets.map(|sets| sets.iter().map(rule).collect()),
        egress: None,
    })
}

fn between(now: impl IntoIterator<Item = Entry>, then: impl IntoIterator<Item = Entry>, most: usize) -> Difference {
    let (now, then) = (Datapath::with(now), Datapath::with(then));
    Difference::between::<NetworkPlugin>(&now, &then, &Peers::default(), most)
}

fn told(difference: &Difference) -> Vec<String> {
    let sign = |row: &Row| match row.change {
        Change::Added => "+",
        Change::Removed => "-",
        Change::Changed => "~",
    };
    let text = |row: &Row| format!("{}{}: {} | {}", sign(row), row.key, row.now, row.then);
    difference.rows.iter().map(text).collect()
}

fn counts(difference: &Difference) -> Vec<String> {
    let text = |counts: &Counts| {
        let Counts {
            table,
            now,
            then,
            added,
            removed,
            changed,
        } = counts;
        format!("{table} {now}→{then} +{added} -{removed} ~{changed}")
    };
    difference.tables.iter().map(text).collect()
}

fn mesh() -> [Entry; 2] {
    [
        route("10.42.1.0/24", "b", "b", "192.0.2.2"),
        route("10.42.2.0/24", "hub", "hub", "192.0.2.9"),
    ]
}

#[test]
fn a_mesh_and_a_hub_differ_in_the_ways_and_in_the_peers() {
    let hub = [
        route("10.42.1.0/24", "b", "hub", "192.0.2.9"),
        route("10.42.2.0/24", "hub", "hub", "192.0.2.9"),
    ];
    let difference = between(mesh(), hub, 100);
    assert_eq!(counts(&difference), ["routes 2→2 +0 -0 ~1", "peers 2→1 +0 -1 ~0"]);
    assert_eq!(
        told(&difference),
        [
            "~route 10.42.1.0/24: at 192.0.2.2 | through hub, at 192.0.2.9",
            "-peer b: at 192.0.2.2:7444 | ",
        ]
    );
}

#[test]
fn what_is_the_same_is_counted_and_not_shown() {
    let difference = between(mesh(), mesh(), 100);
    assert_eq!(counts(&difference), ["routes 2→2 +0 -0 ~0", "peers 2→2 +0 -0 ~0"]);
    assert_eq!(told(&difference), [""; 0]);
    assert_eq!(between([], [], 100), Difference::default());
}

#[test]
fn of_a_service_and_of_rules_what_differs_is_said_alone() {
    let now = [
        frontend(80, &["10.42.0.5", "10.42.1.5"]),
        frontend(81, &["10.42.0.5"]),
        rules("x", Some(&["web", "db"])),
        rules("y", Some(&[])),
    ];
    let then = [
        frontend(80, &["10.42.0.5", "10.42.1.6"]),
        frontend(82, &[]),
        rules("x", Some(&["web"])),
        rules("y", None),
    ];
    let difference = between(now, then, 100);
    assert_eq!(counts(&difference), ["frontends 2→2 +1 -1 ~1", "policies 2→2 +0 -0 ~2"]);
    assert_eq!(
        told(&difference),
        [
            "~frontend 10.96.0.9:80/tcp: → 10.42.1.5:8080 | → 10.42.1.6:8080",
            "-frontend 10.96.0.9:81/tcp: default/web:http, in the cluster, → 10.42.0.5:8080, else refused | ",
            "+frontend 10.96.0.9:82/tcp:  | default/web:http, in the cluster, else refused",
            "~rules of pod default/x: in: db | ",
            "~rules of pod default/y: in: nothing | in: everything",
        ]
    );
}

#[test]
fn all_are_counted_and_some_are_shown() {
    let many: Vec<Entry> = (0..50).map(|port| frontend(1000 + port, &[])).collect();
    let difference = between([], many, 3);
    assert_eq!(counts(&difference), ["frontends 0→50 +50 -0 ~0"]);
    assert_eq!(difference.rows.len(), 3);
}

#[test]
fn words_are_bounded_and_stay_on_their_line() {
    let members = (0..200).map(|third| Range::parse(&format!("10.9.{third}.0/24")).unwrap());
    let set = Entry::Peers(PeerSet {
        name: format!("evil\n{}", "x".repeat(1000)),
        members: members.collect(),
    });
    let difference = between([], [set], 10);
    let [row] = &difference.rows[..] else {
        panic!("{difference:?}")
    };
    assert!(
        row.key.starts_with("peer set evil\\n") && row.key.len() < 200,
        "{}",
        row.key
    );
    assert!(row.then.ends_with(" and 194 more"), "{}", row.then);
    let mut named = frontend(80, &[]);
    if let Entry::Frontend(frontend) = &mut named {
        frontend.service = format!("\u{1b}[2J{}", "ö".repeat(500));
    }
    let difference = between([], [named], 10);
    let then = &difference.rows[0].then;
    assert!(!then.chars().any(char::is_control) && then.len() < 300, "{then}");
}

fn host(routes: &[(&str, &str)]) -> ingress::Entry {
    let route = |(path, pool): &(&str, &str)| Route {
        path: Path::Prefix((*path).to_owned()),
        pool: (*pool).to_owned(),
        rewrite: None,
        filter: None,
    };
    ingress::Entry::Host(VirtualHost {
        host: HostName::Exact("shop.example".into()),
        routes: routes.iter().map(route).collect(),
        otherwise: None,
    })
}

#[test]
fn of_routes_of_hosts_their_order_counts() {
    let pool = ingress::Entry::Pool(Pool {
        name: "a".into(),
        protocol: Protocol::Http1,
        backends: vec![Backend {
            address: address("fd00::1"),
            port: 80,
            weight: 1,
        }],
    });
    let now = Routing::with([pool.clone(), host(&[("/", "a"), ("/x", "b")])]);
    let then = Routing::with([pool, host(&[("/x", "b"), ("/", "a")])]);
    let difference = Difference::between::<IngressPlugin>(&now, &then, &Peers::default(), 9);
    assert_eq!(counts(&difference), ["hosts 1→1 +0 -0 ~1", "pools 1→1 +0 -0 ~0"]);
    assert_eq!(
        told(&difference),
        ["~routes of host shop.example: 1. under / → a, 2. under /x → b | 1. under /x → b, 2. under / → a"]
    );
    let difference = Difference::between::<IngressPlugin>(&Routing::default(), &now, &Peers::default(), 9);
    assert!(
        told(&difference).contains(&"+pool a:  | HTTP/1.1, → [fd00::1]:80 weight 1".to_owned()),
        "{:?}",
        told(&difference)
    );
}
