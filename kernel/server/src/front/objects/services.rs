//! What a Service is given before it is written: an address of the cluster, node ports, and what Kubernetes' API server fills
//! in. A pick is made on a state that may move on; the committer refuses what was taken meanwhile, and it is picked again.
use sampan_api::{ApiError, Cause, Object, ranges};
use sampan_state::{
    Snapshot,
    claims::{self, Claim},
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
};

/// So often a free one is looked for at random before all are looked at.
const DRAWS: usize = 32;

/// How long a client stays with its endpoint where affinity is asked for, in seconds; Kubernetes' default.
const AFFINITY_SECONDS: u32 = 10_800;

/// What Services are given addresses and ports from.
#[derive(Clone, Debug)]
pub struct ServiceRanges {
    /// The first address of the range, and how many bits all share.
    pub base: Ipv4Addr,
    pub prefix: u8,
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceRanges {
    fn default() -> Self {
        let (base, prefix) = ranges::SERVICES;
        ServiceRanges {
            base,
            prefix,
            node_ports: ranges::NODE_PORTS,
        }
    }
}

impl ServiceRanges {
    fn size(&self) -> u32 {
        1 << (32 - u32::from(self.prefix))
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        // Neither the range's own nor its last.
        let offset = u32::from(address).wrapping_sub(u32::from(self.base));
        (1..self.size() - 1).contains(&offset)
    }

    /// Where those begin that are given to who names none. Kubernetes leaves the lower ones to those who do.
    fn first_given(&self) -> u32 {
        (self.size() / 16).clamp(16, 256).min(self.size() / 2).max(1)
    }

    fn address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + offset)
    }

    fn free_address(&self, state: &Snapshot) -> Result<Ipv4Addr, ApiError> {
        let (first, end) = (self.first_given(), self.size() - 1);
        let free = |offset: &u32| {
            let claim = Claim::Address(IpAddr::V4(self.address(*offset)));
            state.holder(&claim).is_none()
        };
        let drawn = (0..DRAWS).map(|_| rand::random_range(first..end)).find(free);
        let found = drawn.or_else(|| (first..end).chain(1..first).find(free));
        let none = || {
            let (base, prefix) = (self.base, self.prefix);
            ApiError::new(
                sampan_api::Reason::Forbidden,
                format!("no address is free in {base}/{prefix}: delete Services that are not needed"),
            )
        };
        found.map(|offset| self.address(offset)).ok_or_else(none)
    }

    fn free_port(&self, protocol: &str, state: &Snapshot, own: &BTreeSet<Claim>) -> Result<u16, ApiError> {
        let free = |port: &u16| {
            let claim = Claim::NodePort(*port, protocol.to_owned());
            state.holder(&claim).is_none() && !own.contains(&claim)
        };
        let all = self.node_ports.clone();
        let drawn = (0..DRAWS).map(|_| rand::random_range(all.clone())).find(free);
        let none = || {
            let (first, last) = (all.start(), all.end());
            ApiError::new(
                sampan_api::Reason::Forbidden,
                format!("no node port is free between {first} and {last}: delete Services that are not needed"),
            )
        };
        drawn.or_else(|| all.clone().find(free)).ok_or_else(none)
    }
}

/// Whether a write was refused because what was picked for a Service was taken meanwhile.
pub fn was_taken(error: &ApiError) -> bool {
    let fields = ["spec.clusterIP", "spec.ports.nodePort"];
    error.reason == sampan_api::Reason::Invalid && error.causes.iter().any(|cause| fields.contains(&&*cause.field))
}

/// Completes a Service beside the one that is stored, if there is one.
///
/// # Errors
/// `Invalid` naming the fields that are wrong; `Forbidden` if nothing is free.
pub fn complete(
    service: &mut Object,
    stored: Option<&Object>,
    state: &Snapshot,
    ranges: &ServiceRanges,
) -> Result<(), ApiError> {
    let Value::Object(mut spec) = service.field_value("spec") else {
        return Ok(());
    };
    let before = stored.map(|stored| stored.field_value("spec")).unwrap_or_default();
    let kind = text(&spec, "type").unwrap_or("ClusterIP").to_owned();
    default(&mut spec, "type", json!("ClusterIP"));
    default(&mut spec, "sessionAffinity", json!("None"));
    if spec["sessionAffinity"] == "ClientIP" {
        let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
        default(&mut spec, "sessionAffinityConfig", config);
    }
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let Some(port) = port.as_object_mut() else { continue };
        default(port, "protocol", json!("TCP"));
        let number = port.get("port").cloned().unwrap_or_default();
        default(port, "targetPort", number);
    }
    if kind == "ClusterIP" {
        drop_kept_node_ports(&mut spec, &before);
    }
    check(service, &spec, &kind, ranges)?;
    if kind == "ExternalName" {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
        service.set_field("spec", &spec);
        return Ok(());
    }
    address(&mut spec, &before, state, ranges)?;
    default(&mut spec, "ipFamilies", json!(["IPv4"]));
    default(&mut spec, "ipFamilyPolicy", json!("SingleStack"));
    default(&mut spec, "internalTrafficPolicy", json!("Cluster"));
    if kind != "ClusterIP" {
        default(&mut spec, "externalTrafficPolicy", json!("Cluster"));
        if kind == "LoadBalancer" {
            default(&mut spec, "allocateLoadBalancerNodePorts", json!(true));
        }
        service.set_field("spec", &spec);
        ports(&mut spec, &before, claims::of(service), state, ranges)?;
    }
    service.set_field("spec", &spec);
    Ok(())
}

