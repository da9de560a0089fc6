//! What a manifest must be before it is stored: known, of the right types, within the rules.
use crate::{ApiError, Cause, KindInfo, Object, Reason, kinds, rpc::FieldValidation};
use k8s_openapi::api::{
    apps::v1 as apps, batch::v1 as batch, core::v1 as core, discovery::v1 as discovery, networking::v1 as networking,
    policy::v1 as policy, scheduling::v1 as scheduling_types,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

mod hosts;
mod ingress;
mod names;
mod network;
mod pods;
pub mod scheduling;
mod services;
mod workloads;

pub use names::is_name;
use names::{bad_name, is_label_text};

/// Reads and checks a manifest. What is accepted but looks wrong comes back as warnings.
///
/// # Errors
/// `BadRequest` for a kind that is not known, `Invalid` naming each field that is wrong and what was expected.
pub fn manifest(json: &[u8]) -> Result<(Object, Vec<String>), ApiError> {
    let object = Object::from_json(json)?;
    let warnings = object_of(&object, json, FieldValidation::Warn)?;
    Ok((object, warnings))
}

/// As [`manifest`], of an object that was read from this JSON. Fields that its kind does not have are warnings, or refused,
/// or not spoken of.
///
/// # Errors
/// As [`manifest`], and `BadRequest` naming each unknown field where none is to be let in.
pub fn object_of(object: &Object, json: &[u8], unknown: FieldValidation) -> Result<Vec<String>, ApiError> {
    let kind = kinds::of_manifest(&object.api_version, &object.kind)?;
    let mut fields = Vec::new();
    let causes = match schema(kind, json, &mut fields) {
        Err(cause) => vec![cause],
        Ok(()) => rules(kind, object),
    };
    fields.retain(|field| !OUR_FIELDS.contains(&(kind.kind, field)));
    if causes.is_empty() {
        let mut warnings = unknown_fields(object, fields, unknown)?;
        if kind.kind == "NetworkPolicy" {
            network::doubts(&object.field_value("spec"), &mut warnings);
        }
        return Ok(warnings);
    }
    let name = if object.metadata.name.is_empty() {
        &object.metadata.generate_name
    } else {
        &object.metadata.name
    };
    Err(ApiError::invalid(
        format!("{} \"{name}\" is invalid", object.kind),
        causes,
    ))
}

/// What nodes say of themselves that Kubernetes has no field for: whoever edits one gives it back.
const OUR_FIELDS: [(&str, &str); 1] = [("Node", "status.daemonEndpoints.overlayEndpoint")];

/// What is to be said of fields that the kind does not have; in Kubernetes' words where they are refused.
fn unknown_fields(object: &Object, fields: Vec<String>, wanted: FieldValidation) -> Result<Vec<String>, ApiError> {
    let say = |field: &String| format!("unknown field \"{field}\"");
    match wanted {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict if !fields.is_empty() => {
            let version = object.api_version.rsplit('/').next().unwrap_or_default();
            let kind = &object.kind;
            let message =
                format!("{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error");
            let cause = |field: String| Cause {
                message: say(&field),
                field,
            };
            Err(ApiError {
                causes: fields.into_iter().map(cause).collect(),
                ..ApiError::new(Reason::BadRequest, message)
            })
        }
        _ => Ok(fields.iter().map(say).collect()),
    }
}

/// Whether the JSON has the kind's types; fields that it does not have are noted.
fn schema(kind: &KindInfo, json: &[u8], unknown: &mut Vec<String>) -> Result<(), Cause> {
    match kind.kind {
        "Pod" => typed::<core::Pod>(json, unknown),
        "Node" => typed::<core::Node>(json, unknown),
        "Namespace" => typed::<core::Namespace>(json, unknown),
        "Service" => typed::<core::Service>(json, unknown),
        "ConfigMap" => typed::<core::ConfigMap>(json, unknown),
        "Secret" => typed::<core::Secret>(json, unknown),
        "ServiceAccount" => typed::<core::ServiceAccount>(json, unknown),
        "Event" => typed::<core::Event>(json, unknown),
        "Deployment" => typed::<apps::Deployment>(json, unknown),
        "ReplicaSet" => typed::<apps::ReplicaSet>(json, unknown),
        "Job" => typed::<batch::Job>(json, unknown),
        "EndpointSlice" => typed::<discovery::EndpointSlice>(json, unknown),
        "NetworkPolicy" => typed::<networking::NetworkPolicy>(json, unknown),
        "Ingress" => typed::<networking::Ingress>(json, unknown),
        "IngressClass" => typed::<networking::IngressClass>(json, unknown),
        "PriorityClass" => typed::<scheduling_types::PriorityClass>(json, unknown),
        "PodGroup" => typed::<scheduling::PodGroup>(json, unknown),
        "PodDisruptionBudget" => typed::<policy::PodDisruptionBudget>(json, unknown),
        _ => Ok(()),
    }
}

fn typed<T: DeserializeOwned>(json: &[u8], unknown: &mut Vec<String>) -> Result<(), Cause> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(plain_path(&path.to_string()));
    let result: Result<T, _> = serde_ignored::deserialize(&mut reader, &mut note);
    result.map(drop).map_err(|error| Cause {
        field: wrong_path::<T>(json),
        message: plain_message(&error.to_string()),
    })
}

