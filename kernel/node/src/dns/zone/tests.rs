//! The rules of the specification, one by one.
use super::*;
use hickory_proto::rr::RecordType::{self as Type};
use serde_json::{Value, json};

fn object(value: Value) -> Object {
    Object::from_value(&value).unwrap()
}

fn service(name: &str, spec: Value) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "prod", "uid": format!("service-{name}")}, "spec": spec}))
}

fn slice(service: &str, number: u32, endpoints: Value) -> Object {
    let name = format!("{service}-{number}");
    let ports = json!([{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "", "port": 9, "protocol": "UDP"}]);
    object(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "prod", "uid": format!("slice-{name}"),
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports}))
}

fn empty() -> Zone {
    let ranges = ["10.42.0.0/16", "10.96.0.0/12", "fd00:42::/64"].map(|range| range.parse().unwrap());
    Zone::new(ZoneSettings {
        domain: "cluster.local".into(),
        ranges: ranges.into(),
        servers: vec!["10.42.0.1".parse().unwrap()],
    })
    .unwrap()
}

fn zone() -> Zone {
    let mut zone = empty();
    let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"port": 7}]);
    let web = json!({"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:42::a"], "ports": ports});
    let endpoints = json!([
        {"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
        {"addresses": ["10.42.0.6"], "hostname": "db-1"},
        {"addresses": ["10.42.1.7"], "conditions": {"ready": null}},
        {"addresses": ["10.42.1.8"], "hostname": "db-3", "conditions": {"ready": false}}]);
    for object in [
        service("web", web),
        slice("web", 0, json!([{"addresses": ["10.42.9.9"]}])),
        service("plain", json!({"clusterIP": "10.96.0.11", "ports": [{"port": 1}]})),
        slice("db", 0, endpoints),
        service(
            "db",
            json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}),
        ),
        service(
            "away",
            json!({"type": "ExternalName", "externalName": "db.example.org"}),
        ),
        service("pending", json!({"ports": [{"name": "http", "port": 80}]})),
        service("empty", json!({"clusterIP": "None"})),
    ] {
        zone.changed(&object).unwrap();
    }
    zone
}

/// What is answered, in short: records as `name type data`, or why there are none.
fn ask(zone: &Zone, name: &str, kind: Type) -> Vec<String> {
    let name = if name.ends_with('.') {
        name.to_owned()
    } else {
        format!("{name}.cluster.local.")
    };
    match zone.answer(&Name::from_ascii(name).unwrap(), kind) {
        Answer::NotOurs => vec!["not ours".into()],
        Answer::Found { answers, .. } => answers.iter().map(|record| record.data.to_string()).collect(),
        Answer::Alias { target, .. } => vec![format!("alias of {target}")],
        Answer::NoData { soa } => vec![format!("no data in {}", soa.name)],
        Answer::NoName { soa } => vec![format!("no name in {}", soa.name)],
    }
}

const NO_DATA: [&str; 1] = ["no data in cluster.local."];
const NO_NAME: [&str; 1] = ["no name in cluster.local."];

#[test]
fn services_with_addresses() {
    let zone = zone();
    assert_eq!(ask(&zone, "web.prod.svc", Type::A), ["10.96.0.10"]);
    assert_eq!(ask(&zone, "web.prod.svc", Type::AAAA), ["fd00:42::a"]);
    assert_eq!(ask(&zone, "plain.prod.svc", Type::AAAA), NO_DATA);
    assert_eq!(ask(&zone, "web.prod.svc", Type::MX), NO_DATA);
    assert_eq!(ask(&zone, "pending.prod.svc", Type::A), NO_DATA);
    assert_eq!(ask(&zone, "none.prod.svc", Type::A), NO_NAME);
    assert_eq!(ask(&zone, "web.other.svc", Type::A), NO_NAME);
    assert_eq!(ask(&zone, "10-42-9-9.web.prod.svc", Type::A), NO_NAME);
    assert_eq!(ask(&zone, "a.b.c.web.prod.svc", Type::A), NO_NAME);
}

