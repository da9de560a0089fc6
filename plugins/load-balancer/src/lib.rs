//! The controller `load-balancer`: the addresses of Services of the type LoadBalancer. Every node serves them.
//!
//! Without a configuration they are the nodes' own, as with k3s: of all nodes that are ready, or, where traffic stays on the
//! node it came to (`externalTrafficPolicy: Local`), of those that have an endpoint. With
//! `{"pool": ["192.0.2.0/28", "2001:db8:0:7::/64"]}` each Service gets one of the pool, which the network must route to the
//! nodes: nobody answers for it on the link, by ARP or by neighbour discovery. Addresses are given in each family of the
//! Service, and of the pool in those that it has.
//!
//! Ingresses have the nodes' addresses, too.
mod given;
mod ingresses;
mod pool;

use pool::Pool;
use sampan_sdk::{
    Value,
    controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
};
use std::{collections::BTreeSet, net::IpAddr};

/// The resource of endpoints.
const SLICES: &str = "endpointslices.discovery.k8s.io";

/// Names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The class of Services that name this one; those that name another are another's.
const CLASS: &str = "sampan.dev/nodes";

/// Nodes with this label take no traffic from outside.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

#[derive(Default)]
pub struct LoadBalancer {
    pool: Pool,
}

impl Controller for LoadBalancer {
    fn describe() -> Description {
        let summary = "Gives Services of the type LoadBalancer, and Ingresses, their addresses.";
        description("load-balancer", env!("CARGO_PKG_VERSION"), summary)
    }

    fn configure(&mut self, config: &Value) -> Result<(), String> {
        let ranges = &config["pool"];
        let texts: Option<Vec<&str>> = match ranges {
            Value::Null => Some(Vec::new()),
            ranges => ranges
                .as_array()
                .and_then(|all| all.iter().map(Value::as_str).collect()),
        };
        let texts = texts.ok_or_else(|| {
            format!("pool is {ranges}: expected a list of ranges, as in [\"192.0.2.0/28\", \"2001:db8:0:7::/64\"]")
        })?;
        self.pool = Pool::parse(texts)?;
        Ok(())
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::Itself("services"),
            Watch::Itself("nodes"),
            Watch::Owner(SLICES),
            Watch::Itself(ingresses::RESOURCE),
            Watch::Itself(ingresses::CLASSES),
        ]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, _now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        if key.resource == "nodes" {
            let services = Query::all("services").only(&["spec.type"]);
            for service in snapshot.list(&services) {
                if service.spec()["type"] == "LoadBalancer" {
                    plan.wake_up(&service.key, 0);
                }
            }
            ingresses::wake(&mut plan, snapshot);
        } else if key.resource == ingresses::CLASSES {
            ingresses::wake(&mut plan, snapshot);
        } else if key.resource == ingresses::RESOURCE {
            if let Some(ingress) = snapshot.get(key)
                && !ingress.is_deleting()
            {
                ingresses::ingress(&mut plan, &ingress, snapshot);
            }
        } else if let Some(service) = snapshot.get(key) {
            if !service.is_deleting() {
                self.service(&mut plan, &service, snapshot);
            }
        } else {
            self.wake_waiting(&mut plan, key, snapshot);
        }
        Ok(plan)
    }
}

impl LoadBalancer {
    fn service(&self, plan: &mut Plan, service: &Object, snapshot: &dyn Snapshot) {
        let class = service.spec()["loadBalancerClass"].as_str().unwrap_or_default();
        let known = addresses(service);
        if service.spec()["type"] != "LoadBalancer" {
            // It was one before.
            if !known.is_empty() {
                plan.patch_status(service, json!({"loadBalancer": null}));
                self.wake_waiting(plan, &service.key, snapshot);
            }
            return;
        }
        if !class.is_empty() && class != CLASS {
            return;
        }
        if let Err(why) = self.is_apart(snapshot) {
            // What was given stays meanwhile.
            return plan.warning(service, "AllocationFailed", why);
        }
        let wanted = match self.pool.is_empty() {
            true => of_nodes(service, &known, snapshot),
            false => self.of_pool(plan, service, &known, snapshot),
        };
        let gives_back = match &wanted {
            // One of its ports may be free now: those that it had are known to nobody.
            Ok(wanted) if *wanted == known => self.pool.is_empty() && !known.is_empty(),
            Ok(wanted) => !known.is_subset(wanted),
            Err(_) => !known.is_empty(),
        };
        if gives_back {
            self.wake_waiting(plan, &service.key, snapshot);
        }
        match wanted {
            Ok(wanted) if wanted == known => {}
            Ok(wanted) => {
                let one = |address: &IpAddr| json!({"ip": address.to_string(), "ipMode": "VIP"});
                let ingress: Vec<Value> = wanted.iter().map(one).collect();
                plan.patch_status(service, json!({"loadBalancer": {"ingress": ingress}}));
                let said: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                let message = match said.is_empty() {
                    true => "No node serves it now".to_owned(),
                    false => format!("Is served on {}", said.join(", ")),
                };
                plan.normal(service, "UpdatedLoadBalancer", message);
            }
            Err(why) => {
                plan.warning(service, "AllocationFailed", why);
                if !known.is_empty() {
                    plan.patch_status(service, json!({"loadBalancer": null}));
                }
            }
        }
    }
}

