//! The controller `endpoints`: the EndpointSlices of Services with selectors, up to a hundred endpoints in each.
//!
//! A pod that changes calls for the Services that take it, or took it: however many pods of a Service change at once, it is
//! looked at once.
mod endpoint;
mod slices;

use endpoint::Endpoint;
use sampan_sdk::controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description};
use std::collections::BTreeMap;

/// The resource of what it makes.
const SLICES: &str = "endpointslices.discovery.k8s.io";

/// Names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Says who a slice belongs to; others are left alone.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OWN_NAME: &str = "endpoints.sampan.dev";

/// All that is read of a pod.
const POD: &[&str] = &[
    "metadata",
    "spec.nodeName",
    "spec.hostname",
    "spec.subdomain",
    "spec.containers",
    "spec.initContainers",
    "status",
];

#[derive(Default)]
pub struct Endpoints;

impl Controller for Endpoints {
    fn describe() -> Description {
        let summary = "Keeps the EndpointSlices of Services.";
        description("endpoints", env!("CARGO_PKG_VERSION"), summary)
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("services"), Watch::Owner(SLICES), Watch::Selected("pods")]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, _now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        if let Some(service) = snapshot.get(key)
            && is_ours(&service)
        {
            reconcile(&mut plan, &service, snapshot);
        }
        Ok(plan)
    }
}

/// Whether the endpoints of a Service follow from its selector. Those of others are their owners' own.
fn is_ours(service: &Object) -> bool {
    let selector = service.spec()["selector"].as_object();
    let selects = selector.is_some_and(|labels| !labels.is_empty());
    selects && service.spec()["type"] != "ExternalName" && !service.is_deleting()
}

/// The endpoints of one address family that have their ports in the same places: they may share slices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    family: &'static str,
    /// The slices' ports, as JSON.
    ports: String,
}

fn reconcile(plan: &mut Plan, service: &Object, snapshot: &dyn Snapshot) {
    let taken = Query::within("pods", &service.key.namespace).labelled(&service.spec()["selector"]);
    let mut zones = BTreeMap::new();
    let mut wanted: BTreeMap<Alike, Vec<Endpoint>> = BTreeMap::new();
    for pod in snapshot.list(&taken.only(POD)) {
        if !endpoint::belongs(&pod) {
            continue;
        }
        let ports = endpoint::ports(service, &pod).to_string();
        let node = pod.spec()["nodeName"].as_str().unwrap_or_default();
        let zone = zones.entry(node.to_owned()).or_insert_with(|| zone_of(node, snapshot));
        for (family, address) in endpoint::addresses(service, &pod) {
            let endpoint = Endpoint::new(service, &pod, address, zone.as_deref());
            let ports = ports.clone();
            wanted.entry(Alike { family, ports }).or_default().push(endpoint);
        }
    }
    let mut existing = snapshot.list(&Query::owned(SLICES, service));
    existing.retain(|slice| slice.labels().get(MANAGED_BY).is_some_and(|by| by == OWN_NAME) && !slice.is_deleting());
    slices::arrange(plan, service, wanted, existing);
}

fn zone_of(node: &str, snapshot: &dyn Snapshot) -> Option<String> {
    let node = snapshot.get(&Key::new("nodes", "", node))?;
    Some(node.labels().get("topology.kubernetes.io/zone")?.as_str()?.to_owned())
}

sampan_sdk::export_controller!(Endpoints);

#[cfg(test)]
mod tests {
    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::Endpoints>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }
}
