//! Columns and cells of Ingresses and their classes.
use super::{AGE, Column, NAME, or_else, or_none, plainly};
use crate::doc::{at, list, text};
use serde_json::Value;
use std::collections::BTreeSet;

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

/// Hosts that are shown.
const SHOWN: usize = 3;

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
