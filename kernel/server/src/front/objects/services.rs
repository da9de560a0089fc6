//! What a Service is given before it is written: an address of the cluster, node ports, and what Kubernetes' API server fills
//! in. A pick is made on a state that may move on; the committer refuses what was taken meanwhile, and it is picked again.
use super::families::{self, Wanted};
pub use super::ranges::ServiceRanges;
use sampan_api::{ApiError, Cause, Object};
use sampan_state::{
    Snapshot,
    claims::{self, Claim},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// How long a client stays with its endpoint where affinity is asked for, in seconds; Kubernetes' default.
const AFFINITY_SECONDS: u32 = 10_800;

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
        // As with Kubernetes, these say nothing either.
        let unsaid = |target: &Value| *target == 0 || *target == "";
        if port.get("targetPort").is_none_or(unsaid) {
            port.remove("targetPort");
        }
        default(port, "targetPort", number);
    }
    if kind == "ClusterIP" {
        drop_kept_node_ports(&mut spec, &before);
    }
    if !comes_from_outside(&spec, &kind) && spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy") {
        // It was given it when it was of another type: it goes, as with Kubernetes.
        spec.remove("externalTrafficPolicy");
    }
    let wanted = check(service, &spec, &before, &kind, ranges)?;
    let Some(wanted) = wanted else {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
        service.set_field("spec", &spec);
        return Ok(());
    };
    wanted.give(&mut spec, ranges, state)?;
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

/// Whether what is not of the cluster may come to a Service, so that there is something to say about how.
fn comes_from_outside(spec: &Map<String, Value>, kind: &str) -> bool {
    let addresses = spec.get("externalIPs").and_then(Value::as_array);
    match kind {
        "ClusterIP" => addresses.is_some_and(|addresses| !addresses.is_empty()),
        "ExternalName" => false,
        _ => true,
    }
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

/// What cannot be; which families and addresses it is to have, if it may have any.
fn check(
    service: &Object,
    spec: &Map<String, Value>,
    before: &Value,
    kind: &str,
    ranges: &ServiceRanges,
) -> Result<Option<Wanted>, ApiError> {
    let asked = text(spec, "clusterIP").unwrap_or_default();
    let mut causes = Vec::new();
    let mut wanted = None;
    if kind != "ExternalName" {
        match families::wanted(&Value::Object(spec.clone()), before, ranges) {
            Ok(found) => wanted = Some(found),
            Err(found) => causes.extend(found),
        }
    }
    check_ports(spec, kind, ranges, &mut causes);
    let mut cause = |field: String, message: String| causes.push(Cause { field, message });
    if asked == "None" && kind != "ClusterIP" && kind != "ExternalName" {
        let message = format!("a Service of the type {kind} has an address: leave out \"None\"");
        cause("spec.clusterIP".to_owned(), message);
    }
    if let Some(policy) = text(spec, "externalTrafficPolicy").filter(|_| !comes_from_outside(spec, kind)) {
        let message = format!(
            "\"{policy}\" is about what comes from outside, and to a Service of the type {kind} nothing does: set type: NodePort \
             or LoadBalancer, or leave it out"
        );
        cause("spec.externalTrafficPolicy".to_owned(), message);
    }
    if kind == "ExternalName" && text(spec, "externalName").is_none_or(str::is_empty) {
        cause(
            "spec.externalName".to_owned(),
            "required for the type ExternalName".to_owned(),
        );
    }
    if causes.is_empty() {
        return Ok(wanted);
    }
    let message = format!("Service \"{}\" is invalid", service.metadata.name);
    Err(ApiError::invalid(message, causes))
}

fn check_ports(spec: &Map<String, Value>, kind: &str, ranges: &ServiceRanges, causes: &mut Vec<Cause>) {
    let asked = text(spec, "clusterIP").unwrap_or_default();
    let mut cause = |field: String, message: String| causes.push(Cause { field, message });
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