/// Where it is that JSON is no `T`. To keep track of that takes longer than all else of a check, so it is only done where
/// something is wrong.
fn wrong_path<T: DeserializeOwned>(json: &[u8]) -> String {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let result: Result<T, _> = serde_path_to_error::deserialize(&mut reader);
    result.map_or_else(|error| plain_path(&error.path().to_string()), |_| String::new())
}

/// A path as users write it: `spec.containers[0].image`. An `Option` on the way shows as `?`, and indices with a dot.
fn plain_path(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for part in path.split('.').filter(|part| *part != "?") {
        match part.parse::<usize>() {
            Ok(index) => plain.push_str(&format!("[{index}]")),
            Err(_) if plain.is_empty() => plain.push_str(part),
            Err(_) => plain.push_str(&format!(".{part}")),
        }
    }
    plain
}

/// The deserializer's words without its position in a JSON text that the user never saw.
fn plain_message(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

/// The rules beyond types.
fn rules(kind: &KindInfo, object: &Object) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(object, &mut causes);
    let spec = object.field_value("spec");
    match kind.kind {
        "Pod" => {
            pods::pod("spec", &spec, &["Always", "OnFailure", "Never"], &mut causes);
            scheduling::gates(&spec, &mut causes);
        }
        "Deployment" | "ReplicaSet" => workloads::replicated(&spec, &mut causes),
        "Job" => workloads::job(&spec, &mut causes),
        "Service" => services::service(object, &spec, &mut causes),
        "NetworkPolicy" => network::policy(&spec, &mut causes),
        "Node" => network::node(&spec, &mut causes),
        "Ingress" => ingress::ingress(object, &spec, &mut causes),
        "IngressClass" => ingress::class(&spec, &mut causes),
        "PriorityClass" => scheduling::priority_class(object, &mut causes),
        "PodGroup" => scheduling::pod_group(&spec, &mut causes),
        "PodDisruptionBudget" => scheduling::disruption_budget(&spec, &mut causes),
        _ => {}
    }
    causes
}

fn metadata(object: &Object, causes: &mut Vec<Cause>) {
    let meta = &object.metadata;
    let mut cause = |field: &str, message: String| {
        causes.push(Cause {
            field: format!("metadata.{field}"),
            message,
        })
    };
    match (meta.name.as_str(), meta.generate_name.as_str()) {
        ("", "") => cause("name", "required: name or generateName".to_owned()),
        ("", prefix) if !is_name(prefix.trim_end_matches('-')) => cause("generateName", bad_name(prefix)),
        (name, _) if !name.is_empty() && !is_name(name) => cause("name", bad_name(name)),
        _ => {}
    }
    if !meta.namespace.is_empty() && !is_name(&meta.namespace) {
        cause("namespace", bad_name(&meta.namespace));
    }
    for (key, value) in &meta.labels {
        let name = key.rsplit('/').next().unwrap_or_default();
        if !is_label_text(name) || name.is_empty() {
            cause(
                "labels",
                format!(
                    "\"{key}\" is no label key: at most 63 letters, digits, '-', '_' or '.', with an optional prefix and '/'"
                ),
            );
        }
        if !is_label_text(value) {
            cause(
                "labels",
                format!("\"{value}\" (of {key}) is no label value: at most 63 letters, digits, '-', '_' or '.'"),
            );
        }
    }
}

