//! Where Ingresses are reached: every node that is ready answers for all of them, so all have the same addresses. Which are ours
//! is decided as the plugin `ingress` decides it.
use crate::{address_of, takes_traffic};
use sampan_sdk::{
    Value,
    controller::{Object, Plan, Query, Snapshot},
    serde_json::json,
};
use std::{collections::BTreeSet, net::IpAddr};

pub const RESOURCE: &str = "ingresses.networking.k8s.io";
pub const CLASSES: &str = "ingressclasses.networking.k8s.io";

/// Our class where there is no object of that name, and what IngressClasses name us by.
const CLASS: &str = "sampan";
const CONTROLLER: &str = "sampan.dev/ingress";

const ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// All Ingresses are looked at again.
pub fn wake(plan: &mut Plan, snapshot: &dyn Snapshot) {
    for ingress in snapshot.list(&Query::all(RESOURCE).only(&["metadata"])) {
        plan.wake_up(&ingress.key, 0);
    }
}

/// Says in an Ingress where it is reached. Those of another class are another's.
pub fn ingress(plan: &mut Plan, ingress: &Object, snapshot: &dyn Snapshot) {
    if !is_ours(ingress, snapshot) {
        return;
    }
    let nodes = snapshot.list(&Query::all("nodes").only(&["metadata", "status"]));
    let nodes = nodes.iter().filter(|node| takes_traffic(node));
    let of_both = |node| {
        [false, true]
            .into_iter()
            .filter_map(move |is_v6| address_of(node, is_v6))
    };
    let addresses: BTreeSet<IpAddr> = nodes.flat_map(of_both).collect();
    let wanted: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"ip": address.to_string()}))
        .collect();
    let known = ingress.status()["loadBalancer"]["ingress"].as_array();
    if known.map_or(&[][..], Vec::as_slice) != wanted {
        plan.patch_status(ingress, json!({"loadBalancer": {"ingress": wanted}}));
    }
}

fn is_ours(ingress: &Object, snapshot: &dyn Snapshot) -> bool {
    let classes = snapshot.list(&Query::all(CLASSES));
    let controls = |class: &Object| class.spec()["controller"] == CONTROLLER;
    let named = ingress.spec()["ingressClassName"].as_str();
    let named = named
        .or_else(|| annotation(ingress, ANNOTATION))
        .filter(|name| !name.is_empty());
    match named {
        Some(name) => match classes.iter().find(|class| class.name() == name) {
            Some(class) => controls(class),
            None => name == CLASS,
        },
        None => default_class(&classes).is_none_or(controls),
    }
}

/// The class of those that name none; of several the newest, and then the first by name.
fn default_class(classes: &[Object]) -> Option<&Object> {
    let defaults = classes
        .iter()
        .filter(|class| annotation(class, DEFAULT) == Some("true"));
    let made = |class: &Object| {
        class.json["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let newest_first =
        |one: &&Object, other: &&Object| made(other).cmp(&made(one)).then_with(|| one.name().cmp(other.name()));
    defaults.min_by(newest_first)
}

fn annotation<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.json["metadata"]["annotations"][name].as_str()
}