impl LoadBalancer {
    /// What one gives back another may have: those that lack something are looked at again.
    fn wake_waiting(&self, plan: &mut Plan, key: &Key, snapshot: &dyn Snapshot) {
        let all = Query::all("services").only(&["metadata", "spec.type", "spec.ipFamilies", "status"]);
        for other in snapshot.list(&all) {
            if other.key != *key && other.spec()["type"] == "LoadBalancer" && self.waits(&other) {
                plan.wake_up(&other.key, 0);
            }
        }
    }

    /// Whether it has no address, or of a pool not one of each family that there is.
    fn waits(&self, service: &Object) -> bool {
        let known = addresses(service);
        let lacks = |is_v6: &bool| self.pool.has(*is_v6) && !known.iter().any(|address| address.is_ipv6() == *is_v6);
        known.is_empty() || families(service).iter().any(lacks)
    }
}

/// The families of a Service, as whether they are IPv6.
fn families(service: &Object) -> Vec<bool> {
    let said = service.spec()["ipFamilies"].as_array();
    let said: Vec<bool> = said.into_iter().flatten().map(|family| family == "IPv6").collect();
    if said.is_empty() { vec![false] } else { said }
}

/// The addresses that a Service has.
fn addresses(service: &Object) -> BTreeSet<IpAddr> {
    let ingress = service.status()["loadBalancer"]["ingress"].as_array();
    let addresses = ingress
        .into_iter()
        .flatten()
        .filter_map(|one| one["ip"].as_str()?.parse().ok());
    addresses.collect()
}

/// The other Services of the type.
fn others(service: &Object, snapshot: &dyn Snapshot) -> Vec<Object> {
    let all = Query::all("services").only(&["metadata", "spec.type", "spec.ports", "status"]);
    let mut all = snapshot.list(&all);
    all.retain(|other| other.key != service.key && other.spec()["type"] == "LoadBalancer");
    all
}

/// Who was made first is less.
fn age(service: &Object) -> (String, String, String) {
    let made = service.json["metadata"]["creationTimestamp"].as_str();
    let made = made.unwrap_or_default().to_owned();
    (made, service.key.namespace.clone(), service.key.name.clone())
}

/// The addresses of the nodes that serve it. A port of theirs is that of one Service: who came first has it.
fn of_nodes(service: &Object, known: &BTreeSet<IpAddr>, snapshot: &dyn Snapshot) -> Result<BTreeSet<IpAddr>, String> {
    let wanted = ports(service);
    for other in others(service, snapshot) {
        if let Some(port) = ports(&other).intersection(&wanted).next()
            && !addresses(&other).is_empty()
            && (known.is_empty() || age(&other) < age(service))
        {
            let (namespace, name) = (&other.key.namespace, other.name());
            let (number, protocol) = port;
            return Err(format!(
                "port {number}/{protocol} of the nodes is that of the Service {namespace}/{name}: use another port, or a pool \
                 of addresses (the configuration of the plugin load-balancer)"
            ));
        }
    }
    let local = service.spec()["externalTrafficPolicy"] == "Local";
    let with_endpoints = if local {
        endpoints_nodes(service, snapshot)
    } else {
        BTreeSet::new()
    };
    let nodes = Query::all("nodes").only(&["metadata", "status"]);
    let serves = |node: &Object| takes_traffic(node) && (!local || with_endpoints.contains(node.name()));
    let nodes = snapshot.list(&nodes).into_iter().filter(serves);
    let families = families(service);
    let of_families = |node: Object| {
        let each = families.iter().filter_map(|is_v6| address_of(&node, *is_v6));
        each.collect::<Vec<IpAddr>>()
    };
    Ok(nodes.flat_map(of_families).collect())
}

