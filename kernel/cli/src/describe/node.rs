//! A node, and what its pods take of it.
use super::{Related, page::Page};
use crate::{
    doc::{Doc, entries, list, plain, text, texts},
    print::{Moment, age, columns::roles},
};
use sampan_api::quantity::{self, Resources};
use serde_json::Value;

pub fn describe(doc: &Doc, related: &Related, now: Moment, page: &mut Page) {
    let node = &doc.value;
    page.field(0, "Name", doc.name());
    page.field(0, "Roles", roles(node));
    page.map(0, "Labels", doc.at("/metadata/labels"));
    page.annotations(0, "Annotations", doc.at("/metadata/annotations"));
    page.field(
        0,
        "CreationTimestamp",
        age::long(doc.text("/metadata/creationTimestamp")),
    );
    let taints = list(node, "/spec/taints")
        .iter()
        .map(|taint| match text(taint, "/value") {
            "" => format!("{}:{}", text(taint, "/key"), text(taint, "/effect")),
            value => format!("{}={value}:{}", text(taint, "/key"), text(taint, "/effect")),
        });
    page.list(0, "Taints", taints);
    page.field(0, "Unschedulable", doc.at("/spec/unschedulable") == &Value::Bool(true));
    let conditions = list(node, "/status/conditions");
    if !conditions.is_empty() {
        page.head(0, "Conditions");
        let row = |c: &Value| {
            let time = |field: &str| age::long(text(c, field));
            let word = |field: &str| text(c, field).to_owned();
            vec![
                word("/type"),
                word("/status"),
                time("/lastHeartbeatTime"),
                time("/lastTransitionTime"),
                word("/reason"),
                word("/message"),
            ]
        };
        let headers = [
            "Type",
            "Status",
            "LastHeartbeatTime",
            "LastTransitionTime",
            "Reason",
            "Message",
        ];
        page.table(1, &headers, conditions.iter().map(row));
    }
    page.head(0, "Addresses");
    list(node, "/status/addresses")
        .iter()
        .for_each(|a| page.field(1, text(a, "/type"), text(a, "/address")));
    for (name, pointer) in [("Capacity", "/status/capacity"), ("Allocatable", "/status/allocatable")] {
        page.head(0, name);
        entries(node, pointer).for_each(|(resource, amount)| page.field(1, resource, plain(amount)));
    }
    system(node, page);
    page.field_if(0, "PodCIDR", doc.text("/spec/podCIDR"));
    page.field_if(0, "PodCIDRs", &texts(node, "/spec/podCIDRs"));
    let running: Vec<&Doc> = related.pods.iter().filter(|pod| !finished(pod)).collect();
    pods(&running, node, now, page);
}

fn finished(pod: &Doc) -> bool {
    matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

fn system(node: &Value, page: &mut Page) {
    page.head(0, "System Info");
    for (name, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        page.field_if(1, name, text(node, &format!("/status/nodeInfo/{field}")));
    }
}

/// Requests and limits of a pod.
fn resources(pod: &Doc) -> (Resources, Resources) {
    let spec = serde_json::from_value(pod.at("/spec").clone()).unwrap_or_default();
    let requests = quantity::pod_requests(&spec).unwrap_or_default();
    let limits = spec.containers.iter().map(|container| {
        let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
        let limits = limits
            .into_iter()
            .flatten()
            .map(|(name, amount)| (name.as_str(), amount.0.as_str()));
        Resources::from_quantities(limits).unwrap_or_default()
    });
    (requests, limits.fold(Resources::default(), Resources::plus))
}

fn pods(pods: &[&Doc], node: &Value, now: Moment, page: &mut Page) {
    let allocatable = entries(node, "/status/allocatable")
        .map(|(name, amount)| (name.clone(), plain(amount)))
        .collect::<Vec<_>>();
    let all = Resources::from_quantities(allocatable.iter().map(|(n, a)| (n.as_str(), a.as_str()))).unwrap_or_default();
    let share = |part: u64, whole: u64| (part * 100).checked_div(whole).unwrap_or(0);
    let cpu = |milli: u64| format!("{} ({}%)", millis(milli), share(milli, all.milli_cpu));
    let memory = |bytes: u64| format!("{} ({}%)", binary(bytes), share(bytes, all.memory));
    page.line(0, format_args!("Non-terminated Pods:\t({} in total)", pods.len()));
    let mut sum = (Resources::default(), Resources::default());
    let rows: Vec<Vec<String>> = pods
        .iter()
        .map(|pod| {
            let (requests, limits) = resources(pod);
            sum = (sum.0.plus(requests), sum.1.plus(limits));
            vec![
                pod.namespace().to_owned(),
                pod.name().to_owned(),
                cpu(requests.milli_cpu),
                cpu(limits.milli_cpu),
                memory(requests.memory),
                memory(limits.memory),
                now.age(&pod.value),
            ]
        })
        .collect();
    page.table(
        1,
        &[
            "Namespace",
            "Name",
            "CPU Requests",
            "CPU Limits",
            "Memory Requests",
            "Memory Limits",
            "Age",
        ],
        rows,
    );
    page.head(0, "Allocated resources");
    let (requests, limits) = sum;
    let rows = [
        vec!["cpu".to_owned(), cpu(requests.milli_cpu), cpu(limits.milli_cpu)],
        vec!["memory".to_owned(), memory(requests.memory), memory(limits.memory)],
    ];
    page.table(1, &["Resource", "Requests", "Limits"], rows);
}

/// Thousandths of a processor: `250m`, `2`.
fn millis(milli: u64) -> String {
    if milli.is_multiple_of(1000) {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    }
}

/// Bytes in the largest unit that divides them: `64Mi`.
fn binary(bytes: u64) -> String {
    let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let fits = units
        .iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    fits.map_or_else(
        || bytes.to_string(),
        |(unit, shift)| format!("{}{unit}", bytes >> shift),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn amounts() {
        assert_eq!(
            (super::millis(250), super::millis(2000)),
            ("250m".to_owned(), "2".to_owned())
        );
        assert_eq!(
            (super::binary(64 << 20), super::binary(1000), super::binary(0)),
            ("64Mi".into(), "1000".into(), "0".into())
        );
    }
}