/// A Service that is to have no node ports any more, and still names those that it was given: they go, as with Kubernetes.
fn drop_kept_node_ports(spec: &mut Map<String, Value>, before: &Value) {
    let had = before["ports"].as_array().cloned().unwrap_or_default();
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let same = |had: &Value| had["port"] == port["port"] && had["nodePort"] == port["nodePort"];
        let kept = had.iter().any(same);
        if let Some(port) = port.as_object_mut().filter(|_| kept) {
            port.remove("nodePort");
        }
    }
}

/// The address: what was asked for, what it had, or a free one.
fn address(
    spec: &mut Map<String, Value>,
    before: &Value,
    state: &Snapshot,
    ranges: &ServiceRanges,
) -> Result<(), ApiError> {
    let asked = text(spec, "clusterIP").filter(|text| !text.is_empty());
    let had = before["clusterIP"].as_str().filter(|text| !text.is_empty());
    let address = match asked.or(had) {
        Some(address) => address.to_owned(),
        None => ranges.free_address(state)?.to_string(),
    };
    spec.insert("clusterIPs".to_owned(), json!([address]));
    spec.insert("clusterIP".to_owned(), address.into());
    Ok(())
}

/// Node ports for the ports that have none: those they had, or free ones.
fn ports(
    spec: &mut Map<String, Value>,
    before: &Value,
    own: Vec<Claim>,
    state: &Snapshot,
    ranges: &ServiceRanges,
) -> Result<(), ApiError> {
    if spec.get("allocateLoadBalancerNodePorts") == Some(&Value::Bool(false)) {
        return Ok(());
    }
    let mut own: BTreeSet<Claim> = own.into_iter().collect();
    let had = before["ports"].as_array().cloned().unwrap_or_default();
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if port["nodePort"].as_u64().is_some_and(|number| number > 0) {
            continue;
        }
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
        let same = had
            .iter()
            .find(|had| had["port"] == port["port"] && had["protocol"] == port["protocol"]);
        let kept = same
            .and_then(|had| had["nodePort"].as_u64())
            .and_then(|number| u16::try_from(number).ok());
        let number = match kept.filter(|number| *number > 0) {
            Some(number) => number,
            None => ranges.free_port(&protocol, state, &own)?,
        };
        own.insert(Claim::NodePort(number, protocol));
        port["nodePort"] = number.into();
    }
    Ok(())
}

/// What cannot be.
fn check(service: &Object, spec: &Map<String, Value>, kind: &str, ranges: &ServiceRanges) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    let mut cause = |field: String, message: String| causes.push(Cause { field, message });
    let asked = text(spec, "clusterIP").unwrap_or_default();
    match asked.parse() {
        _ if asked.is_empty() || kind == "ExternalName" => {}
        Ok(address) if ranges.contains(address) => {}
        _ if asked == "None" && kind == "ClusterIP" => {}
        _ => {
            let (base, prefix) = (ranges.base, ranges.prefix);
            let message = format!("\"{asked}\" is no address of {base}/{prefix}: leave it out to be given one");
            cause("spec.clusterIP".to_owned(), message);
        }
    }
    if kind == "ExternalName" && text(spec, "externalName").is_none_or(str::is_empty) {
        cause(
            "spec.externalName".to_owned(),
            "required for the type ExternalName".to_owned(),
        );
    }
    let ports = spec.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    if ports.is_empty() && kind != "ExternalName" && asked != "None" {
        cause("spec.ports".to_owned(), "required: at least one".to_owned());
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (at, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{at}].{name}");
        let number = port["port"].as_u64().unwrap_or_default();
        if !(1..=65_535).contains(&number) {
            cause(field("port"), format!("{number} is no port: 1 to 65535"));
        }
        let name = port["name"].as_str().unwrap_or_default();
        if ports.len() > 1 && name.is_empty() {
            cause(field("name"), "required where there are several ports".to_owned());
        } else if !name.is_empty() && !names.insert(name.to_owned()) {
            cause(field("name"), format!("\"{name}\" is there twice"));
        }
        if !numbers.insert((number, port["protocol"].to_string())) {
            cause(
                field("port"),
                format!("{number}/{} is there twice", port["protocol"].as_str().unwrap_or("TCP")),
            );
        }
        let node = port["nodePort"].as_u64().unwrap_or_default();
        let within = u16::try_from(node).is_ok_and(|node| ranges.node_ports.contains(&node));
        if node > 0 && kind == "ClusterIP" {
            cause(
                field("nodePort"),
                "a Service of the type ClusterIP has none: set type: NodePort".to_owned(),
            );
        } else if node > 0 && !within {
            let (first, last) = (ranges.node_ports.start(), ranges.node_ports.end());
            cause(field("nodePort"), format!("{node} is no node port: {first} to {last}"));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let message = format!("Service \"{}\" is invalid", service.metadata.name);
    Err(ApiError::invalid(message, causes))
}

fn text<'a>(spec: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    spec.get(name).and_then(Value::as_str)
}

/// Sets a field that is absent or null.
fn default(map: &mut Map<String, Value>, name: &str, value: Value) {
    if map.get(name).is_none_or(Value::is_null) {
        map.insert(name.to_owned(), value);
    }
}
