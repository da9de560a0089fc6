//! Fields that cannot be changed once an object is there.
use sampan_api::{ApiError, Cause, Object};
use serde_json::Value;

/// Whether a change leaves alone what must stay.
///
/// # Errors
/// `Invalid`, naming each field that must not be changed.
pub fn changed(stored: &Object, next: &Object) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    let mut fixed = |field: &str, why: &str| {
        causes.push(Cause {
            field: field.to_owned(),
            message: format!("field is immutable{why}"),
        });
    };
    let spec = |object: &Object| object.field_value("spec");
    match stored.kind.as_str() {
        "Deployment" | "ReplicaSet" if spec(stored)["selector"] != spec(next)["selector"] => {
            fixed("spec.selector", ": delete the object and create it again");
        }
        "Job" => {
            for field in ["selector", "template", "completionMode"] {
                if spec(stored)[field] != spec(next)[field] {
                    fixed(&format!("spec.{field}"), ": delete the job and create it again");
                }
            }
        }
        // Between an external name and an address there is a choice; other addresses are known to clients.
        "Service" => {
            let has_address = |spec: &Value| spec["clusterIP"].as_str().is_some_and(|address| !address.is_empty());
            let (stored, next) = (spec(stored), spec(next));
            if has_address(&stored) && has_address(&next) && stored["clusterIP"] != next["clusterIP"] {
                fixed("spec.clusterIP", ": delete the Service and create it again");
            }
            // That of a second family may come and go.
            let second = |spec: &Value| spec["clusterIPs"][1].as_str().map(str::to_owned);
            if let (Some(stored), Some(next)) = (second(&stored), second(&next))
                && stored != next
            {
                fixed("spec.clusterIPs[1]", ": delete the Service and create it again");
            }
        }
        "IngressClass" if spec(stored)["controller"] != spec(next)["controller"] => {
            fixed("spec.controller", ": delete the object and create it again");
        }
        "PriorityClass" => {
            if stored.field_value("value") != next.field_value("value") {
                fixed("value", ": may not be changed in an update");
            }
            if preemption(stored) != preemption(next) {
                fixed("preemptionPolicy", "");
            }
        }
        "Pod" => pod(&spec(stored), &spec(next), &mut fixed),
        "Secret" | "ConfigMap" if stored.field_value("immutable") == true => {
            for field in ["data", "binaryData", "immutable"] {
                if stored.field_value(field) != next.field_value(field) {
                    fixed(field, ": the object says that it is immutable");
                }
            }
        }
        _ => {}
    }
    if stored.kind == "Secret" && stored.field_value("type") != next.field_value("type") {
        fixed("type", "");
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(
        format!("{} \"{}\" is invalid", stored.kind, stored.metadata.name),
        causes,
    ))
}

/// What a PriorityClass says, or is taken to say.
fn preemption(class: &Object) -> Value {
    match class.field_value("preemptionPolicy") {
        Value::Null => sampan_state::priority::PREEMPTS.into(),
        said => said,
    }
}

/// Of a pod that runs, only images, the deadline and further tolerations may change; of any, a binding gives the node.
fn pod(stored: &Value, next: &Value, fixed: &mut impl FnMut(&str, &str)) {
    if stored["nodeName"] != next["nodeName"] {
        return fixed("spec.nodeName", ": only a binding gives a pod its node");
    }
    for field in ["priority", "priorityClassName", "preemptionPolicy"] {
        if stored[field] != next[field] {
            fixed(&format!("spec.{field}"), ": the class it was made with decides");
        }
    }
    let gates = |spec: &Value| spec["schedulingGates"].as_array().cloned().unwrap_or_default();
    let were = gates(stored);
    if gates(next).iter().any(|gate| !were.contains(gate)) {
        fixed("spec.schedulingGates", ": only deletion is allowed");
    }
    if stored["nodeName"].as_str().is_none_or(str::is_empty) {
        return;
    }
    let tolerations = |spec: &Value| spec["tolerations"].as_array().cloned().unwrap_or_default();
    let now = tolerations(next);
    if tolerations(stored).iter().any(|toleration| !now.contains(toleration)) {
        fixed("spec.tolerations", ": tolerations can only be added");
    }
    let (stored, next) = (comparable(stored), comparable(next));
    let names = stored
        .keys()
        .chain(next.keys())
        .collect::<std::collections::BTreeSet<_>>();
    for name in names {
        if stored.get(name) != next.get(name) {
            fixed(
                &format!("spec.{name}"),
                ": of a pod that is bound only images, activeDeadlineSeconds and further tolerations can change",
            );
        }
    }
}