fn add(field: String, message: impl Into<String>, causes: &mut Vec<Cause>) {
    let message = message.into();
    causes.push(Cause { field, message });
}

/// The entries of a list, with their numbers; none where there is no list.
fn list(value: &Value) -> impl Iterator<Item = (usize, &Value)> {
    value.as_array().into_iter().flatten().enumerate()
}

fn not_negative(field: &str, value: &Value, causes: &mut Vec<Cause>) {
    if value.as_i64().is_some_and(|n| n < 0) {
        causes.push(Cause {
            field: field.to_owned(),
            message: format!("{value} is negative: expected 0 or more"),
        });
    }
}

fn one_of(field: &str, value: &Value, known: &[&str], causes: &mut Vec<Cause>) {
    let Some(text) = value.as_str() else { return };
    if !known.contains(&text) {
        let mut message = format!("\"{text}\" is not one of {}", known.join(", "));
        if let Some(near) = kinds::nearest(text, known.iter().copied()) {
            message.push_str(&format!(": did you mean \"{near}\"?"));
        }
        causes.push(Cause {
            field: field.to_owned(),
            message,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yamlish: Value) -> Result<Vec<String>, Vec<Cause>> {
        manifest(yamlish.to_string().as_bytes())
            .map(|(_, warnings)| warnings)
            .map_err(|e| e.causes)
    }

    fn deployment(replicas: Value) -> Value {
        serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web"}]}}}})
    }

    #[test]
    fn accepts_what_is_right() {
        assert_eq!(check(deployment(2.into())), Ok(vec![]));
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let causes = check(deployment((-1).into())).unwrap_err();
        assert_eq!(causes[0].field, "spec.replicas");
        let causes = check(deployment("two".into())).unwrap_err();
        assert_eq!(causes[0].field, "spec.replicas");
        assert!(causes[0].message.contains("invalid type"), "{causes:?}");
        let mut wrong = deployment(1.into());
        wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "always".into();
        let causes = check(wrong).unwrap_err();
        assert_eq!(causes[0].field, "spec.template.spec.containers[0].imagePullPolicy");
        assert!(causes[0].message.contains("did you mean \"Always\""), "{causes:?}");
    }

    #[test]
    fn warns_of_unknown_fields_by_path() {
        let mut odd = deployment(1.into());
        odd["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x".into();
        assert_eq!(
            check(odd),
            Ok(vec![
                "unknown field \"spec.template.spec.containers[0].imagee\"".to_owned()
            ])
        );
    }

    #[test]
    fn unknown_fields_are_refused_where_that_is_wanted() {
        let mut odd = deployment(1.into());
        odd["spec"]["replica"] = 3.into();
        odd["metadata"]["lables"] = serde_json::json!({});
        let checked = |value: &Value, wanted| {
            let json = value.to_string();
            object_of(&Object::from_json(json.as_bytes()).unwrap(), json.as_bytes(), wanted)
        };
        let error = checked(&odd, FieldValidation::Strict).unwrap_err();
        assert_eq!(error.reason, Reason::BadRequest);
        assert_eq!(
            error.message,
            "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error"
        );
        let causes: Vec<_> = error.causes.iter().map(|c| (&*c.field, &*c.message)).collect();
        assert_eq!(
            causes,
            [
                ("metadata.lables", "unknown field \"metadata.lables\""),
                ("spec.replica", "unknown field \"spec.replica\"")
            ]
        );
        assert_eq!(checked(&odd, FieldValidation::Ignore), Ok(vec![]));
        assert_eq!(checked(&odd, FieldValidation::Unspecified).unwrap().len(), 2);
        assert_eq!(checked(&deployment(1.into()), FieldValidation::Strict), Ok(vec![]));
        // A node as agents register it.
        let node = |field: &str| {
            serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
                "status": {"daemonEndpoints": {field: {"Port": 1}}}})
        };
        assert_eq!(checked(&node("overlayEndpoint"), FieldValidation::Strict), Ok(vec![]));
        assert!(checked(&node("overlayEndpiont"), FieldValidation::Strict).is_err());
    }
}