#[test]
fn names_between() {
    let zone = zone();
    for name in [
        "prod.svc",
        "svc",
        "_tcp.web.prod.svc",
        "_http._tcp.web.prod.svc",
        "pod",
        "any.pod",
        "dns",
    ] {
        assert_eq!(ask(&zone, name, Type::A), NO_DATA, "{name}");
    }
    for name in [
        "other.svc",
        "_sctp.web.prod.svc",
        "_udp.plain.prod.svc",
        "web",
        "prod",
        "*",
    ] {
        assert_eq!(ask(&zone, name, Type::A), NO_NAME, "{name}");
    }
    for name in [
        "example.org.",
        "local.",
        ".",
        "notcluster.local.",
        "cluster.local.example.org.",
    ] {
        assert_eq!(ask(&zone, name, Type::A), ["not ours"], "{name}");
    }
    assert_eq!(ask(&zone, "cluster.local.", Type::NS), ["ns.dns.cluster.local."]);
    assert_eq!(ask(&zone, "ns.dns", Type::A), ["10.42.0.1"]);
    assert!(ask(&zone, "cluster.local.", Type::SOA)[0].starts_with("ns.dns.cluster.local. hostmaster.cluster.local."));
    assert_eq!(ask(&zone, "dns-version", Type::TXT), ["1.1.0"]);
    assert_eq!(ask(&zone, "dns-version", Type::A), NO_DATA);
}

#[test]
fn letters_are_the_same_large_or_small() {
    let zone = zone();
    assert_eq!(ask(&zone, "WeB.PROD.sVc.Cluster.LOCAL.", Type::A), ["10.96.0.10"]);
    assert_eq!(
        ask(&zone, "10.0.96.10.IN-ADDR.ARPA.", Type::PTR),
        ["web.prod.svc.cluster.local."]
    );
    let name = Name::from_ascii("WeB.prod.svc.cluster.local.").unwrap();
    let Answer::Found { answers, .. } = zone.answer(&name, Type::A) else {
        panic!()
    };
    assert!(answers[0].name.eq_case(&name), "named as it was asked for");
}

#[test]
fn odd_labels_are_no_names() {
    let zone = zone();
    let odd = |first: &[u8]| {
        let labels = [first, b"prod", b"svc", b"cluster", b"local"];
        zone.answer(&Name::from_labels(labels).unwrap(), Type::A)
    };
    for first in [&b"we\0b"[..], b"\xff\xfe", b"web.prod", b"*", b" ", &[b'w'; 63]] {
        assert!(matches!(odd(first), Answer::NoName { .. }), "{first:?}");
    }
}

#[test]
fn headless_services() {
    let mut zone = zone();
    assert_eq!(
        ask(&zone, "db.prod.svc", Type::A),
        ["10.42.0.5", "10.42.0.6", "10.42.1.7"]
    );
    assert_eq!(ask(&zone, "db.prod.svc", Type::AAAA), NO_DATA);
    assert_eq!(
        ask(&zone, "empty.prod.svc", Type::A),
        NO_NAME,
        "as the specification has it"
    );
    assert_eq!(ask(&zone, "db-0.db.prod.svc", Type::A), ["10.42.0.5"]);
    assert_eq!(ask(&zone, "10-42-1-7.db.prod.svc", Type::A), ["10.42.1.7"]);
    assert_eq!(
        ask(&zone, "10-42-0-5.db.prod.svc", Type::A),
        NO_NAME,
        "it has a host name"
    );
    assert_eq!(ask(&zone, "db-3.db.prod.svc", Type::A), NO_NAME, "it is not ready");
    let all_ready = json!({"clusterIP": "None", "publishNotReadyAddresses": true});
    zone.changed(&service("db", all_ready)).unwrap();
    assert_eq!(ask(&zone, "db-3.db.prod.svc", Type::A), ["10.42.1.8"]);
    assert_eq!(ask(&zone, "db.prod.svc", Type::A).len(), 4);
}

