//! The nodes and pods of Kubernetes' scheduler_perf, said anew: a node has 4 CPUs, 32 GiB and room for 110 pods; a pod asks for
//! 100m and 500 MiB.
use serde_json::{Value, json};

pub const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

/// Where pods lie that are there before, and where those come that are measured.
pub const BEFORE: &str = "before";
pub const MEASURED: &str = "measured";

pub fn node(name: &str, zone: Option<&str>) -> Value {
    let mut labels = json!({ (HOST): name });
    if let Some(zone) = zone {
        labels[ZONE] = zone.into();
    }
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
}

/// What a node's agent would say of it.
pub fn node_status() -> Value {
    let room = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
    json!({"status": {
        "capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
    }})
}

/// A pod without a name and a namespace.
fn pod(cpu: &str, labels: &Value, more: Value) -> Value {
    let room = json!({"cpu": cpu, "memory": "500Mi"});
    let mut spec = json!({"containers": [{
        "name": "pause", "image": "pause:3.10", "ports": [{"containerPort": 80}],
        "resources": {"limits": room, "requests": room},
    }]});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": labels}, "spec": spec})
}

pub fn plain() -> Value {
    pod("100m", &json!({}), json!({}))
}

/// Four of them nearly fill a node.
pub fn unimportant() -> Value {
    pod("900m", &json!({}), json!({"terminationGracePeriodSeconds": 0}))
}

/// Three unimportant ones have to go for it.
pub fn important() -> Value {
    pod("3", &json!({}), json!({"priorityClassName": "system-cluster-critical"}))
}

/// No node has so much, whoever goes.
pub fn too_large() -> Value {
    pod("9", &json!({}), json!({"priorityClassName": "system-cluster-critical"}))
}

pub fn gated() -> Value {
    pod("100m", &json!({}), json!({"schedulingGates": [{"name": "bench"}]}))
}

/// As a DaemonSet's: only that node will do.
pub fn pinned(node: &str) -> Value {
    let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]);
    let required = json!({"nodeSelectorTerms": terms});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    pod("100m", &json!({}), json!({ "affinity": affinity }))
}

pub fn of_a_zone() -> Value {
    let zones = json!([{"key": ZONE, "operator": "In", "values": ["zone1", "zone2"]}]);
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": zones}]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    pod("100m", &json!({}), json!({ "affinity": affinity }))
}

/// Pods of a colour that must be near each other, or apart.
pub fn related(kind: &str, colour: &str, topology: &str, preferred: bool) -> Value {
    let term = json!({
        "labelSelector": {"matchLabels": {"color": colour}}, "topologyKey": topology, "namespaces": [BEFORE, MEASURED],
    });
    let terms = match preferred {
        true => json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}),
        false => json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]}),
    };
    pod(
        "100m",
        &json!({"color": colour}),
        json!({"affinity": { (kind): terms }}),
    )
}

pub fn near_in_a_zone() -> Value {
    related("podAffinity", "blue", ZONE, false)
}

pub fn apart_on_hosts() -> Value {
    related("podAntiAffinity", "green", HOST, false)
}

pub fn rather_near() -> Value {
    related("podAffinity", "red", HOST, true)
}

pub fn spread(when: &str) -> Value {
    let constraint = json!({
        "maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"color": "blue"}},
    });
    pod(
        "100m",
        &json!({"color": "blue"}),
        json!({"topologySpreadConstraints": [constraint]}),
    )
}

/// A pod that was there already: on that node, by that name.
pub fn named(mut pod: Value, namespace: &str, name: &str) -> Value {
    pod["metadata"]["namespace"] = namespace.into();
    pod["metadata"]["name"] = name.into();
    pod
}
