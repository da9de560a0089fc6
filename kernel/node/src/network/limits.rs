//! What the node itself knows of the cluster's addresses: the bounds that plans of plugins are held against.
use super::{ground::ranges_of, objects::News};
use sampan_api::{Key, Object, dual::Dual, ranges};
use sampan_sandbox::{
    ingress::{self, Secret},
    network::{Address, Bounds, Family, NodeBounds, PodKey, Range},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The bounds, kept up with the objects.
#[derive(Clone)]
pub struct Limits {
    bounds: Bounds,
    /// The external addresses that each Service names: several may name one.
    external: BTreeMap<Key, Vec<Address>>,
    /// The addresses that each load balancer has.
    balancers: BTreeMap<Key, Vec<Address>>,
    ingress: ingress::Bounds,
    /// The Secrets that each Ingress names.
    secrets: BTreeMap<Key, Vec<Secret>>,
}

impl Limits {
    /// Of a node of that name, with the ranges of Services; nobody else is known yet.
    pub fn new(node: &str, services: Dual) -> Self {
        let bounds = Bounds {
            node: node.to_owned(),
            service_ranges: ranges_of(services),
            node_ports: ranges::NODE_PORTS,
            ..Bounds::default()
        };
        Limits {
            external: BTreeMap::new(),
            balancers: BTreeMap::new(),
            ingress: ingress::Bounds {
                service_ranges: bounds.service_ranges.clone(),
                ..ingress::Bounds::default()
            },
            secrets: BTreeMap::new(),
            bounds,
        }
    }

    /// What the routing table of the ingress is held against.
    pub fn ingress(&self) -> &ingress::Bounds {
        &self.ingress
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Takes in what happened to an object of any resource.
    pub fn take(&mut self, news: &News) {
        let object = news.object.as_deref();
        match &*news.key.resource {
            "nodes" => self.node(&news.key, object),
            "services" => self.service(&news.key, object),
            "pods" => self.pod(&news.key, object),
            "ingresses.networking.k8s.io" => {
                let secrets = object.map(|object| secrets_of(&news.key, object)).unwrap_or_default();
                if replaced(&mut self.secrets, &news.key, secrets) {
                    self.ingress.secrets = self.secrets.values().flatten().cloned().collect();
                }
            }
            _ => {}
        }
    }

    fn node(&mut self, key: &Key, node: Option<&Object>) {
        let name = key.name.to_string();
        for known in [&mut self.bounds.nodes, &mut self.ingress.nodes] {
            match node {
                Some(node) => drop(known.insert(name.clone(), node_bounds(node))),
                None => drop(known.remove(&name)),
            }
        }
    }

    fn service(&mut self, key: &Key, service: Option<&Object>) {
        // Few Services have any.
        let addresses = service.map(external_addresses).unwrap_or_default();
        if replaced(&mut self.external, key, addresses) {
            self.bounds.external_addresses = self.external.values().flatten().copied().collect();
        }
        let addresses = service.map(balancer_addresses).unwrap_or_default();
        if replaced(&mut self.balancers, key, addresses) {
            let all: BTreeSet<Address> = self.balancers.values().flatten().copied().collect();
            self.bounds.load_balancer_ranges = all.into_iter().map(alone).collect();
        }
    }

    fn pod(&mut self, key: &Key, pod: Option<&Object>) {
        let pod_key = PodKey {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        };
        let is_ours = pod.is_some_and(|pod| {
            let spec = pod.field_value("spec");
            spec["nodeName"] == *self.bounds.node && spec["hostNetwork"] != true
        });
        match is_ours {
            true => self.bounds.pods.insert(pod_key),
            false => self.bounds.pods.remove(&pod_key),
        };
    }
}

fn node_bounds(node: &Object) -> NodeBounds {
    let spec = node.field_value("spec");
    let of_list = spec["podCIDRs"].as_array().into_iter().flatten();
    let mut pod_ranges: Vec<Range> = of_list.filter_map(|range| Range::parse(range.as_str()?)).collect();
    let first = spec["podCIDR"].as_str().and_then(Range::parse);
    if let Some(first) = first.filter(|first| !pod_ranges.contains(first)) {
        pod_ranges.push(first);
    }
    let status = node.field_value("status");
    let addresses = status["addresses"].as_array().into_iter().flatten();
    let addresses = addresses.filter_map(|address| address["address"].as_str()?.parse::<IpAddr>().ok());
    NodeBounds {
        pod_ranges,
        addresses: addresses.map(Address::from).collect(),
    }
}

/// What is known of a key becomes this; whether it is other than before.
fn replaced<T: PartialEq>(known: &mut BTreeMap<Key, Vec<T>>, key: &Key, values: Vec<T>) -> bool {
    let before = match values.is_empty() {
        true => known.remove(key),
        false => known.insert(key.clone(), values),
    };
    before.as_ref() != known.get(key)
}

/// The Secrets that an Ingress names for TLS.
fn secrets_of(key: &Key, ingress: &Object) -> Vec<Secret> {
    let spec = ingress.field_value("spec");
    let names = spec["tls"].as_array().into_iter().flatten();
    let secret = |tls: &serde_json::Value| {
        Some(Secret {
            namespace: key.namespace.to_string(),
            name: tls["secretName"].as_str()?.to_owned(),
        })
    };
    names.filter_map(secret).collect()
}

/// The range of one address.
fn alone(address: Address) -> Range {
    Range {
        prefix: match address.family() {
            Family::V4 => 32,
            Family::V6 => 128,
        },
        address,
    }
}

/// The addresses that a controller has given to a load balancer.
fn balancer_addresses(service: &Object) -> Vec<Address> {
    if service.field_value("spec")["type"] != "LoadBalancer" {
        return Vec::new();
    }
    let status = service.field_value("status");
    let ingress = status["loadBalancer"]["ingress"].as_array().into_iter().flatten();
    let addresses = ingress.filter_map(|one| one["ip"].as_str()?.parse::<IpAddr>().ok());
    addresses.map(Address::from).collect()
}

fn external_addresses(service: &Object) -> Vec<Address> {
    let spec = service.field_value("spec");
    let addresses = spec["externalIPs"].as_array().into_iter().flatten();
    let addresses = addresses.filter_map(|address| address.as_str()?.parse::<IpAddr>().ok());
    addresses.map(Address::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn news(resource: &str, name: &str, fields: Option<Value>) -> News {
        let object = |fields: Value| {
            let mut object = Object::default();
            for (field, value) in fields.as_object().unwrap() {
                object.set_field(field, value);
            }
            Box::new(object)
        };
        News {
            key: Key::new(resource, "", name),
            object: fields.map(object),
        }
    }

    #[test]
    fn bounds_follow_the_objects() {
        let mut limits = Limits::new("here", Dual::of_v4(ranges::SERVICES));
        let status = json!({"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}, {"type": "Hostname", "address": "x"}]});
        let spec = json!({"podCIDR": "10.42.1.0/24", "podCIDRs": ["10.42.1.0/24", "fd00:1::/64", "rubbish"]});
        limits.take(&news("nodes", "there", Some(json!({"spec": spec, "status": status}))));
        let there = &limits.bounds().nodes["there"];
        assert_eq!(there.pod_ranges.len(), 2);
        assert_eq!(there.addresses, [Address::from("192.0.2.2".parse::<IpAddr>().unwrap())]);
        limits.take(&news("nodes", "there", None));
        assert!(limits.bounds().nodes.is_empty());

        let external = |address: &str| Some(json!({"spec": {"externalIPs": [address]}}));
        limits.take(&news("services", "a", external("198.51.100.1")));
        limits.take(&news("services", "b", external("198.51.100.1")));
        limits.take(&news("services", "a", None));
        assert_eq!(limits.bounds().external_addresses.len(), 1);
        limits.take(&news("services", "b", Some(json!({"spec": {}}))));
        assert!(limits.bounds().external_addresses.is_empty());

        let status = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}, {"ip": "2001:db8:7::1"}]}});
        let balancer = |kind: &str| Some(json!({"spec": {"type": kind}, "status": status}));
        limits.take(&news("services", "lb", balancer("LoadBalancer")));
        assert_eq!(
            limits.bounds().load_balancer_ranges,
            ["203.0.113.7/32", "2001:db8:7::1/128"].map(|range| Range::parse(range).unwrap())
        );
        limits.take(&news("services", "lb", balancer("ClusterIP")));
        assert!(limits.bounds().load_balancer_ranges.is_empty());

        let pod = |node: &str, host: bool| Some(json!({"spec": {"nodeName": node, "hostNetwork": host}}));
        limits.take(&news("pods", "a", pod("here", false)));
        limits.take(&news("pods", "b", pod("there", false)));
        limits.take(&news("pods", "c", pod("here", true)));
        assert_eq!(
            limits.bounds().pods.iter().map(|pod| &*pod.name).collect::<Vec<_>>(),
            ["a"]
        );
        limits.take(&news("pods", "a", None));
        assert!(limits.bounds().pods.is_empty());
    }
}
