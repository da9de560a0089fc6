//! Random Ingresses and requests, against what is documented and against a fresh instance.
use super::*;
use sampan_sdk::{serde_json::Map, testing::Draw};

const HOSTS: &[&str] = &["", "a.x", "b.x", "*.x", "*.a.x", "x", "c.a.x"];
const PATHS: &[&str] = &["/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/a/b/c"];
const ASKED: &[&str] = &["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c/d", "/ab", "/b", "/abc"];

/// What one path of one Ingress says.
#[derive(Clone, Debug)]
struct Said {
    year: usize,
    name: String,
    host: &'static str,
    exact: bool,
    path: &'static str,
    service: String,
}

fn host_matches(host: &str, name: &str) -> bool {
    match host.strip_prefix('*') {
        _ if host.is_empty() => true,
        // One label, and not none.
        Some(suffix) => {
            let label = name.strip_suffix(suffix).unwrap_or_default();
            !label.is_empty() && !label.contains('.')
        }
        None => host == name,
    }
}

/// Of all paths of all Ingresses that match, the one that is documented to come first: by host, then by path, then by age.
fn as_documented(all: &[Said], name: &str, asked: &str) -> String {
    let elements = |text: &str| -> Vec<String> {
        let parts = text.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let matches = all.iter().filter(|said| {
        let path = match said.exact {
            true => said.path == asked,
            false => elements(asked).starts_with(&elements(said.path)),
        };
        host_matches(said.host, name) && path
    });
    let best = matches.min_by_key(|said| {
        let host = match said.host {
            "" => 2,
            host if host.starts_with('*') => 1,
            _ => 0,
        };
        let longest = usize::MAX - elements(said.path).len();
        (host, !said.exact, longest, said.year, said.name.clone())
    });
    best.map_or("none".to_owned(), |said| said.service.clone())
}

#[test]
fn random_requests_go_where_documented() {
    let mut draw = Draw::new(1);
    for round in 0..200 {
        let (mut all, mut objects) = (Vec::new(), Vec::new());
        for number in 0..=draw.below(4) {
            let (name, year) = (format!("i{number}"), 2020 + draw.below(3));
            let mut rules = Vec::new();
            for _ in 0..=draw.below(3) {
                let host = draw.one(HOSTS);
                let mut paths = Vec::new();
                for _ in 0..=draw.below(3) {
                    let said = Said {
                        year,
                        name: name.clone(),
                        host,
                        exact: draw.chance(30),
                        path: draw.one(PATHS),
                        service: format!("s{}", all.len()),
                    };
                    all.push(said.clone());
                    paths.push(said);
                }
                let kind = |said: &Said| match said.exact {
                    true => "Exact",
                    // What is left to the implementation is a prefix here.
                    false if said.service.ends_with('3') => "ImplementationSpecific",
                    false => "Prefix",
                };
                let paths: Vec<_> = paths
                    .iter()
                    .map(|said| (kind(said), said.path, said.service.as_str()))
                    .collect();
                rules.push(rule(host, &paths));
            }
            objects.push(ingress(&name, year, &rules));
        }
        let routing = routing(&objects);
        for name in ["a.x", "b.x", "c.x", "x", "c.a.x", "d.a.x", "a.b.c", ""] {
            for asked in ASKED {
                assert_eq!(
                    service_for(&routing, name, asked),
                    as_documented(&all, name, asked),
                    "round {round}: {name}{asked} of {all:#?}"
                );
            }
        }
    }
}

/// Objects come, change and go; what was answered in all is what a fresh instance would answer.
#[test]
fn changes_add_up_to_the_whole() {
    let mut draw = Draw::new(2);
    let mut routing = routing(&[]);
    let mut there = Map::new();
    for step in 0..600 {
        let number = draw.below(4);
        let (kind, object) = match draw.below(10) {
            0..4 => ("Ingress", random_ingress(&mut draw, &format!("i{number}"))),
            4..6 => {
                let ports = json!([{"name": draw.one(&["http", "web"]), "port": draw.one(&[80, 81])}]);
                ("Service", service(&format!("s{number}"), &ports))
            }
            6..8 => {
                let all = ["10.244.1.1", "10.244.2.1", "10.244.3.1", "192.0.2.3", "8.8.8.8"];
                let some: Vec<&str> = (0..draw.below(4)).map(|_| draw.one(&all)).collect();
                // A slice may change hands.
                (
                    "EndpointSlice",
                    slice(&format!("slice{}", draw.below(5)), &format!("s{number}"), &some),
                )
            }
            8 => {
                let controller = draw.one(&["sampan.dev/ingress", "example.com/other"]);
                let default = draw.chance(50).to_string();
                let metadata = json!({"name": draw.one(&["sampan", "edge"]),
                    "annotations": {"ingressclass.kubernetes.io/is-default-class": default}});
                (
                    "IngressClass",
                    json!({"kind": "IngressClass", "metadata": metadata, "spec": {"controller": controller}}),
                )
            }
            _ => ("Node", network_node("third", "10.244.3.0/24", "192.0.2.3")),
        };
        let own = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let known = format!("{kind} {own}");
        if there.contains_key(&known) && draw.chance(30) {
            there.remove(&known);
            routing.delete(kind, &namespace, &own);
        } else {
            there.insert(known, Value::Null);
            routing.apply(&[object]);
        }
        if step % 10 == 0 {
            routing.agrees_with_a_fresh_one();
        }
        named_pools_are_there(&routing);
    }
}

fn random_ingress(draw: &mut Draw, name: &str) -> Value {
    let mut rules = Vec::new();
    for _ in 0..draw.below(3) {
        let service = format!("s{}", draw.below(4));
        let kind = draw.one(&["Exact", "Prefix"]);
        rules.push(rule(draw.one(HOSTS), &[(kind, draw.one(PATHS), &service)]));
    }
    let mut object = ingress(name, 2020 + draw.below(2), &rules);
    if draw.chance(30) {
        object["spec"]["defaultBackend"] = backend(&format!("s{}", draw.below(4)));
    }
    if draw.chance(20) {
        object["spec"]["defaultBackend"] = json!({"resource": {"kind": "Bucket", "name": "b"}});
    }
    if draw.chance(30) {
        object["spec"]["tls"] = json!([{"hosts": [draw.one(&["a.x", "*.x"])], "secretName": name}]);
    }
    if draw.chance(30) {
        object["spec"]["ingressClassName"] = json!(draw.one(&["sampan", "edge"]));
    }
    object
}

/// The kernel refuses routes to a pool that is not there.
fn named_pools_are_there(routing: &Routing<Ingress>) {
    let names: Vec<String> = pools(routing).into_iter().map(|pool| pool.name).collect();
    for host in hosts(routing) {
        for pool in host.routes.iter().map(|route| &route.pool).chain(&host.otherwise) {
            assert!(names.contains(pool), "{pool} of {names:?}");
        }
    }
}
