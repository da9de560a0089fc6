//! Which columns each kind has, as kubectl prints them, and what stands in them.
mod network;
mod pod;
pub mod scheduling;
mod workload;

pub use network::first;
pub use pod::status as pod_status;

use super::{Moment, age};
use crate::doc::{at, condition, entries, is_true, list, number, plain, text};
use sampan_api::KindInfo;
use serde_json::Value;

/// A column of a kind.
pub struct Column {
    pub name: &'static str,
    /// Shown with `-o wide` alone.
    pub wide: bool,
    pub cell: fn(&Value, Moment) -> String,
}

const fn plainly(name: &'static str, cell: fn(&Value, Moment) -> String) -> Column {
    Column {
        name,
        wide: false,
        cell,
    }
}

const fn wide(name: &'static str, cell: fn(&Value, Moment) -> String) -> Column {
    Column { name, wide: true, cell }
}

const NAME: Column = plainly("NAME", |o, _| text(o, "/metadata/name").to_owned());
const AGE: Column = plainly("AGE", |o, now| now.age(o));

static PODS: &[Column] = &[
    NAME,
    plainly("READY", |o, _| pod::ready(o)),
    plainly("STATUS", |o, _| pod::status(o)),
    plainly("RESTARTS", pod::restarts),
    AGE,
    wide("IP", |o, _| or_none(text(o, "/status/podIP"))),
    wide("NODE", |o, _| or_none(text(o, "/spec/nodeName"))),
    wide("NOMINATED NODE", |o, _| or_none(text(o, "/status/nominatedNodeName"))),
    wide("READINESS GATES", |o, _| pod::gates(o)),
];

static DEPLOYMENTS: &[Column] = &[
    NAME,
    plainly("READY", |o, _| {
        format!("{}/{}", number(o, "/status/readyReplicas"), workload::wanted(o))
    }),
    plainly("UP-TO-DATE", |o, _| number(o, "/status/updatedReplicas").to_string()),
    plainly("AVAILABLE", |o, _| number(o, "/status/availableReplicas").to_string()),
    AGE,
    wide("CONTAINERS", |o, _| workload::containers(o)),
    wide("IMAGES", |o, _| workload::images(o)),
    wide("SELECTOR", |o, _| selector(at(o, "/spec/selector"))),
];

static REPLICA_SETS: &[Column] = &[
    NAME,
    plainly("DESIRED", |o, _| workload::wanted(o).to_string()),
    plainly("CURRENT", |o, _| number(o, "/status/replicas").to_string()),
    plainly("READY", |o, _| number(o, "/status/readyReplicas").to_string()),
    AGE,
    wide("CONTAINERS", |o, _| workload::containers(o)),
    wide("IMAGES", |o, _| workload::images(o)),
    wide("SELECTOR", |o, _| selector(at(o, "/spec/selector"))),
];

static JOBS: &[Column] = &[
    NAME,
    plainly("STATUS", |o, _| workload::job_status(o)),
    plainly("COMPLETIONS", |o, _| workload::completions(o)),
    plainly("DURATION", workload::duration),
    AGE,
    wide("CONTAINERS", |o, _| workload::containers(o)),
    wide("IMAGES", |o, _| workload::images(o)),
    wide("SELECTOR", |o, _| selector(at(o, "/spec/selector"))),
];

static NODES: &[Column] = &[
    NAME,
    plainly("STATUS", |o, _| node_status(o)),
    plainly("ROLES", |o, _| roles(o)),
    AGE,
    plainly("VERSION", |o, _| or_none(text(o, "/status/nodeInfo/kubeletVersion"))),
    wide("INTERNAL-IP", |o, _| address(o, "InternalIP")),
    wide("EXTERNAL-IP", |o, _| address(o, "ExternalIP")),
    wide("OS-IMAGE", |o, _| or_unknown(text(o, "/status/nodeInfo/osImage"))),
    wide("KERNEL-VERSION", |o, _| {
        or_unknown(text(o, "/status/nodeInfo/kernelVersion"))
    }),
    wide("CONTAINER-RUNTIME", |o, _| {
        or_unknown(text(o, "/status/nodeInfo/containerRuntimeVersion"))
    }),
];

