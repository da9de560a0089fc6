//! A pod.
use super::{
    page::Page,
    template::{containers, tolerations, volumes},
};
use crate::{
    doc::{Doc, at, entries, list, text},
    print::{
        Moment, age,
        columns::{or_else, or_none},
    },
};
use serde_json::Value;

pub fn describe(doc: &Doc, now: Moment, page: &mut Page) {
    let pod = &doc.value;
    page.field(0, "Name", doc.name());
    page.field(0, "Namespace", doc.namespace());
    page.field(0, "Priority", doc.at("/spec/priority").as_i64().unwrap_or(0));
    page.field_if(0, "Priority Class Name", doc.text("/spec/priorityClassName"));
    let account = or_else(doc.text("/spec/serviceAccountName"), "default");
    page.field(0, "Service Account", account);
    let node = match (doc.text("/spec/nodeName"), doc.text("/status/hostIP")) {
        ("", _) => "<none>".to_owned(),
        (node, "") => node.to_owned(),
        (node, ip) => format!("{node}/{ip}"),
    };
    page.field(0, "Node", node);
    if !doc.text("/status/startTime").is_empty() {
        page.field(0, "Start Time", age::long(doc.text("/status/startTime")));
    }
    page.map(0, "Labels", doc.at("/metadata/labels"));
    page.annotations(0, "Annotations", doc.at("/metadata/annotations"));
    status(doc, now, page);
    page.field(0, "IP", doc.text("/status/podIP"));
    let ips = list(pod, "/status/podIPs");
    if ips.is_empty() {
        page.field(0, "IPs", "<none>");
    } else {
        page.head(0, "IPs");
        ips.iter().for_each(|ip| page.field(1, "IP", text(ip, "/ip")));
    }
    controlled_by(doc, page);
    if !list(pod, "/spec/initContainers").is_empty() {
        containers(
            0,
            "Init Containers",
            list(pod, "/spec/initContainers"),
            list(pod, "/status/initContainerStatuses"),
            page,
        );
    }
    containers(
        0,
        "Containers",
        list(pod, "/spec/containers"),
        list(pod, "/status/containerStatuses"),
        page,
    );
    conditions(pod, page);
    volumes(0, list(pod, "/spec/volumes"), page);
    page.field(0, "QoS Class", quality(pod));
    page.map(0, "Node-Selectors", doc.at("/spec/nodeSelector"));
    tolerations(0, list(pod, "/spec/tolerations"), page);
}

fn status(doc: &Doc, now: Moment, page: &mut Page) {
    let going = doc.text("/metadata/deletionTimestamp");
    if going.is_empty() {
        page.field(0, "Status", doc.text("/status/phase"));
    } else {
        page.field(0, "Status", format_args!("Terminating (lasts {})", now.since(going)));
        let grace = doc.at("/metadata/deletionGracePeriodSeconds").as_i64().unwrap_or(0);
        page.field(0, "Termination Grace Period", format_args!("{grace}s"));
    }
    page.field_if(0, "Reason", doc.text("/status/reason"));
    page.field_if(0, "Message", doc.text("/status/message"));
}

/// What it belongs to.
pub fn controlled_by(doc: &Doc, page: &mut Page) {
    if let Some(owner) = list(&doc.value, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true)
    {
        page.field(
            0,
            "Controlled By",
            format_args!("{}/{}", text(owner, "/kind"), text(owner, "/name")),
        );
    }
}

fn conditions(pod: &Value, page: &mut Page) {
    let conditions = list(pod, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    page.head(0, "Conditions");
    page.line(1, "Type\tStatus");
    for condition in conditions {
        page.line(
            1,
            format_args!("{}\t{}", text(condition, "/type"), text(condition, "/status")),
        );
    }
}

/// How firmly the pod's resources are promised to it.
fn quality(pod: &Value) -> String {
    let said = text(pod, "/status/qosClass");
    if !said.is_empty() {
        return said.to_owned();
    }
    let all = || {
        list(pod, "/spec/containers")
            .iter()
            .chain(list(pod, "/spec/initContainers"))
    };
    let has = |container: &Value, list: &str| entries(container, &format!("/resources/{list}")).next().is_some();
    if !all().any(|container| has(container, "requests") || has(container, "limits")) {
        return "BestEffort".to_owned();
    }
    let guaranteed = |container: &Value| {
        let (limits, requests) = (at(container, "/resources/limits"), at(container, "/resources/requests"));
        let limited = !limits["cpu"].is_null() && !limits["memory"].is_null();
        let same = |name: &str| requests[name].is_null() || requests[name] == limits[name];
        limited && same("cpu") && same("memory")
    };
    or_none(if all().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    })
}