#[test]
fn a_host_name_of_several_endpoints_and_families() {
    let mut zone = zone();
    let six = json!([{"addresses": ["fd00:42::5"], "hostname": "db-0"}, {"addresses": ["fd00:42::9"]}]);
    let twice = json!([{"addresses": ["10.42.0.5"], "hostname": "db-0"}]);
    zone.changed(&slice("db", 1, six)).unwrap();
    zone.changed(&slice("db", 2, twice)).unwrap();
    assert_eq!(
        ask(&zone, "db-0.db.prod.svc", Type::A),
        ["10.42.0.5"],
        "in two slices, and one"
    );
    assert_eq!(ask(&zone, "db-0.db.prod.svc", Type::AAAA), ["fd00:42::5"]);
    assert_eq!(ask(&zone, "fd00-42--9.db.prod.svc", Type::AAAA), ["fd00:42::9"]);
    assert_eq!(ask(&zone, "fd00-42--9.db.prod.svc", Type::A), NO_DATA);
}

#[test]
fn ports() {
    let zone = zone();
    assert_eq!(
        ask(&zone, "_http._tcp.web.prod.svc", Type::SRV),
        ["0 100 80 web.prod.svc.cluster.local."]
    );
    assert_eq!(
        ask(&zone, "_dns._udp.web.prod.svc", Type::SRV),
        ["0 100 53 web.prod.svc.cluster.local."]
    );
    for name in [
        "_http._udp.web.prod.svc",
        "_no._tcp.web.prod.svc",
        "http.tcp.web.prod.svc",
    ] {
        assert_eq!(ask(&zone, name, Type::SRV), NO_NAME, "{name}");
    }
    assert_eq!(
        ask(&zone, "_http._tcp.db.prod.svc", Type::SRV),
        [
            "0 33 8080 10-42-1-7.db.prod.svc.cluster.local.",
            "0 33 8080 db-0.db.prod.svc.cluster.local.",
            "0 33 8080 db-1.db.prod.svc.cluster.local."
        ]
    );
    let name = Name::from_ascii("_http._tcp.db.prod.svc.cluster.local.").unwrap();
    let Answer::Found { additionals, .. } = zone.answer(&name, Type::SRV) else {
        panic!()
    };
    let addresses: Vec<String> = additionals.iter().map(|r| format!("{} {}", r.name, r.data)).collect();
    assert_eq!(addresses[1], "db-0.db.prod.svc.cluster.local. 10.42.0.5");
    assert_eq!(ask(&zone, "web.prod.svc", Type::SRV).len(), 3, "all ports");
    assert_eq!(
        ask(&zone, "db.prod.svc", Type::SRV).len(),
        6,
        "all ports of all endpoints"
    );
}

#[test]
fn names_of_addresses() {
    let zone = zone();
    let name = |address: &str| format!("{}", Name::from(address.parse::<IpAddr>().unwrap()));
    let ptr = |address: &str| ask(&zone, &name(address), Type::PTR);
    assert_eq!(ptr("10.96.0.10"), ["web.prod.svc.cluster.local."]);
    assert_eq!(ptr("fd00:42::a"), ["web.prod.svc.cluster.local."]);
    assert_eq!(ptr("10.42.0.5"), ["db-0.db.prod.svc.cluster.local."]);
    assert_eq!(ptr("10.42.1.7"), ["10-42-1-7.db.prod.svc.cluster.local."]);
    assert_eq!(ptr("10.42.1.8"), ["no name in 42.10.in-addr.arpa."], "not ready");
    assert_eq!(ptr("10.97.3.4"), ["no name in 97.10.in-addr.arpa."]);
    assert_eq!(ptr("192.0.2.1"), ["not ours"]);
    assert_eq!(
        ask(&zone, &name("10.96.0.10"), Type::A),
        ["no data in 96.10.in-addr.arpa."]
    );
    assert_eq!(
        ask(&zone, "0.42.10.in-addr.arpa.", Type::PTR),
        ["no data in 42.10.in-addr.arpa."]
    );
    assert_eq!(
        ask(&zone, "9.42.10.in-addr.arpa.", Type::PTR),
        ["no name in 42.10.in-addr.arpa."]
    );
    assert_eq!(
        ask(&zone, "x.5.0.42.10.in-addr.arpa.", Type::PTR),
        ["no name in 42.10.in-addr.arpa."]
    );
    for name in [
        "10.in-addr.arpa.",
        "in-addr.arpa.",
        "arpa.",
        "x.42.10.in-addr.arpa.",
        "ip6.arpa.",
        "*.10.in-addr.arpa.",
    ] {
        assert_eq!(ask(&zone, name, Type::PTR), ["not ours"], "{name}");
    }
}