static CONFIG_MAPS: &[Column] = &[
    NAME,
    plainly("DATA", |o, _| {
        (entries(o, "/data").count() + entries(o, "/binaryData").count()).to_string()
    }),
    AGE,
];

static SECRETS: &[Column] = &[
    NAME,
    plainly("TYPE", |o, _| or_else(text(o, "/type"), "Opaque")),
    plainly("DATA", |o, _| entries(o, "/data").count().to_string()),
    AGE,
];

static NAMESPACES: &[Column] = &[NAME, plainly("STATUS", |o, _| namespace_status(o)), AGE];

static SERVICE_ACCOUNTS: &[Column] = &[
    NAME,
    plainly("SECRETS", |o, _| list(o, "/secrets").len().to_string()),
    AGE,
];

static EVENTS: &[Column] = &[
    plainly("LAST SEEN", |o, now| now.since(last_seen(o))),
    plainly("TYPE", |o, _| text(o, "/type").to_owned()),
    plainly("REASON", |o, _| text(o, "/reason").to_owned()),
    plainly("OBJECT", |o, _| about(o)),
    wide("SUBOBJECT", |o, _| text(o, "/involvedObject/fieldPath").to_owned()),
    wide("SOURCE", |o, _| source(o)),
    plainly("MESSAGE", |o, _| text(o, "/message").trim().to_owned()),
    wide("FIRST SEEN", |o, now| now.since(first_seen(o))),
    wide("COUNT", |o, _| count(o).to_string()),
    wide("NAME", |o, _| text(o, "/metadata/name").to_owned()),
];

static PLUGINS: &[Column] = &[
    NAME,
    plainly("WORLD", |o, _| text(o, "/spec/world").to_owned()),
    plainly("SLOT", |o, _| text(o, "/spec/slot").to_owned()),
    plainly("MODE", |o, _| text(o, "/spec/mode").to_owned()),
    plainly("PHASE", |o, _| or_else(text(o, "/status/phase"), "Pending")),
    plainly("DIGEST", |o, _| short_digest(text(o, "/spec/digest"))),
    AGE,
    wide("VERSION", |o, _| or_none(text(o, "/status/version"))),
    wide("SIZE", |o, _| {
        crate::progress::size(at(o, "/status/size").as_u64().unwrap_or(0))
    }),
    wide("SUMMARY", |o, _| or_none(text(o, "/status/summary"))),
];

static OTHERS: &[Column] = &[NAME, AGE];

/// The columns of a kind.
pub fn of(kind: &KindInfo) -> &'static [Column] {
    match kind.kind {
        "Pod" => PODS,
        "Deployment" => DEPLOYMENTS,
        "ReplicaSet" => REPLICA_SETS,
        "Job" => JOBS,
        "Node" => NODES,
        "Service" => network::SERVICES,
        "EndpointSlice" => network::ENDPOINT_SLICES,
        "NetworkPolicy" => network::POLICIES,
        "Ingress" => network::INGRESSES,
        "IngressClass" => network::INGRESS_CLASSES,
        "PriorityClass" => scheduling::PRIORITY_CLASSES,
        "PodGroup" => scheduling::POD_GROUPS,
        "PodDisruptionBudget" => scheduling::DISRUPTION_BUDGETS,
        "ConfigMap" => CONFIG_MAPS,
        "Secret" => SECRETS,
        "Namespace" => NAMESPACES,
        "ServiceAccount" => SERVICE_ACCOUNTS,
        "Event" => EVENTS,
        "Plugin" => PLUGINS,
        _ => OTHERS,
    }
}

/// Those that are shown, with or without the wide ones.
pub fn shown(kind: &KindInfo, wide: bool) -> impl Iterator<Item = &'static Column> {
    of(kind).iter().filter(move |column| wide || !column.wide)
}

pub(crate) fn or_else(text: &str, other: &str) -> String {
    if text.is_empty() {
        other.to_owned()
    } else {
        text.to_owned()
    }
}

pub(crate) fn or_none(text: &str) -> String {
    or_else(text, "<none>")
}

fn or_unknown(text: &str) -> String {
    or_else(text, "<unknown>")
}

