//! The network plugin `service`: which addresses and ports stand for a Service, and which endpoints take the connections.
//!
//! What is documented for kube-proxy holds: <https://kubernetes.io/docs/reference/networking/virtual-ips/>.
use sampan_sdk::network::{
    Address, Backend, Change, Description, Destination, Endpoints, Entry, Fallback, Family, Frontend, FrontendKey,
    Name, Network, Pool, Range, Reach, Scope, Service as Object, ServicePort, Table, View, description, range,
};
use std::collections::BTreeSet;

/// A Service with this label is another proxy's.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

#[derive(Default)]
pub struct Service;

impl Network for Service {
    type Key = Name;

    fn describe() -> Description {
        let summary = "Connections to Services go to their endpoints, as with kube-proxy.";
        description("service", env!("CARGO_PKG_VERSION"), summary)
    }

    fn watches() -> &'static [&'static str] {
        &["services", "endpointslices.discovery.k8s.io"]
    }

    fn tables() -> &'static [Table] {
        &[Table::Frontends]
    }

    fn touched(&self, change: &Change<'_>, _: &View, keys: &mut BTreeSet<Name>) {
        match change {
            Change::Service(pair) => drop(keys.insert(pair.name.clone())),
            Change::EndpointSlice(pair) => {
                let services = pair.both().filter_map(|slice| slice.service());
                keys.extend(services.map(|service| Name::new(&pair.name.namespace, service)));
            }
            _ => {}
        }
    }

    fn desired(&self, key: &Name, view: &View) -> Vec<Entry> {
        let Some(service) = view.services.get(key) else {
            return Vec::new();
        };
        if service.cluster_addresses().is_empty() || service.metadata.labels.contains_key(PROXY_NAME) {
            return Vec::new();
        }
        let ports = service.spec.ports.iter();
        ports.flat_map(|port| of_port(key, service, port, view)).collect()
    }
}

/// The frontends of one port, in each family that the Service has an address of.
fn of_port(key: &Name, service: &Object, port: &ServicePort, view: &View) -> Vec<Entry> {
    let mut entries = Vec::new();
    for family in [Family::V4, Family::V6] {
        let of_family = |address: &Address| address.family() == family;
        let cluster: Vec<Address> = service.cluster_addresses().into_iter().filter(of_family).collect();
        if cluster.is_empty() {
            continue;
        }
        let endpoints = Endpoints::of(view, key, port, family);
        let local_inside = service.spec.internal_traffic_policy == "Local";
        let local_outside = service.spec.external_traffic_policy == "Local";
        let frontend = |destination, number, scope, sources: &[Range], inside: &Pool, outside: Option<&Pool>| {
            Entry::Frontend(Frontend {
                key: FrontendKey {
                    destination,
                    port: number,
                    protocol: port.protocol.0,
                },
                scope,
                service: format!("{key}:{}", port.name),
                affinity_seconds: service.affinity_seconds(),
                sources: sources.to_vec(),
                inside: inside.clone(),
                outside: outside.cloned(),
            })
        };
        let reach = if local_inside { Reach::Node } else { Reach::Cluster };
        let inside = pool(&endpoints, reach);
        let at = Destination::Address;
        entries.extend(
            cluster
                .into_iter()
                .map(|one| frontend(at(one), port.port, Scope::Cluster, &[], &inside, None)),
        );
        // Whoever is inside and asks for an address that is meant for those outside gets what is anywhere.
        let anywhere = pool(&endpoints, Reach::Cluster);
        let here = local_outside.then(|| pool(&endpoints, Reach::Node));
        let external = service.external_addresses().into_iter().filter(of_family);
        let external = external.map(|one| (at(one), port.port, Scope::External, Vec::new()));
        let mut meant_for_outside: Vec<_> = external.collect();
        let balanced = service.spec.kind == "LoadBalancer";
        if balanced {
            let addresses = service.load_balancer_addresses().into_iter().filter(of_family);
            let sources = sources(service);
            meant_for_outside.extend(addresses.map(|one| (at(one), port.port, Scope::LoadBalancer, sources.clone())));
        }
        if (balanced || service.spec.kind == "NodePort") && port.node_port != 0 {
            meant_for_outside.push((Destination::Node(family), port.node_port, Scope::NodePort, Vec::new()));
        }
        for (destination, number, scope, sources) in meant_for_outside {
            entries.push(frontend(destination, number, scope, &sources, &anywhere, here.as_ref()));
        }
    }
    entries
}

/// Who takes the connections that go so far.
fn pool(endpoints: &Endpoints, reach: Reach) -> Pool {
    let backends = endpoints.chosen(reach).map(|endpoint| Backend {
        address: endpoint.address,
        port: endpoint.port,
        weight: 1,
        local: endpoint.local,
        terminating: endpoint.terminating,
    });
    Pool {
        backends: backends.collect(),
        otherwise: if endpoints.is_empty() {
            Fallback::Reject
        } else {
            Fallback::Drop
        },
    }
}

/// Who may come through the load balancer; everybody where nothing is said. Ranges that cannot be read let nobody in.
fn sources(service: &Object) -> Vec<Range> {
    let texts = &service.spec.load_balancer_source_ranges;
    let read: Vec<Range> = texts.iter().filter_map(|text| range(text.trim())).collect();
    if read.is_empty() && !texts.is_empty() {
        return range("255.255.255.255/32").into_iter().collect();
    }
    read
}

sampan_sdk::export_network!(Service);