/// The spec without what may change.
fn comparable(spec: &Value) -> serde_json::Map<String, Value> {
    let mut spec = spec.as_object().cloned().unwrap_or_default();
    spec.remove("tolerations");
    spec.remove("activeDeadlineSeconds");
    for name in ["priority", "priorityClassName", "preemptionPolicy", "schedulingGates"] {
        spec.remove(name);
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.remove("image");
            }
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(kind: &str, stored: &Value, next: &Value) -> Vec<String> {
        let object = |value: &Value| {
            let mut value = value.clone();
            value["apiVersion"] = "v1".into();
            value["kind"] = kind.into();
            Object::from_value(&value).unwrap()
        };
        let result = changed(&object(stored), &object(next));
        result
            .err()
            .into_iter()
            .flat_map(|error| error.causes)
            .map(|cause| cause.field)
            .collect()
    }

    #[test]
    fn a_service_keeps_its_address() {
        let at = |address: Option<&str>| json!({"spec": {"clusterIP": address}});
        let (a, b) = (at(Some("10.96.0.9")), at(Some("10.96.0.10")));
        assert_eq!(fields("Service", &a, &b), ["spec.clusterIP"]);
        assert_eq!(fields("Service", &a, &at(Some("None"))), ["spec.clusterIP"]);
        for (stored, next) in [(&a, &a), (&a, &at(None)), (&at(None), &b)] {
            assert!(fields("Service", stored, next).is_empty());
        }
    }

    #[test]
    fn selectors_and_templates_stay() {
        let (a, b) = (
            json!({"spec": {"selector": 1, "template": 1}}),
            json!({"spec": {"selector": 2, "template": 2}}),
        );
        assert_eq!(fields("Deployment", &a, &b), ["spec.selector"]);
        assert_eq!(fields("Job", &a, &b), ["spec.selector", "spec.template"]);
        assert!(fields("Service", &a, &b).is_empty());
        let class = |name: &str| json!({"spec": {"controller": name, "parameters": name}});
        assert_eq!(fields("IngressClass", &class("a"), &class("b")), ["spec.controller"]);
    }

    #[test]
    fn a_bound_pod_changes_little() {
        let pod = |node: &str, image: &str, args: &str| json!({"spec": {"nodeName": node, "containers": [{"name": "a", "image": image, "args": [args]}]}});
        assert!(fields("Pod", &pod("n", "1", "x"), &pod("n", "2", "x")).is_empty());
        assert!(fields("Pod", &pod("", "1", "x"), &pod("", "1", "y")).is_empty());
        assert_eq!(
            fields("Pod", &pod("n", "1", "x"), &pod("n", "1", "y")),
            ["spec.containers"]
        );
        assert_eq!(
            fields("Pod", &pod("", "1", "x"), &pod("n", "1", "x")),
            ["spec.nodeName"]
        );
        let tolerant = |list: Value| json!({"spec": {"nodeName": "n", "tolerations": list}});
        assert!(fields("Pod", &tolerant(json!([1])), &tolerant(json!([1, 2]))).is_empty());
        assert_eq!(
            fields("Pod", &tolerant(json!([1])), &tolerant(json!([2]))),
            ["spec.tolerations"]
        );
    }

    #[test]
    fn a_pod_keeps_its_priority_and_gets_no_more_gates() {
        let pod = |priority: i32, gates: &[&str]| json!({"spec": {"priority": priority, "schedulingGates": gates}});
        assert!(fields("Pod", &pod(1, &["a", "b"]), &pod(1, &["b"])).is_empty());
        assert_eq!(fields("Pod", &pod(1, &[]), &pod(2, &[])), ["spec.priority"]);
        assert_eq!(
            fields("Pod", &pod(1, &["a"]), &pod(1, &["b"])),
            ["spec.schedulingGates"]
        );
        let class =
            |value: i32, policy: Value| json!({"value": value, "preemptionPolicy": policy, "description": value});
        assert_eq!(
            fields("PriorityClass", &class(1, json!(null)), &class(2, json!("Never"))),
            ["value", "preemptionPolicy"]
        );
        assert!(
            fields(
                "PriorityClass",
                &class(1, json!(null)),
                &class(1, json!("PreemptLowerPriority"))
            )
            .is_empty()
        );
    }

    #[test]
    fn what_says_it_is_immutable_is() {
        let data = |value: &str, immutable: bool| json!({"immutable": immutable, "data": {"a": value}});
        assert!(fields("ConfigMap", &data("1", false), &data("2", false)).is_empty());
        assert_eq!(fields("ConfigMap", &data("1", true), &data("2", true)), ["data"]);
        assert_eq!(fields("Secret", &data("1", true), &data("1", false)), ["immutable"]);
    }
}
