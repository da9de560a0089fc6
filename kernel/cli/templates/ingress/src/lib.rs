//! The policy `policy-name`.
use sampan_sdk::{
    Value,
    ingress::{
        Backend, Change, Description, Entry, HostName, Ingress, Name, Path, Pool, Protocol, Route, Table, View, VirtualHost,
        description,
    },
    network::{Endpoints, Family, Reach, ServicePort},
};
use std::collections::BTreeSet;

/// Every Service with a port called `http` answers at `SERVICE.NAMESPACE.DOMAIN`, without an Ingress. The config says the
/// domain: `{"domain": "apps.example.com"}`.
pub struct PolicyName {
    domain: String,
}

impl Default for PolicyName {
    fn default() -> Self {
        PolicyName {
            domain: "apps.example.com".to_owned(),
        }
    }
}

impl Ingress for PolicyName {
    /// What it decides about as one: a Service.
    type Key = Name;

    fn describe() -> Description {
        let summary = "Services answer at names of their own.";
        description("policy-name", env!("CARGO_PKG_VERSION"), summary)
    }

    fn configure(&mut self, config: &Value) -> Result<(), String> {
        match &config["domain"] {
            Value::Null => {}
            Value::String(domain) => self.domain = domain.to_ascii_lowercase(),
            other => return Err(format!("domain: {other} is no text")),
        }
        Ok(())
    }

    fn watches() -> &'static [&'static str] {
        &["services", "endpointslices.discovery.k8s.io", "nodes"]
    }

    /// Each table has one plugin.
    fn tables() -> &'static [Table] {
        &[Table::Pools, Table::Hosts]
    }

    /// Every key for which the change may have changed what is desired.
    fn touched(&self, change: &Change<'_>, view: &View, keys: &mut BTreeSet<Name>) {
        match change {
            Change::Service(service) => drop(keys.insert(service.name.clone())),
            Change::EndpointSlice(slice) => {
                let services = slice.both().filter_map(|slice| slice.service());
                keys.extend(services.map(|service| Name::new(&slice.name.namespace, service)));
            }
            // Which addresses are those of pods depends on the nodes.
            Change::Node(_) => keys.extend(view.services.keys().cloned()),
            _ => {}
        }
    }

    /// What there is to be for a key, as far as the view goes; what has changed is found out by the SDK.
    fn desired(&self, key: &Name, view: &View) -> Vec<Entry> {
        let ports = view.services.get(key).map(|service| &service.spec.ports);
        let Some(port) = ports.into_iter().flatten().find(|port| port.name == "http") else {
            return Vec::new();
        };
        let pool = Pool {
            name: format!("{key}:http"),
            protocol: Protocol::Http1,
            backends: backends(key, port, view),
        };
        let host = VirtualHost {
            host: HostName::Exact(format!("{}.{}.{}", key.name, key.namespace, self.domain)),
            routes: vec![Route {
                path: Path::Prefix("/".to_owned()),
                pool: pool.name.clone(),
                rewrite: None,
                filter: None,
            }],
            otherwise: None,
        };
        vec![Entry::Pool(pool), Entry::Host(host)]
    }
}

/// The pods that take connections. The node refuses a plan with any other address, so none is named.
fn backends(service: &Name, port: &ServicePort, view: &View) -> Vec<Backend> {
    let endpoints = Endpoints::of(view, service, port, Family::V4);
    let chosen = endpoints.chosen(Reach::Cluster);
    let within = chosen.filter(|one| view.is_within_nodes(one.address));
    let backend = |address, port| Backend {
        address,
        port,
        weight: 1,
    };
    within.map(|one| backend(one.address, one.port)).collect()
}

sampan_sdk::export_ingress!(PolicyName);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::{
        serde_json::json,
        testing::{Routing, network_node as node},
    };

    #[test]
    fn a_service_has_a_host_and_its_pods_answer() {
        let mut routing = Routing::<PolicyName>::new("a", &json!({"domain": "example.org"}));
        let service = json!({"kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"ports": [{"name": "http", "port": 80}]}});
        routing.apply(&[node("a", "10.244.1.0/24", "192.0.2.1"), service]);
        let slice = |addresses: &[&str]| {
            let endpoint = json!({ "addresses": addresses, "conditions": {"ready": true} });
            json!({"kind": "EndpointSlice", "endpoints": [endpoint], "ports": [{"name": "http", "port": 8080}],
                "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}})
        };
        // Another pod is one operation, however many hosts there are.
        assert_eq!(routing.apply(&[slice(&["10.244.1.7"])]).len(), 1);
        let entries = routing.entries();
        let answers = |entry: &Entry| matches!(entry, Entry::Pool(pool) if pool.backends.len() == 1);
        let named = |entry: &Entry| {
            matches!(entry, Entry::Host(host) if host.host == HostName::Exact("web.shop.example.org".to_owned()))
        };
        assert!(entries.iter().any(answers) && entries.iter().any(named), "{entries:?}");
        // Finds what `touched` forgot.
        routing.agrees_with_a_fresh_one();
        routing.delete("Service", "shop", "web");
        assert!(routing.entries().is_empty());
    }

    #[test]
    fn a_config_that_makes_no_sense_is_refused() {
        let refused = PolicyName::default().configure(&json!({"domain": 7}));
        assert_eq!(refused, Err("domain: 7 is no text".to_owned()));
    }
}
