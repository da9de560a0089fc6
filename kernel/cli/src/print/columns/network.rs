//! Columns and cells of Services, their endpoints, policies, Ingresses and their classes.
use super::{AGE, Column, NAME, joined, or_else, or_none, plainly, selector, wide};
use crate::doc::{at, list, number, plain, text};
use serde_json::Value;
use std::collections::BTreeSet;

pub static SERVICES: &[Column] = &[
    NAME,
    plainly("TYPE", |o, _| or_else(text(o, "/spec/type"), "ClusterIP")),
    plainly("CLUSTER-IP", |o, _| or_none(text(o, "/spec/clusterIP"))),
    plainly("EXTERNAL-IP", |o, _| external_ip(o)),
    plainly("PORT(S)", |o, _| service_ports(o)),
    AGE,
    wide("SELECTOR", |o, _| or_none(&joined(at(o, "/spec/selector")))),
];

pub static ENDPOINT_SLICES: &[Column] = &[
    NAME,
    plainly("ADDRESSTYPE", |o, _| text(o, "/addressType").to_owned()),
    plainly("PORTS", |o, _| {
        first(list(o, "/ports").iter().map(endpoint_port), "<unset>")
    }),
    plainly("ENDPOINTS", |o, _| {
        first(list(o, "/endpoints").iter().flat_map(addresses), "<unset>")
    }),
    AGE,
];

pub static POLICIES: &[Column] = &[
    NAME,
    plainly("POD-SELECTOR", |o, _| selector(at(o, "/spec/podSelector"))),
    AGE,
];

pub static INGRESSES: &[Column] = &[
    NAME,
    plainly("CLASS", |o, _| or_none(text(o, "/spec/ingressClassName"))),
    plainly("HOSTS", |o, _| hosts(o)),
    plainly("ADDRESS", |o, _| address(o)),
    plainly("PORTS", |o, _| ports(o)),
    AGE,
];

pub static INGRESS_CLASSES: &[Column] = &[
    NAME,
    plainly("CONTROLLER", |o, _| text(o, "/spec/controller").to_owned()),
    plainly("PARAMETERS", |o, _| parameters(o)),
    AGE,
];

/// Hosts, endpoints and ports that are shown.
const SHOWN: usize = 3;

/// The first of many, and how many more there are; `none` where there is none.
pub fn first(all: impl Iterator<Item = String>, none: &str) -> String {
    let all: Vec<String> = all.collect();
    match all.split_at_checked(SHOWN) {
        Some((shown, rest)) if !rest.is_empty() => format!("{} + {} more...", shown.join(","), rest.len()),
        _ => or_else(&all.join(","), none),
    }
}

fn addresses(endpoint: &Value) -> impl Iterator<Item = String> {
    list(endpoint, "/addresses").iter().map(plain)
}

/// Its number, or its name; one without either stands for all.
fn endpoint_port(port: &Value) -> String {
    match number(port, "/port") {
        0 => or_else(text(port, "/name"), "*"),
        number => number.to_string(),
    }
}

fn external_ip(service: &Value) -> String {
    match text(service, "/spec/type") {
        "ExternalName" => or_none(text(service, "/spec/externalName")),
        kind => {
            let given = list(service, "/spec/externalIPs").iter().map(plain);
            let balanced = list(service, "/status/loadBalancer/ingress").iter();
            let balanced = balanced.map(|i| or_else(text(i, "/ip"), text(i, "/hostname")));
            let all: Vec<_> = given.chain(balanced).filter(|ip| !ip.is_empty()).collect();
            let absent = if kind == "LoadBalancer" { "<pending>" } else { "<none>" };
            or_else(&all.join(","), absent)
        }
    }
}

fn service_ports(service: &Value) -> String {
    let port = |port: &Value| {
        let protocol = or_else(text(port, "/protocol"), "TCP");
        match number(port, "/nodePort") {
            0 => format!("{}/{protocol}", number(port, "/port")),
            node => format!("{}:{node}/{protocol}", number(port, "/port")),
        }
    };
    or_none(
        &list(service, "/spec/ports")
            .iter()
            .map(port)
            .collect::<Vec<_>>()
            .join(","),
    )
}

/// The first hosts; where rules follow, also the number of all rules but these.
fn hosts(ingress: &Value) -> String {
    let rules = list(ingress, "/spec/rules");
    let hosts = rules.iter().enumerate().map(|(at, rule)| (at, text(rule, "/host")));
    let shown: Vec<(usize, &str)> = hosts.filter(|(_, host)| !host.is_empty()).take(SHOWN).collect();
    let names: Vec<&str> = shown.iter().map(|(_, host)| *host).collect();
    match shown.last() {
        None => "*".to_owned(),
        Some((last, _)) if shown.len() == SHOWN && last + 1 < rules.len() => {
            format!("{} + {} more...", names.join(","), rules.len() - SHOWN)
        }
        Some(_) => names.join(","),
    }
}

/// Where it is reached.
fn address(ingress: &Value) -> String {
    let points = list(ingress, "/status/loadBalancer/ingress").iter();
    let addresses = points.map(|point| or_else(text(point, "/ip"), text(point, "/hostname")));
    let addresses: BTreeSet<String> = addresses.filter(|address| !address.is_empty()).collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}

fn ports(ingress: &Value) -> String {
    match list(ingress, "/spec/tls") {
        [] => "80".to_owned(),
        _ => "80, 443".to_owned(),
    }
}

/// `Config.example.com/fast`
fn parameters(class: &Value) -> String {
    let parameters = at(class, "/spec/parameters");
    let (kind, group, name) = (
        text(parameters, "/kind"),
        text(parameters, "/apiGroup"),
        text(parameters, "/name"),
    );
    if kind.is_empty() {
        return or_none("");
    }
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{name}")
}
