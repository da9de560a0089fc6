//! The pods behind what users name: a deployment, a replica set, a job, a service.
use crate::{
    doc::{Doc, list},
    print::columns,
    session::Session,
    targets::{self, Scope},
};
use anyhow::{Result, bail};
use sampan_api::LabelSelector;
use serde_json::Value;

/// The pods of an object, those first that are ready.
///
/// # Errors
/// If it is of no kind that has pods, or has none now.
pub async fn pods_of(owner: &Doc, session: &Session) -> Result<Vec<Doc>> {
    let mut labels = match owner.kind.kind {
        "Deployment" | "ReplicaSet" => columns::selector(owner.at("/spec/selector")),
        "Job" => match columns::selector(owner.at("/spec/selector")) {
            none if none == "<none>" => columns::joined(owner.at("/spec/template/metadata/labels")),
            selector => selector,
        },
        "Service" => columns::joined(owner.at("/spec/selector")),
        _ => bail!(
            "{} has no pods: name a pod, deployment, replicaset, job or service",
            owner.full_name()
        ),
    };
    if labels == "<none>" {
        labels.clear();
    }
    LabelSelector::parse(&labels)?;
    let scope = Scope {
        labels,
        ..Scope::default()
    };
    let mut selection = scope.selection(targets::kind("pods")?, session);
    owner.namespace().clone_into(&mut selection.namespace);
    let mut found = session.list(&selection).await?.objects;
    if owner.kind.kind == "Job" {
        found.retain(|pod| {
            list(&pod.value, "/metadata/ownerReferences")
                .iter()
                .any(|o| o["uid"] == owner.uid())
        });
    }
    if found.is_empty() {
        bail!(
            "{} has no pods now: `sampan describe {}` may say why",
            owner.full_name(),
            owner.full_name()
        );
    }
    found.sort_by_key(|pod| {
        (
            !columns::pod_is_ready(&pod.value),
            pod.text("/status/phase") != "Running",
            pod.name().to_owned(),
        )
    });
    Ok(found)
}

/// The port of a Service that is meant, by name or number; the first where nothing is said.
///
/// # Errors
/// If it has no such port; says which it has.
pub fn service_port<'a>(service: &'a Doc, wanted: &str) -> Result<&'a Value> {
    let ports = list(&service.value, "/spec/ports");
    let number: Option<u64> = wanted.parse().ok();
    let is_meant = |port: &&Value| {
        let by_number = number.is_some_and(|number| port["port"] == number);
        wanted.is_empty() || port["name"] == wanted || by_number
    };
    match ports.iter().find(is_meant) {
        Some(port) => Ok(port),
        None => bail!(
            "{} has no port {wanted}: it has {}",
            service.full_name(),
            said(ports, "port")
        ),
    }
}

/// Ports in words.
pub fn said(ports: &[Value], field: &str) -> String {
    let one = |port: &Value| match port["name"].as_str() {
        Some(name) => format!("{} ({name})", port[field]),
        None => port[field].to_string(),
    };
    match ports.is_empty() {
        true => "none that it names".to_owned(),
        false => ports.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}
