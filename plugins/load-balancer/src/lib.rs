//! The controller `load-balancer`: the addresses of Services of the type LoadBalancer. Every node serves them.
//!
//! Without a configuration they are the nodes' own, as with k3s: of all nodes that are ready, or, where traffic stays on the
//! node it came to (`externalTrafficPolicy: Local`), of those that have an endpoint. With `{"pool": ["192.0.2.0/28"]}` each
//! Service gets one of the pool, which the network must route to the nodes. Nodes' addresses are given in each family of the
//! Service, those of a pool in IPv4 alone.
//!
//! Ingresses have the nodes' addresses, too.
mod ingresses;
mod pool;

use pool::Pool;
use sampan_sdk::{
    Value,
    controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

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
        if !ranges.is_null() && !ranges.is_array() {
            return Err(format!(
                "pool is {ranges}: expected a list of ranges, as in [\"192.0.2.0/28\"]"
            ));
        }
        let texts = ranges
            .as_array()
            .into_iter()
            .flatten()
            .map(|range| range.as_str().unwrap_or_default());
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
        } else if let Some(service) = snapshot.get(key)
            && !service.is_deleting()
        {
            self.service(&mut plan, &service, snapshot);
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
            }
            return;
        }
        if !class.is_empty() && class != CLASS {
            return;
        }
        let wanted = match self.pool.is_empty() {
            true => of_nodes(service, snapshot),
            false => self.of_pool(service, &known, snapshot),
        };
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

    /// The address that it has, that it asks for, or the first that is free.
    fn of_pool(
        &self,
        service: &Object,
        known: &BTreeSet<IpAddr>,
        snapshot: &dyn Snapshot,
    ) -> Result<BTreeSet<IpAddr>, String> {
        let others = others(service, snapshot);
        let taken: BTreeSet<Ipv4Addr> = others.iter().flat_map(addresses).filter_map(of_v4).collect();
        let asked = service.spec()["loadBalancerIP"]
            .as_str()
            .filter(|text| !text.is_empty());
        if let Some(asked) = asked {
            let address: Ipv4Addr = asked
                .parse()
                .map_err(|_| format!("loadBalancerIP {asked} is no IPv4 address"))?;
            return match (self.pool.contains(address), taken.contains(&address)) {
                (false, _) => Err(format!("loadBalancerIP {asked} is not in the pool of load balancers")),
                (true, true) => Err(format!("loadBalancerIP {asked} is another Service's")),
                (true, false) => Ok(BTreeSet::from([address.into()])),
            };
        }
        let mut has = known.iter().copied().filter_map(of_v4);
        let has = has.find(|address| self.pool.contains(*address) && !taken.contains(address));
        let address = has.or_else(|| self.pool.free(&taken));
        let address =
            address.ok_or("no address is free in the pool of load balancers: delete Services, or enlarge it")?;
        Ok(BTreeSet::from([address.into()]))
    }
}

fn of_v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
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

/// The addresses of the nodes that serve it. A port of theirs is that of one Service: who came first has it.
fn of_nodes(service: &Object, snapshot: &dyn Snapshot) -> Result<BTreeSet<IpAddr>, String> {
    let wanted = ports(service);
    for other in others(service, snapshot) {
        if let Some(port) = ports(&other).intersection(&wanted).next()
            && !addresses(&other).is_empty()
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
    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::LoadBalancer>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }
}