/// `a=1,b=2`, or `<none>`.
pub fn joined(labels: &Value) -> String {
    let pairs: Vec<String> = entries(labels, "")
        .map(|(key, value)| format!("{key}={}", plain(value)))
        .collect();
    or_none(&pairs.join(","))
}

/// A label selector of a manifest as on a command line.
pub fn selector(selector: &Value) -> String {
    let equal = entries(selector, "/matchLabels").map(|(key, value)| format!("{key}={}", plain(value)));
    let expressions = list(selector, "/matchExpressions").iter().map(|expression| {
        let key = text(expression, "/key");
        let values: Vec<_> = list(expression, "/values").iter().map(plain).collect();
        match text(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        }
    });
    or_none(&equal.chain(expressions).collect::<Vec<_>>().join(","))
}

fn node_status(node: &Value) -> String {
    let ready = match condition(node, "Ready")["status"].as_str() {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = at(node, "/spec/unschedulable") == &Value::Bool(true);
    if cordoned {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

/// `control-plane,worker`, by the labels that say so.
pub fn roles(node: &Value) -> String {
    let labels = entries(node, "/metadata/labels").filter_map(|(key, value)| match key.as_str() {
        "kubernetes.io/role" => Some(plain(value)),
        _ => key.strip_prefix("node-role.kubernetes.io/").map(str::to_owned),
    });
    or_none(&labels.filter(|role| !role.is_empty()).collect::<Vec<_>>().join(","))
}

fn address(node: &Value, which: &str) -> String {
    let found = list(node, "/status/addresses")
        .iter()
        .find(|address| address["type"] == which);
    or_none(found.map(|address| text(address, "/address")).unwrap_or_default())
}

fn namespace_status(namespace: &Value) -> String {
    if !at(namespace, "/metadata/deletionTimestamp").is_null() {
        return "Terminating".to_owned();
    }
    or_else(text(namespace, "/status/phase"), "Active")
}

/// When an event was last seen, in RFC 3339.
pub fn last_seen(event: &Value) -> &str {
    let places = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ];
    places
        .into_iter()
        .map(|place| text(event, place))
        .find(|time| !time.is_empty())
        .unwrap_or_default()
}

/// What events are sorted by: times are to the second, and revisions say more.
pub fn chronology(event: &Value) -> (String, u64) {
    let revision = text(event, "/metadata/resourceVersion").parse().unwrap_or(0);
    (last_seen(event).to_owned(), revision)
}

/// When an event was first seen, in RFC 3339.
pub fn first_seen(event: &Value) -> &str {
    let places = ["/firstTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    places
        .into_iter()
        .map(|place| text(event, place))
        .find(|time| !time.is_empty())
        .unwrap_or_default()
}

/// When an event was last seen and, of one that repeats, how often and since when: `3m (x5 over 10m)`.
pub fn seen(event: &Value, now: Moment) -> String {
    let last = now.since(last_seen(event));
    match count(event) {
        1 => last,
        times => format!("{last} (x{times} over {})", now.since(first_seen(event))),
    }
}

/// How often an event was seen.
pub fn count(event: &Value) -> i64 {
    number(event, "/series/count").max(number(event, "/count")).max(1)
}

/// Who tells an event.
pub fn source(event: &Value) -> String {
    let component = or_else(text(event, "/source/component"), text(event, "/reportingComponent"));
    match text(event, "/source/host") {
        "" => component,
        host => format!("{component}, {host}"),
    }
}

fn about(event: &Value) -> String {
    let object = at(event, "/involvedObject");
    format!("{}/{}", text(object, "/kind").to_lowercase(), text(object, "/name"))
}

/// The first twelve digits.
pub fn short_digest(digest: &str) -> String {
    digest
        .strip_prefix("sha256:")
        .unwrap_or(digest)
        .chars()
        .take(12)
        .collect()
}

/// Whether a pod is ready.
pub fn pod_is_ready(pod: &Value) -> bool {
    is_true(pod, "Ready")
}

/// The time between start and end, or until now.
fn lasting(start: &str, end: &str, now: Moment) -> String {
    match age::between(start, end) {
        Some(duration) => duration,
        None if start.is_empty() => String::new(),
        None => now.since(start),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
