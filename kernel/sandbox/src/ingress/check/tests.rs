//! Each bound, just kept and just broken.
use super::*;
use crate::{
    ingress::{Backend, Protocol, Secret},
    network::{Address, NodeBounds, Range},
};

const ALL: &[Table] = &[Table::Pools, Table::Hosts, Table::Certificates];

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

fn range(text: &str) -> Range {
    Range::parse(text).unwrap()
}

fn secret(name: &str) -> Secret {
    Secret {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn bounds() -> Bounds {
    let node = |pods: &[&str], own: &str| NodeBounds {
        pod_ranges: pods.iter().map(|text| range(text)).collect(),
        addresses: vec![address(own)],
    };
    let nodes = [
        ("here", node(&["10.244.1.0/24", "fd00:244:1::/64"], "192.0.2.1")),
        ("there", node(&["10.244.2.0/24"], "192.0.2.2")),
    ];
    Bounds {
        nodes: nodes.map(|(name, node)| (name.to_owned(), node)).into(),
        service_ranges: vec![range("10.96.0.0/12")],
        secrets: [secret("tls")].into(),
    }
}

fn pool(name: &str, addresses: &[&str]) -> Entry {
    let backend = |text: &&str| Backend {
        address: address(text),
        port: 8080,
        weight: 1,
    };
    Entry::Pool(Pool {
        name: name.to_owned(),
        protocol: Protocol::Http1,
        backends: addresses.iter().map(backend).collect(),
    })
}

fn route(path: Path, pool: &str) -> Route {
    Route {
        path,
        pool: pool.to_owned(),
        rewrite: None,
        filter: None,
    }
}

fn prefix(path: &str) -> Route {
    route(Path::Prefix(path.to_owned()), "web")
}

fn exact(name: &str) -> HostName {
    HostName::Exact(name.to_owned())
}

fn host(host: HostName, routes: Vec<Route>) -> Entry {
    Entry::Host(VirtualHost {
        host,
        routes,
        otherwise: None,
    })
}

fn certificate(host: HostName, name: &str) -> Entry {
    Entry::Certificate(Certificate {
        host,
        secret: secret(name),
    })
}

/// Beside a pool that routes may name.
fn verdict(entry: Entry) -> Result<(), String> {
    let ops = [Op::Set(pool("web", &[])), Op::Set(entry)];
    check(&ops, ALL, &bounds(), &Routing::default())
}

fn refusal(entry: Entry) -> String {
    verdict(entry).unwrap_err()
}

#[test]
fn backends_are_where_pods_and_services_are() {
    for there in [
        "10.244.1.0",
        "10.244.2.255",
        "10.96.0.1",
        "10.111.255.255",
        "192.0.2.1",
        "fd00:244:1::ffff",
    ] {
        assert_eq!(verdict(pool("a", &[there])), Ok(()), "{there}");
    }
    for elsewhere in [
        "10.244.0.255",
        "10.244.3.0",
        "10.112.0.0",
        "127.0.0.1",
        "169.254.169.254",
        "192.0.2.3",
        "0.0.0.0",
        "::1",
        "fd00:244:2::",
        "::ffff:10.244.1.1",
    ] {
        let words = refusal(pool("a", &["10.244.1.1", elsewhere]));
        assert!(words.contains("is no address of a pod or a Service"), "{words}");
    }
    let none = Bounds::default();
    assert!(check(&[Op::Set(pool("a", &["10.244.1.1"]))], ALL, &none, &Routing::default()).is_err());
    let Entry::Pool(mut zero) = pool("a", &["10.244.1.1"]) else {
        unreachable!()
    };
    zero.backends[0].port = 0;
    assert!(refusal(Entry::Pool(zero)).contains("port 0"));
}

/// A range within another, and one that another begins in, are no holes.
#[test]
fn ranges_that_meet_are_joined() {
    let ranges = ["10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "10.255.0.0/16"];
    let bounds = Bounds {
        service_ranges: ranges.map(range).into(),
        ..Bounds::default()
    };
    let reach = Reach::of(&bounds);
    for (text, covered) in [
        ("10.200.0.1", true),
        ("11.255.255.255", true),
        ("12.0.0.0", false),
        ("9.255.255.255", false),
    ] {
        assert_eq!(reach.covers(address(text)), covered, "{text}");
    }
}

#[test]
fn hosts_and_paths_are_ones() {
    for good in [
        exact("shop.example.com"),
        HostName::Wildcard("example.com".to_owned()),
        HostName::Any,
    ] {
        assert_eq!(verdict(host(good.clone(), vec![prefix("/")])), Ok(()), "{good}");
        assert_eq!(verdict(certificate(good, "tls")), Ok(()));
    }
    for bad in ["", "Shop.example", "a..b", "*.example", "a:80", "a/b", "example."] {
        assert!(
            refusal(host(exact(bad), vec![])).contains("is no name of a host"),
            "{bad}"
        );
        let wildcard = HostName::Wildcard(bad.to_owned());
        assert!(
            refusal(certificate(wildcard, "tls")).contains("is no name of a host"),
            "{bad}"
        );
    }
    for bad in ["", "a", "*"] {
        assert!(
            refusal(host(HostName::Any, vec![prefix(bad)])).contains("is no path"),
            "{bad}"
        );
    }
    let longest = format!("/{}", "x".repeat(LONGEST_PATH - 1));
    assert_eq!(verdict(host(HostName::Any, vec![prefix(&longest)])), Ok(()));
    assert!(refusal(host(HostName::Any, vec![prefix(&(longest + "x"))])).contains("is no path"));
}

#[test]
fn rewrites_and_filters_are_ones() {
    let with = |rewrite: Option<&str>, filter: Option<&str>| {
        let route = Route {
            rewrite: rewrite.map(str::to_owned),
            filter: filter.map(str::to_owned),
            ..prefix("/")
        };
        verdict(host(HostName::Any, vec![route]))
    };
    assert_eq!(with(Some("/new/%20path"), Some("rate-limit")), Ok(()));
    for bad in ["", "new", "/a b", "/a?b", "/a#b", "/a\r\nX: y", "/ä"] {
        assert!(
            with(Some(bad), None).unwrap_err().contains("cannot be the path"),
            "{bad}"
        );
    }
    assert!(with(None, Some("../x")).unwrap_err().contains("is no name of a filter"));
}

#[test]
fn secrets_are_those_that_ingresses_name() {
    assert_eq!(
        refusal(certificate(HostName::Any, "password")),
        "operation 1 of its plan (set certificate of host *): no Ingress names the Secret shop/password"
    );
}

#[test]
fn amounts_are_bounded() {
    let backends = vec!["10.244.1.1"; MOST_BACKENDS];
    assert_eq!(verdict(pool("a", &backends)), Ok(()));
    let words = refusal(pool("a", &[&backends[..], &["10.244.1.1"]].concat()));
    assert!(words.contains("10001 backends: 10000 are the limit"), "{words}");
    assert_eq!(verdict(host(HostName::Any, vec![prefix("/"); MOST_ROUTES])), Ok(()));
    let words = refusal(host(HostName::Any, vec![prefix("/"); MOST_ROUTES + 1]));
    assert!(words.contains("10001 routes: 10000 are the limit"), "{words}");
    assert!(refusal(pool("", &[])).contains("a name has 1 to 1024 bytes"));
    assert!(refusal(pool(&"x".repeat(1025), &[])).contains("and this one 1025"));
}

#[test]
fn pools_that_are_named_are_there() {
    let mut routing = Routing::default();
    let said = |ops: &[Op], routing: &Routing| check(ops, ALL, &bounds(), routing);
    let first = [
        Op::Set(host(exact("a.example"), vec![prefix("/")])),
        Op::Set(pool("web", &[])),
    ];
    assert_eq!(said(&first, &routing), Ok(()));
    assert_eq!(
        said(&first[..1], &routing).unwrap_err(),
        "operation 0 of its plan (set routes of host a.example): there is no pool web"
    );
    let otherwise = Entry::Host(VirtualHost {
        host: HostName::Any,
        routes: Vec::new(),
        otherwise: Some("none".to_owned()),
    });
    assert!(
        said(&[Op::Set(otherwise)], &routing)
            .unwrap_err()
            .ends_with("there is no pool none")
    );
    routing.apply(&first);
    let remove = Op::Remove(EntryKey::Pool("web".to_owned()));
    assert_eq!(
        said(std::slice::from_ref(&remove), &routing).unwrap_err(),
        "its plan removes the pool web, which the routes of host a.example name"
    );
    let both = [remove, Op::Remove(EntryKey::Host(exact("a.example")))];
    assert_eq!(said(&both, &routing), Ok(()));
}