/// Whether a node serves what comes from outside.
fn takes_traffic(node: &Object) -> bool {
    node.has_condition("Ready", "True") && !node.labels().contains_key(EXCLUDED)
}

fn ports(service: &Object) -> BTreeSet<(u64, String)> {
    let ports = service.spec()["ports"].as_array();
    let one = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
        Some((port["port"].as_u64()?, protocol))
    };
    ports.into_iter().flatten().filter_map(one).collect()
}

/// The nodes that ready endpoints are on.
fn endpoints_nodes(service: &Object, snapshot: &dyn Snapshot) -> BTreeSet<String> {
    let labels = json!({SERVICE_NAME: service.name()});
    let slices = Query::within(SLICES, &service.key.namespace)
        .labelled(&labels)
        .only(&["endpoints"]);
    let mut nodes = BTreeSet::new();
    for slice in snapshot.list(&slices) {
        for endpoint in slice.json["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] != false
                && let Some(node) = endpoint["nodeName"].as_str()
            {
                nodes.insert(node.to_owned());
            }
        }
    }
    nodes
}

/// What a node is reached by from outside in a family: its external address, if it has one, else its own. On the loopback of its
/// machine it is reached by nobody else.
fn address_of(node: &Object, is_v6: bool) -> Option<IpAddr> {
    let all = node.status()["addresses"].as_array()?;
    let of = |kind: &str| {
        let mut of_kind = all.iter().filter(|address| address["type"] == kind);
        of_kind.find_map(|address| {
            let address: IpAddr = address["address"].as_str()?.parse().ok()?;
            (address.is_ipv6() == is_v6 && !address.is_loopback()).then_some(address)
        })
    };
    of("ExternalIP").or_else(|| of("InternalIP"))
}

sampan_sdk::export_controller!(LoadBalancer);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::controller::Memory;

    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::LoadBalancer>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }

    /// What is decided for several at once, each as if the others had nothing, comes to rest.
    #[test]
    fn no_two_have_one_address_for_long() {
        let service = |name: &str, made: u8| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default", "uid": name,
                "creationTimestamp": format!("2026-03-01T11:00:0{made}Z")}, "spec": {"type": "LoadBalancer",
                "ipFamilies": ["IPv4", "IPv6"], "ports": [{"port": 80}]}})
        };
        let all = json!([service("a", 2), service("b", 1), service("c", 2), {"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
            "conditions": [{"type": "Ready", "status": "True"}]}}]);
        for (config, expected) in [
            (
                json!({"pool": ["198.51.100.0/30", "2001:db8:0:7::/64"]}),
                [
                    "198.51.100.1 2001:db8:0:7::2",
                    "198.51.100.0 2001:db8:0:7::1",
                    "198.51.100.2 2001:db8:0:7::3",
                ],
            ),
            // One port of the nodes is one Service's.
            (json!({}), ["", "192.0.2.1", ""]),
        ] {
            let mut plugin = LoadBalancer::default();
            plugin.configure(&config).unwrap();
            let mut state = Memory::from_json(&all);
            let keys = ["a", "b", "c"].map(|name| Key::new("services", "default", name));
            let has = |state: &Memory| {
                keys.each_ref().map(|key| {
                    let all = addresses(&state.get(key).unwrap()).into_iter();
                    all.map(|one| one.to_string()).collect::<Vec<_>>().join(" ")
                })
            };
            for _ in &keys {
                let plans = keys.each_ref().map(|key| plugin.reconcile(key, &state, 0).unwrap());
                plans.iter().for_each(|plan| state.carry_out(plan));
            }
            assert_eq!(has(&state), expected, "{config}");
        }
    }

    #[test]
    fn what_is_no_pool_is_told_why() {
        for (config, said) in [
            (
                json!({"pool": "192.0.2.0/28"}),
                "pool is \"192.0.2.0/28\": expected a list",
            ),
            (json!({"pool": [7]}), "pool is [7]: expected a list"),
            (
                json!({"pool": ["192.0.2.0/28", "fd00::/48"]}),
                "pool[1]: \"fd00::/48\" is too large",
            ),
        ] {
            let error = LoadBalancer::default().configure(&config).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        for config in [json!({}), json!({"pool": null}), json!({"pool": []})] {
            let mut plugin = LoadBalancer::default();
            plugin.configure(&config).unwrap();
            assert!(plugin.pool.is_empty(), "{config}");
        }
    }
}