#[test]
fn other_names_and_pods() {
    let zone = zone();
    assert_eq!(ask(&zone, "away.prod.svc", Type::A), ["alias of db.example.org."]);
    assert_eq!(ask(&zone, "10-42-0-5.prod.pod", Type::A), ["10.42.0.5"]);
    assert_eq!(ask(&zone, "10-42-0-5.prod.pod", Type::AAAA), NO_DATA);
    assert_eq!(ask(&zone, "fd00-42--7.prod.pod", Type::AAAA), ["fd00:42::7"]);
    for name in [
        "10-42-0.prod.pod",
        "10-42-0-256.prod.pod",
        "web.prod.pod",
        "a.10-42-0-5.prod.pod",
    ] {
        assert_eq!(ask(&zone, name, Type::A), NO_NAME, "{name}");
    }
}

#[test]
fn what_changes_and_goes() {
    let mut zone = zone();
    let key = |resource, name: &str| Key::new(resource, "prod", name);
    zone.changed(&service("web", json!({"clusterIP": "10.96.0.12"})))
        .unwrap();
    assert_eq!(
        ask(&zone, "10.0.96.10.in-addr.arpa.", Type::PTR),
        ["no name in 96.10.in-addr.arpa."]
    );
    assert_eq!(
        ask(&zone, "12.0.96.10.in-addr.arpa.", Type::PTR),
        ["web.prod.svc.cluster.local."]
    );
    // A slice that comes to another Service.
    let mut moved = slice("plain", 0, json!([{"addresses": ["10.42.0.5"]}]));
    moved.metadata.name = "db-0".into();
    zone.changed(&moved).unwrap();
    assert_eq!(ask(&zone, "db.prod.svc", Type::A), NO_NAME);
    zone.gone(&key(SLICES, "db-0"));
    zone.retain(SERVICES, &HashSet::from(["service-plain".to_owned()]));
    assert_eq!(ask(&zone, "web.prod.svc", Type::A), NO_NAME);
    assert_eq!(ask(&zone, "plain.prod.svc", Type::A), ["10.96.0.11"]);
    zone.retain(SLICES, &HashSet::new());
    zone.gone(&key(SERVICES, "plain"));
    zone.gone(&key(SERVICES, "plain"));
    assert!(
        zone.entries.is_empty() && zone.slices.is_empty() && zone.owners.is_empty(),
        "nothing is left"
    );
}

#[test]
fn fed_with_what_another_was() {
    let (zone, mut other) = (zone(), empty());
    let text = serde_json::to_string(&zone.fed()).unwrap();
    other.feed(serde_json::from_str(&text).unwrap());
    for name in ["web.prod.svc", "db.prod.svc", "db-0.db.prod.svc", "away.prod.svc"] {
        assert_eq!(ask(&other, name, Type::A), ask(&zone, name, Type::A));
    }
    assert_eq!(serde_json::to_string(&other.fed()).unwrap(), text);
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut zone = zone();
    assert!(zone.changed(&service("web", json!({"ports": "many"}))).is_err());
    assert_eq!(ask(&zone, "web.prod.svc", Type::A), ["10.96.0.10"]);
    let pod = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "prod"}}));
    zone.changed(&pod).unwrap();
    let settings = |domain: &str| ZoneSettings {
        domain: domain.into(),
        ranges: vec![],
        servers: vec![],
    };
    for domain in ["", ".", "a..b", &"a".repeat(64)] {
        assert!(Zone::new(settings(domain)).is_err(), "{domain}");
    }
}
