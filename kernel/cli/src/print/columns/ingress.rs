//! Cells of Ingresses and their classes.
use super::{or_else, or_none};
use crate::doc::{at, list, text};
use serde_json::Value;
use std::collections::BTreeSet;

/// Hosts that are shown.
const SHOWN: usize = 3;

/// The first hosts; where rules follow, also the number of all rules but these.
pub fn hosts(ingress: &Value) -> String {
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
pub fn address(ingress: &Value) -> String {
    let points = list(ingress, "/status/loadBalancer/ingress").iter();
    let addresses = points.map(|point| or_else(text(point, "/ip"), text(point, "/hostname")));
    let addresses: BTreeSet<String> = addresses.filter(|address| !address.is_empty()).collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}

pub fn ports(ingress: &Value) -> String {
    match list(ingress, "/spec/tls") {
        [] => "80".to_owned(),
        _ => "80, 443".to_owned(),
    }
}

/// `Config.example.com/fast`
pub fn parameters(class: &Value) -> String {
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
