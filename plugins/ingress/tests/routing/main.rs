//! What becomes of Ingresses: which pool answers a request, by the contract's own rules.
mod classes;
mod documented;
mod endpoints;
mod random;

use ingress::Ingress;
use sampan_sdk::{
    Value,
    ingress::{Entry, HostName, Path, Pool, VirtualHost},
    serde_json::json,
    testing::{Routing, network_node},
};

/// A path of a rule: its type, itself, and the Service it goes to.
type Paths<'a> = &'a [(&'a str, &'a str, &'a str)];

fn backend(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"number": 80}}})
}

fn rule(host: &str, paths: Paths<'_>) -> Value {
    let paths: Vec<Value> = paths
        .iter()
        .map(|(kind, path, service)| json!({"pathType": kind, "path": path, "backend": backend(service)}))
        .collect();
    json!({"host": host, "http": {"paths": paths}})
}

/// An Ingress that was made in a year.
fn ingress(name: &str, year: usize, rules: &[Value]) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": rules},
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": format!("{year}-01-01T00:00:00Z")}})
}

fn service(name: &str, ports: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": ports}})
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "http", "protocol": "TCP", "port": 8080}]})
}

fn routing(objects: &[Value]) -> Routing<Ingress> {
    let mut routing = Routing::new("here", &Value::Null);
    routing.apply(&[
        network_node("here", "10.244.1.0/24", "192.0.2.1"),
        network_node("there", "10.244.2.0/24", "192.0.2.2"),
    ]);
    routing.apply(objects);
    routing.agrees_with_a_fresh_one();
    routing
}

fn hosts(routing: &Routing<Ingress>) -> Vec<VirtualHost> {
    let entries = routing.entries().into_iter();
    let hosts = entries.filter_map(|entry| match entry {
        Entry::Host(host) => Some(host),
        _ => None,
    });
    hosts.collect()
}

fn pools(routing: &Routing<Ingress>) -> Vec<Pool> {
    let entries = routing.entries().into_iter();
    let pools = entries.filter_map(|entry| match entry {
        Entry::Pool(pool) => Some(pool),
        _ => None,
    });
    pools.collect()
}

/// `host secret` of each certificate.
fn certificates(routing: &Routing<Ingress>) -> Vec<String> {
    let entries = routing.entries().into_iter();
    let certificates = entries.filter_map(|entry| match entry {
        Entry::Certificate(certificate) => Some(format!("{:?} {}", certificate.host, certificate.secret.name)),
        _ => None,
    });
    certificates.collect()
}

fn path_matches(path: &Path, asked: &str) -> bool {
    match path {
        Path::Exact(path) => path == asked,
        Path::Prefix(prefix) => {
            let elements = |text: &str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
            let prefix = elements(prefix.trim_end_matches('/'));
            elements(asked).starts_with(&prefix)
        }
    }
}

/// The pool that answers a request: the contract, written down as it is said there.
fn answers(hosts: &[VirtualHost], name: &str, path: &str) -> Option<String> {
    let parent = name.split_once('.').map_or("", |(_, parent)| parent);
    let order = [
        HostName::Exact(name.to_owned()),
        HostName::Wildcard(parent.to_owned()),
        HostName::Any,
    ];
    let chosen = || {
        order
            .iter()
            .filter_map(|host| hosts.iter().find(|known| known.host == *host))
    };
    let route = chosen().find_map(|host| host.routes.iter().find(|route| path_matches(&route.path, path)));
    let otherwise = || chosen().find_map(|host| host.otherwise.clone());
    route.map(|route| route.pool.clone()).or_else(otherwise)
}

/// The Service that answers a request, as Ingresses were told.
fn service_for(routing: &Routing<Ingress>, name: &str, path: &str) -> String {
    let pool = answers(&hosts(routing), name, path);
    let pool = pool.map(|pool| pool.trim_start_matches("default/").trim_end_matches(":80").to_owned());
    pool.unwrap_or_else(|| "none".to_owned())
}
