//! The rules of PriorityClasses, PodDisruptionBudgets, PodGroups and scheduling gates: those of Kubernetes' validation.
use super::{network::selector, not_negative, one_of};
use crate::{Cause, Object};
use k8s_openapi::{apimachinery::pkg::api::resource::Quantity, serde::Deserialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A PodGroup, as far as its types go: it is none of Kubernetes' own kinds, but of its scheduler plugins.
#[derive(Deserialize)]
#[serde(crate = "k8s_openapi::serde", rename_all = "camelCase")]
#[expect(dead_code, reason = "only that it can be read is of interest")]
pub struct PodGroup {
    api_version: Value,
    kind: Value,
    metadata: Value,
    spec: Option<PodGroupSpec>,
    status: Option<Value>,
}

#[derive(Deserialize)]
#[serde(crate = "k8s_openapi::serde", rename_all = "camelCase")]
#[expect(dead_code, reason = "only that it can be read is of interest")]
struct PodGroupSpec {
    min_member: Option<i32>,
    min_resources: Option<BTreeMap<String, Quantity>>,
    schedule_timeout_seconds: Option<i32>,
}

/// The classes that every cluster has, what they are worth, and what they are for.
pub const SYSTEM_CLASSES: [(&str, i32, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// What begins the names that are the system's.
const SYSTEM_PREFIX: &str = "system-";

/// The most that a user's class is worth.
const MOST: i64 = 1_000_000_000;

pub(super) fn priority_class(class: &Object, causes: &mut Vec<Cause>) {
    let mut cause = |field: &str, message: String| {
        causes.push(Cause {
            field: field.to_owned(),
            message,
        });
    };
    let name = class.metadata.name.as_str();
    let value = class.field_value("value").as_i64();
    let system = SYSTEM_CLASSES.iter().find(|(known, ..)| *known == name);
    match (system, value) {
        (_, None) => cause("value", "required: a whole number".to_owned()),
        (Some((_, worth, _)), Some(value)) if i64::from(*worth) != value => {
            cause(
                "value",
                format!("{value} is not {worth}, which this class of the system is worth"),
            );
        }
        (Some(_), Some(_)) => {}
        (None, Some(value)) if value > MOST => {
            cause(
                "value",
                format!("maximum allowed value of a user defined priority is {MOST}"),
            );
        }
        (None, Some(_)) => {}
    }
    if system.is_none() && name.starts_with(SYSTEM_PREFIX) {
        let message = format!("priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only");
        cause("metadata.name", message);
    }
    let known = ["PreemptLowerPriority", "Never"];
    one_of(
        "preemptionPolicy",
        &class.field_value("preemptionPolicy"),
        &known,
        causes,
    );
}

pub(super) fn disruption_budget(spec: &Value, causes: &mut Vec<Cause>) {
    let mut cause = |field: &str, message: String| {
        causes.push(Cause {
            field: field.to_owned(),
            message,
        });
    };
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        cause("spec", "minAvailable and maxUnavailable cannot be both set".to_owned());
    }
    for name in ["minAvailable", "maxUnavailable"] {
        if let Err(message) = amount(&spec[name]) {
            cause(&format!("spec.{name}"), message);
        }
    }
    selector("spec.selector".to_owned(), &spec["selector"], causes);
    one_of(
        "spec.unhealthyPodEvictionPolicy",
        &spec["unhealthyPodEvictionPolicy"],
        &["IfHealthyBudget", "AlwaysAllow"],
        causes,
    );
}

pub(super) fn pod_group(spec: &Value, causes: &mut Vec<Cause>) {
    if spec["minMember"].as_i64().is_some_and(|least| least < 1) {
        causes.push(Cause {
            field: "spec.minMember".to_owned(),
            message: format!("{} is less than 1", spec["minMember"]),
        });
    }
    not_negative("spec.scheduleTimeoutSeconds", &spec["scheduleTimeoutSeconds"], causes);
}

/// A number of pods, or a share of them up to all.
fn amount(value: &Value) -> Result<(), String> {
    let right = match value {
        Value::Null => true,
        Value::String(text) => text.strip_suffix('%').is_some_and(|share| {
            share.bytes().all(|b| b.is_ascii_digit()) && share.parse().is_ok_and(|n: u8| n <= 100)
        }),
        other => other.as_i64().is_some_and(|number| number >= 0),
    };
    if right {
        return Ok(());
    }
    Err(format!(
        "{value} is neither a number of pods nor a percentage up to \"100%\""
    ))
}

/// Of a pod: what is held back has no node.
pub(super) fn gates(spec: &Value, causes: &mut Vec<Cause>) {
    let gates = spec["schedulingGates"].as_array().map_or(&[][..], Vec::as_slice);
    let has_node = spec["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    if !gates.is_empty() && has_node {
        causes.push(Cause {
            field: "spec.nodeName".to_owned(),
            message: "cannot be set until all schedulingGates have been cleared".to_owned(),
        });
    }
    for (at, gate) in gates.iter().enumerate() {
        let message = match gate["name"].as_str().unwrap_or_default() {
            "" => "required".to_owned(),
            name if gates[..at].contains(gate) => format!("\"{name}\" is there twice"),
            _ => continue,
        };
        causes.push(Cause {
            field: format!("spec.schedulingGates[{at}].name"),
            message,
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::manifest;
    use serde_json::{Value, json};

    /// The fields that are wrong.
    fn wrong(object: &Value) -> Vec<String> {
        let causes = manifest(object.to_string().as_bytes()).err().map(|error| error.causes);
        causes.into_iter().flatten().map(|cause| cause.field).collect()
    }

    fn class(name: &str, more: Value) -> Value {
        let mut class =
            json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}});
        class
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap());
        class
    }

    #[test]
    fn users_classes_are_worth_a_thousand_million_at_most() {
        for (name, more, fields) in [
            (
                "a",
                json!({"value": 1_000_000_000, "globalDefault": true, "description": "x"}),
                &[][..],
            ),
            ("a", json!({"value": -5, "preemptionPolicy": "Never"}), &[]),
            ("a", json!({"value": 1_000_000_001}), &["value"]),
            (
                "a",
                json!({"value": 1, "preemptionPolicy": "never"}),
                &["preemptionPolicy"],
            ),
            ("a", json!({"value": "1"}), &["value"]),
            ("a", json!({}), &["value"]),
            ("system-mine", json!({"value": 1}), &["metadata.name"]),
            ("system-node-critical", json!({"value": 2_000_001_000}), &[]),
            ("system-node-critical", json!({"value": 5}), &["value"]),
        ] {
            assert_eq!(wrong(&class(name, more.clone())), fields, "{name} {more}");
        }
    }

    #[test]
    fn a_budget_says_one_amount() {
        let budget = |spec: Value| {
            wrong(
                &json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}),
            )
        };
        for spec in [
            json!({"minAvailable": 0}),
            json!({"minAvailable": "100%", "selector": {}}),
            json!({"maxUnavailable": "0%", "unhealthyPodEvictionPolicy": "AlwaysAllow"}),
            json!({}),
        ] {
            assert!(budget(spec.clone()).is_empty(), "{spec}");
        }
        for (spec, field) in [
            (json!({"minAvailable": 1, "maxUnavailable": 1}), "spec"),
            (json!({"minAvailable": -1}), "spec.minAvailable"),
            (json!({"maxUnavailable": "101%"}), "spec.maxUnavailable"),
            (json!({"maxUnavailable": "3"}), "spec.maxUnavailable"),
            (json!({"maxUnavailable": "+3%"}), "spec.maxUnavailable"),
            (
                json!({"unhealthyPodEvictionPolicy": "Always"}),
                "spec.unhealthyPodEvictionPolicy",
            ),
            (
                json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
                "spec.selector.matchExpressions[0].values",
            ),
        ] {
            assert!(budget(spec.clone()).contains(&field.to_owned()), "{spec}");
        }
    }

    #[test]
    fn a_group_has_one_member_at_least() {
        let group = |spec: Value| {
            wrong(
                &json!({"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup", "metadata": {"name": "g"}, "spec": spec}),
            )
        };
        assert!(group(json!({"minMember": 3, "minResources": {"cpu": "3"}, "scheduleTimeoutSeconds": 10})).is_empty());
        assert_eq!(group(json!({"minMember": 0})), ["spec.minMember"]);
        assert_eq!(group(json!({"minMember": "3"})), ["spec.minMember"]);
        assert_eq!(
            group(json!({"scheduleTimeoutSeconds": -1})),
            ["spec.scheduleTimeoutSeconds"]
        );
    }

    #[test]
    fn a_gated_pod_has_no_node_yet() {
        let pod = |spec: Value| {
            let mut spec = spec;
            spec["containers"] = json!([{"name": "c", "image": "i"}]);
            wrong(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}))
        };
        let gate = |name: &str| json!({ "name": name });
        assert!(pod(json!({"schedulingGates": [gate("a"), gate("b")]})).is_empty());
        assert!(pod(json!({"schedulingGates": [], "nodeName": "n"})).is_empty());
        assert_eq!(
            pod(json!({"schedulingGates": [gate("a")], "nodeName": "n"})),
            ["spec.nodeName"]
        );
        assert_eq!(
            pod(json!({"schedulingGates": [gate("a"), gate("a")]})),
            ["spec.schedulingGates[1].name"]
        );
    }
}
