//! Endpoints to slices, with as few writes as may be: what is in a slice stays there, what is new goes to slices that are
//! written anyway, then to those with room, then to new ones.
use crate::{Alike, MANAGED_BY, OWN_NAME, SERVICE_NAME, SLICES, endpoint::Endpoint};
use sampan_sdk::{
    Value,
    controller::{Object, Plan},
    serde_json::{self, Map, json},
};
use std::collections::BTreeMap;

/// Endpoints in a slice at the most.
const MOST: usize = 100;

/// Marks the slices of Services without an address.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// A slice, and what is to be in it.
struct Held {
    slice: Object,
    endpoints: Vec<Value>,
    changed: bool,
}

/// Brings the slices of a Service to what is wanted.
pub fn arrange(plan: &mut Plan, service: &Object, mut wanted: BTreeMap<Alike, Vec<Endpoint>>, existing: Vec<Object>) {
    let mut held: BTreeMap<Alike, Vec<Object>> = BTreeMap::new();
    for slice in existing {
        match alike(&slice).filter(|alike| wanted.contains_key(alike)) {
            Some(alike) => held.entry(alike).or_default().push(slice),
            None => plan.delete(&slice),
        }
    }
    let labels = labels(service);
    while let Some((alike, endpoints)) = wanted.pop_first() {
        let slices = held.remove(&alike).unwrap_or_default();
        fill(plan, service, &labels, &alike, endpoints, slices);
    }
}

/// What a slice's endpoints have in common.
fn alike(slice: &Object) -> Option<Alike> {
    let family = ["IPv4", "IPv6"]
        .into_iter()
        .find(|family| slice.json["addressType"] == *family)?;
    let ports = match &slice.json["ports"] {
        Value::Null => json!([]).to_string(),
        ports => ports.to_string(),
    };
    Some(Alike { family, ports })
}

/// Brings the slices of endpoints that are alike to what is wanted.
fn fill(
    plan: &mut Plan,
    service: &Object,
    labels: &Map<String, Value>,
    alike: &Alike,
    wanted: Vec<Endpoint>,
    slices: Vec<Object>,
) {
    let needed = wanted.len().div_ceil(MOST);
    let order: Vec<String> = wanted.iter().map(|endpoint| endpoint.uid.clone()).collect();
    let mut missing: BTreeMap<String, Value> = wanted.into_iter().map(|one| (one.uid, one.json)).collect();
    let mut held: Vec<Held> = slices.into_iter().map(|slice| hold(slice, &mut missing)).collect();
    // The fullest first, and where many are nearly empty, only those that are needed.
    held.sort_by_key(|held| (MOST - held.endpoints.len().min(MOST), held.slice.key.name.clone()));
    if held.len() > 2 * needed {
        for sparse in held.split_off(needed) {
            missing.extend(
                sparse
                    .endpoints
                    .iter()
                    .map(|endpoint| (uid(endpoint).to_owned(), endpoint.clone())),
            );
            plan.delete(&sparse.slice);
        }
    }
    let mut rest = order.iter().filter_map(|uid| missing.remove(uid)).peekable();
    held.sort_by_key(|held| !held.changed);
    for held in &mut held {
        while held.endpoints.len() < MOST
            && let Some(endpoint) = rest.next()
        {
            held.endpoints.push(endpoint);
        }
    }
    for held in held {
        if held.endpoints.is_empty() {
            plan.delete(&held.slice);
            continue;
        }
        let mut labels = labels.clone();
        for name in held
            .slice
            .labels()
            .keys()
            .filter(|name| !labels.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
        {
            labels.insert(name, Value::Null);
        }
        plan.patch(
            &held.slice,
            json!({"metadata": {"labels": labels}, "endpoints": held.endpoints}),
        );
    }
    while rest.peek().is_some() {
        let endpoints: Vec<Value> = rest.by_ref().take(MOST).collect();
        let ports: Value = serde_json::from_str(&alike.ports).unwrap_or_default();
        let namespace = &service.key.namespace;
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"generateName": format!("{}-", service.name()), "namespace": namespace, "labels": labels,
                "ownerReferences": [service.as_controller()]},
            "addressType": alike.family,
            "endpoints": endpoints,
            "ports": ports,
        });
        plan.create(SLICES, namespace, slice);
    }
}

/// What stays in a slice, as it is to be now; it is no longer missing.
fn hold(slice: Object, missing: &mut BTreeMap<String, Value>) -> Held {
    let before: Vec<Value> = slice.json["endpoints"].as_array().cloned().unwrap_or_default();
    let endpoints: Vec<Value> = before
        .iter()
        .filter_map(|endpoint| missing.remove(uid(endpoint)))
        .collect();
    Held {
        changed: endpoints != before,
        slice,
        endpoints,
    }
}

/// The uid of an endpoint's pod.
fn uid(endpoint: &Value) -> &str {
    endpoint["targetRef"]["uid"].as_str().unwrap_or_default()
}

/// The Service's own labels, and those that make a slice its slice.
fn labels(service: &Object) -> Map<String, Value> {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), json!(service.name()));
    labels.insert(MANAGED_BY.to_owned(), json!(OWN_NAME));
    labels.remove(HEADLESS);
    if service.spec()["clusterIP"] == "None" {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels
}
