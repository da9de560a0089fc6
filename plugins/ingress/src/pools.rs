//! Who answers for a Service: its endpoints that take connections, as far as they are addresses of the cluster.
use crate::classes::is_ours;
use sampan_sdk::{
    ingress::{Backend, Entry, Name, Pool, Protocol, View},
    network::{Endpoints, Family, IngressBackend, IngressPort, Reach, ServicePort, Transport},
};
use std::collections::BTreeMap;

/// What stands for the resources that Ingresses name, which nobody here answers for. It is no name of a Service.
pub const NOBODY: &str = "";

/// The protocol of a Service's port that speaks HTTP/2 without TLS.
const H2C: &str = "kubernetes.io/h2c";

/// Backends that the kernel takes.
const MOST_BACKENDS: usize = 10_000;

/// The name of the pool of a backend.
pub fn name(namespace: &str, backend: &IngressBackend) -> String {
    match &backend.service {
        None => format!("{namespace}/"),
        Some(service) if service.port.name.is_empty() => {
            format!("{namespace}/{}:{}", service.name, service.port.number)
        }
        Some(service) => format!("{namespace}/{}:{}", service.name, service.port.name),
    }
}

/// The pools of a Service: one for each way in which our Ingresses name a port of it.
pub fn of(service: &Name, view: &View) -> Vec<Entry> {
    let mut pools = BTreeMap::new();
    if service.name == NOBODY {
        let within = view
            .ingresses
            .iter()
            .filter(|(name, _)| name.namespace == service.namespace);
        let mut backends = within
            .filter(|(_, ingress)| is_ours(ingress, view))
            .flat_map(|(_, ingress)| ingress.backends());
        if let Some(backend) = backends.find(|backend| backend.service.is_none()) {
            let name = name(&service.namespace, backend);
            pools.insert(name.clone(), nobody(name));
        }
    }
    let ours = view.ingresses_to(service).filter(|(_, ingress)| is_ours(ingress, view));
    for backend in ours.flat_map(|(_, ingress)| ingress.backends()) {
        let Some(named) = backend.service.as_ref().filter(|named| named.name == service.name) else {
            continue;
        };
        let name = name(&service.namespace, backend);
        pools
            .entry(name.clone())
            .or_insert_with(|| pool(name, service, &named.port, view));
    }
    pools.into_values().map(Entry::Pool).collect()
}

fn nobody(name: String) -> Pool {
    Pool {
        name,
        protocol: Protocol::Http1,
        backends: Vec::new(),
    }
}

fn pool(name: String, service: &Name, port: &IngressPort, view: &View) -> Pool {
    let ports = view
        .services
        .get(service)
        .into_iter()
        .flat_map(|known| &known.spec.ports);
    let is_meant = |known: &&ServicePort| {
        known.protocol == Transport::default()
            && match port.name.as_str() {
                "" => known.port == port.number,
                text => known.name == text,
            }
    };
    let Some(port) = ports.into_iter().find(is_meant) else {
        return nobody(name);
    };
    let of_family = |family| {
        let endpoints = Endpoints::of(view, service, port, family);
        // What Services may say of other addresses is nobody's to send requests to.
        let chosen = endpoints
            .chosen(Reach::Cluster)
            .filter(|one| view.is_within_nodes(one.address));
        let backends = chosen.filter(|one| one.port != 0).map(|one| Backend {
            address: one.address,
            port: one.port,
            weight: 1,
        });
        backends.take(MOST_BACKENDS).collect::<Vec<_>>()
    };
    let mut backends = of_family(Family::V4);
    if backends.is_empty() {
        backends = of_family(Family::V6);
    }
    let protocol = match port.app_protocol.as_str() {
        H2C => Protocol::H2c,
        _ => Protocol::Http1,
    };
    Pool {
        name,
        protocol,
        backends,
    }
}
