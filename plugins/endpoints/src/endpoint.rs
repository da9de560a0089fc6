//! What a pod is as an endpoint of a Service.
use sampan_sdk::{
    controller::Object,
    serde_json::{Map, Value, json},
};
use std::net::IpAddr;

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The pod's.
    pub uid: String,
    pub json: Value,
}

/// Whether a pod is an endpoint at all: it has an address, and has not ended.
pub fn belongs(pod: &Object) -> bool {
    !pod_addresses(pod).is_empty() && !matches!(pod.phase(), "Succeeded" | "Failed")
}

impl Endpoint {
    pub fn new(service: &Object, pod: &Object, address: IpAddr, zone: Option<&str>) -> Self {
        let serving = pod.has_condition("Ready", "True");
        let terminating = pod.is_deleting();
        // What is on its way out is never ready, unless the Service wants all to count as ready.
        let ready = service.spec()["publishNotReadyAddresses"] == true || (serving && !terminating);
        let mut json = json!({
            "addresses": [address.to_string()],
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "targetRef": {"kind": "Pod", "namespace": pod.key.namespace, "name": pod.name(), "uid": pod.uid()},
        });
        if let Some(node) = pod.spec()["nodeName"].as_str() {
            json["nodeName"] = json!(node);
        }
        if let Some(zone) = zone {
            json["zone"] = json!(zone);
        }
        // A name of its own below the Service's, as the pods of a StatefulSet have.
        let hostname = pod.spec()["hostname"].as_str().unwrap_or_default();
        if !hostname.is_empty() && pod.spec()["subdomain"] == service.name() {
            json["hostname"] = json!(hostname);
        }
        Endpoint {
            uid: pod.uid().to_owned(),
            json,
        }
    }
}

fn pod_addresses(pod: &Object) -> Vec<IpAddr> {
    let status = pod.status();
    let more = status["podIPs"].as_array().into_iter().flatten().map(|one| &one["ip"]);
    let mut found: Vec<IpAddr> = Vec::new();
    for text in std::iter::once(&status["podIP"]).chain(more) {
        if let Some(Ok(address)) = text.as_str().map(str::parse)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// A pod's address in each family of the Service. One that names none, and has no address to tell by, takes each pod's
/// first.
pub fn addresses(service: &Object, pod: &Object) -> Vec<(&'static str, IpAddr)> {
    let spec = service.spec();
    let texts = |field: &str| {
        let all = spec[field].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut families = texts("ipFamilies");
    if families.is_empty() {
        let own = spec["clusterIP"]
            .as_str()
            .map(str::to_owned)
            .into_iter()
            .chain(texts("clusterIPs"));
        families.extend(
            own.filter_map(|text| text.parse().ok())
                .map(|address| family(address).to_owned()),
        );
    }
    let mut found: Vec<(&'static str, IpAddr)> = Vec::new();
    for address in pod_addresses(pod) {
        let family = family(address);
        let wanted = families.iter().any(|wanted| wanted == family) || (families.is_empty() && found.is_empty());
        if wanted && found.iter().all(|(known, _)| *known != family) {
            found.push((family, address));
        }
    }
    found
}

/// Where a pod has the Service's ports. One that it does not have by name is left out.
pub fn ports(service: &Object, pod: &Object) -> Value {
    let ports = service.spec()["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| port_of(port, pod)).collect()
}

fn port_of(port: &Value, pod: &Object) -> Option<Value> {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    let number = match &port["targetPort"] {
        Value::Null => port["port"].as_u64()?,
        Value::String(name) if !name.is_empty() => named(pod, name, protocol)?,
        target => target
            .as_u64()
            .filter(|number| *number > 0)
            .or_else(|| port["port"].as_u64())?,
    };
    let mut found = Map::new();
    found.insert("name".to_owned(), json!(port["name"].as_str().unwrap_or_default()));
    found.insert("port".to_owned(), json!(number));
    found.insert("protocol".to_owned(), json!(protocol));
    if let Some(application) = port["appProtocol"].as_str() {
        found.insert("appProtocol".to_owned(), json!(application));
    }
    Some(found.into())
}

/// The number of a pod's port of a name and protocol, also of its sidecars.
fn named(pod: &Object, name: &str, protocol: &str) -> Option<u64> {
    let all = |field: &str| pod.spec()[field].as_array().into_iter().flatten();
    let sidecars = all("initContainers").filter(|container| container["restartPolicy"] == "Always");
    let containers = all("containers").chain(sidecars);
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let found = ports.find(|port| port["name"] == name && port["protocol"].as_str().unwrap_or("TCP") == protocol);
    found?["containerPort"].as_u64()
}
