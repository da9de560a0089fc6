//! What happens to a manifest before it is written: it is read within limits, completed, and checked.
use super::{
    fixed, nodes, scheduling,
    services::{self, ServiceRanges},
};
use crate::{
    features::{self, Feature},
    ranges,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sampan_api::{
    ApiError, Cause, Key, Object, Operation, Selection, Write, kinds,
    plugin::{self, Mode, PluginSpec, World},
    rpc::FieldValidation,
    validate,
};
use sampan_state::{Snapshot, claims, merge_patch, priority};
use serde_json::{Value, json};

/// How deep JSON may be nested.
const MAX_DEPTH: usize = 100;

/// Namespaces without which nothing works.
pub const LASTING_NAMESPACES: [&str; 2] = [sampan_api::DEFAULT_NAMESPACE, crate::SYSTEM_NAMESPACE];

/// The finalizer that keeps a namespace until what is in it is gone.
pub const NAMESPACE_FINALIZER: &str = "kubernetes";

/// A manifest that was let in.
#[derive(Debug)]
pub struct Manifest {
    pub key: Key,
    pub object: Object,
    /// What looks wrong, for the user.
    pub warnings: Vec<String>,
}

/// Reads, completes and checks a manifest. Its status, if it has one, is left as it is.
///
/// # Errors
/// As [`validate::object_of`], and for JSON that is nested too deeply.
pub fn read(json: &[u8], default_namespace: &str, unknown: FieldValidation) -> Result<Manifest, ApiError> {
    check_depth(json)?;
    let_in(Object::from_json(json)?, json, default_namespace, unknown)
}

/// As [`read`], of an object that was read from this JSON.
fn let_in(
    mut object: Object,
    json: &[u8],
    default_namespace: &str,
    unknown: FieldValidation,
) -> Result<Manifest, ApiError> {
    let warnings = validate::object_of(&object, json, unknown)?;
    let kind = object.kind_info()?;
    if !kind.namespaced {
        object.metadata.namespace.clear();
    } else if object.metadata.namespace.is_empty() {
        object.metadata.namespace = match default_namespace {
            "" => sampan_api::DEFAULT_NAMESPACE.to_owned(),
            namespace => namespace.to_owned(),
        };
    }
    complete(&mut object);
    Ok(Manifest {
        key: object.key()?,
        object,
        warnings,
    })
}

/// JSON that is nested so deeply that not everybody could read it is let nowhere.
///
/// # Errors
/// `BadRequest`.
pub fn check_depth(json: &[u8]) -> Result<(), ApiError> {
    // Nearly all have fewer brackets than that in all, which is soon seen: `{` and `[` differ in one bit, and sums of bytes
    // are what processors are good at.
    let brackets = |piece: &[u8]| piece.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    if json
        .chunks(128)
        .map(|piece| usize::from(brackets(piece)))
        .sum::<usize>()
        <= MAX_DEPTH
    {
        return Ok(());
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(ApiError::bad_request(format!(
                "the JSON is nested more than {MAX_DEPTH} deep"
            )));
        }
    }
    Ok(())
}

/// Fills in what Kubernetes' API server would.
fn complete(object: &mut Object) {
    match object.kind.as_str() {
        "Secret" => secret_texts(object),
        "PriorityClass" => scheduling::complete_class(object),
        "Plugin" => {
            let mut spec = object.field_value("spec");
            if spec["slot"].as_str().is_none_or(str::is_empty) && spec.is_object() {
                let known = World::ALL.into_iter().find(|world| spec["world"] == world.as_str());
                spec["slot"] = known.unwrap_or_default().slot_of(&object.metadata.name).into();
                object.set_field("spec", &spec);
            }
        }
        _ => {}
    }
}

/// A secret's texts become data.
fn secret_texts(secret: &mut Object) {
    let Value::Object(texts) = secret.field_value("stringData") else {
        return;
    };
    let mut data = secret.field_value("data").as_object().cloned().unwrap_or_default();
    for (name, text) in texts {
        data.insert(name, STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
    secret.fields.remove("stringData");
    secret.set_field("data", &data);
}

/// Makes a new object of a manifest: what only the cluster gives goes.
pub fn as_new(object: &mut Object) {
    object.fields.remove("status");
    object.metadata.deletion_timestamp = None;
    object.metadata.deletion_grace_period_seconds = None;
    if object.kind == "Namespace" {
        if !object
            .metadata
            .finalizers
            .iter()
            .any(|known| known == NAMESPACE_FINALIZER)
        {
            object.metadata.finalizers.push(NAMESPACE_FINALIZER.to_owned());
        }
        object
            .metadata
            .labels
            .insert("kubernetes.io/metadata.name".to_owned(), object.metadata.name.clone());
        object.set_field("status", &json!({"phase": "Active"}));
    }
}

/// Completes and checks an object as it would be stored, beside the one that is there and with the state around it.
///
/// # Errors
/// As [`validate::manifest`]; `Invalid` for fields that cannot be changed.
pub fn check(key: &Key, stored: Option<&Object>, next: &mut Object, state: &Snapshot) -> Result<(), ApiError> {
    features::admits(state, &key.resource)?;
    if let Some(stored) = stored {
        if (&stored.api_version, &stored.kind) != (&next.api_version, &next.kind) {
            let message = format!("{key} is a {} {}, and stays one", stored.api_version, stored.kind);
            return Err(ApiError::bad_request(message));
        }
        let json = next.to_json();
        check_depth(&json)?;
        as_sound_as(stored, &json)?;
        fixed::changed(stored, next)?;
    }
    if &*key.resource == claims::RESOURCE {
        services::complete(next, stored, state, &ServiceRanges::of(ranges::of(state).services))?;
    }
    if &*key.resource == "nodes" {
        nodes::check(next, stored, state)?;
    }
    if &*key.resource == plugin::RESOURCE {
        check_plugin(next, state)?;
    }
    if &*key.resource == priority::CLASSES {
        scheduling::one_default(next, state)?;
    }
    Ok(())
}

/// Checks what is to be in the place of a stored object. What was let in when there were fewer rules can still be changed, or
/// nobody could take a finalizer from it: only what is wrong anew is refused.
fn as_sound_as(stored: &Object, next: &[u8]) -> Result<(), ApiError> {
    let Err(error) = validate::manifest(next) else {
        return Ok(());
    };
    let known = validate::manifest(&stored.to_json()).map_or_else(|error| error.causes, |_| Vec::new());
    match !error.causes.is_empty() && error.causes.iter().all(|cause| known.contains(cause)) {
        true => Ok(()),
        false => Err(error),
    }
}

/// A Plugin object must be about bytes that are there, and at most one of a slot decides.
fn check_plugin(object: &Object, state: &Snapshot) -> Result<(), ApiError> {
    let spec: PluginSpec = object.field("spec")?;
    if spec.world.runs_on_nodes() {
        features::require(state, Feature::of_world(spec.world))?;
    }
    let mut causes = Vec::new();
    let mut cause = |field: &str, message: String| {
        causes.push(Cause {
            field: format!("spec.{field}"),
            message,
        })
    };
    if state.blob(&spec.digest).is_none() {
        let message = format!(
            "\"{}\" is not the digest of bytes that are kept: `sampan plugin load` brings them",
            spec.digest
        );
        cause("digest", message);
    }
    if let Some(grant) = spec.grants.first() {
        cause("grants", format!("\"{grant}\" cannot be granted: no grants exist yet"));
    }
    if let Some(wrong) = spec.wrong_slot() {
        cause("slot", wrong);
    }
    let plugins = Selection::of(plugin::RESOURCE);
    for (_, other) in state
        .list(&plugins)
        .filter(|(_, other)| other.metadata.name != object.metadata.name)
    {
        let its: PluginSpec = other.field("spec").unwrap_or_default();
        if spec.mode == Mode::Active && its.mode == Mode::Active && its.slot == spec.slot {
            let message = format!(
                "\"{}\" is active in the slot \"{}\": `sampan plugin activate` takes its place",
                other.metadata.name, spec.slot
            );
            cause("mode", message);
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(
        format!("Plugin \"{}\" is invalid", object.metadata.name),
        causes,
    ))
}

/// Lets a write of a plan in: as the verb of its own would be, with the write put in order. `json` is what its object was
/// read from, if it has one.
///
/// # Errors
/// As [`read`] and [`check`].
pub fn write(write: &mut Write, json: &[u8], state: &Snapshot) -> Result<(), ApiError> {
    let key = &write.key;
    let kind = kinds::of_resource(&key.resource).ok_or_else(|| match kinds::of_name(&key.resource) {
        Ok(kind) => ApiError::bad_request(format!(
            "a plan names resources in full: \"{}\", not \"{}\"",
            kind.resource, key.resource
        )),
        Err(error) => error,
    })?;
    if kind.namespaced == key.namespace.is_empty() {
        let rule = if kind.namespaced {
            "needs a namespace"
        } else {
            "has no namespace"
        };
        return Err(ApiError::bad_request(format!("{key}: a {} {rule}", kind.kind)));
    }
    match &mut write.operation {
        Operation::Create(object) => {
            check_depth(json)?;
            object.metadata.name = key.name.to_string();
            let mut manifest = let_in(std::mem::take(object), json, &key.namespace, FieldValidation::Ignore)?;
            check(key, None, &mut manifest.object, state)?;
            *object = manifest.object;
            let status = object.fields.remove("status");
            // Agents register nodes with their status; that of all else is made by those whose work it is.
            as_new(object);
            if let (Some(status), "nodes") = (status, &*key.resource) {
                object.fields.set("status", status);
            }
        }
        Operation::Replace(object) => {
            check_depth(json)?;
            let mut manifest = let_in(std::mem::take(object), json, &key.namespace, FieldValidation::Ignore)?;
            let stored = state.get(key);
            if let Some(stored) = &stored {
                scheduling::keep_priority(stored, &mut manifest.object);
            }
            check(key, stored.as_deref(), &mut manifest.object, state)?;
            *object = manifest.object;
        }
        Operation::Merge(patch) => {
            check_depth(patch.to_string().as_bytes())?;
            if let Some(stored) = &state.get(key) {
                let mut next = stored.to_value();
                merge_patch(&mut next, patch);
                check(key, Some(stored), &mut Object::from_value(&next)?, state)?;
            }
        }
        Operation::ReplaceStatus(object) => {
            let stored = state.get(key);
            let (uid, its) = (&object.metadata.uid, stored.as_ref().map(|stored| &stored.metadata.uid));
            if !uid.is_empty() && its.is_some_and(|its| its != uid) {
                return Err(ApiError::new(
                    sampan_api::Reason::Conflict,
                    format!("{key} is another object now"),
                ));
            }
            let status = object.fields.get("status").map_or("", |status| status.get());
            check_depth(status.as_bytes())?;
        }
        Operation::MergeStatus(patch) => check_depth(patch.to_string().as_bytes())?,
        Operation::Delete(_) => deletion(key)?,
        Operation::Bind(_) => {}
    }
    Ok(())
}

/// Whether a deletion may be asked for at all.
///
/// # Errors
/// `Forbidden` for what the cluster needs.
pub fn deletion(key: &Key) -> Result<(), ApiError> {
    if &*key.resource == "namespaces" && LASTING_NAMESPACES.contains(&&*key.name) {
        let message = format!("{key} cannot be deleted: the cluster needs it");
        return Err(ApiError::new(sampan_api::Reason::Forbidden, message));
    }
    scheduling::class_deletion(key)
}

/// A new namespace.
pub fn namespace(name: &str) -> Object {
    let mut object = Object {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        ..Object::default()
    };
    name.clone_into(&mut object.metadata.name);
    as_new(&mut object);
    object
}

/// An object of a tree, completed as a manifest is.
///
/// # Errors
/// `BadRequest` if it is no object.
pub fn object_of(value: &Value) -> Result<Object, ApiError> {
    let mut object = Object::from_value(value)?;
    complete(&mut object);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secrets_texts_become_data() {
        let secret = br#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"b":"eA=="},"stringData":{"a":"hi"}}"#;
        let manifest = read(secret, "team", FieldValidation::Strict).unwrap();
        assert_eq!(manifest.object.field_value("data"), json!({"a": "aGk=", "b": "eA=="}));
        assert!(!manifest.object.fields.contains("stringData"));
        assert_eq!(manifest.key, Key::new("secrets", "team", "s"));
    }

    #[test]
    fn deep_json_is_refused_wherever_it_is() {
        let deep = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c"}},"x":{}1{}}}"#,
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        assert!(
            read(deep.as_bytes(), "", FieldValidation::Strict)
                .unwrap_err()
                .message
                .contains("nested")
        );
        assert!(check_depth(br#"{"text": "[[[[\"[[{{"}"#).is_ok());
    }

    #[test]
    fn what_was_let_in_before_a_rule_can_still_be_changed() {
        let service = |protocol: &str, label: &str| {
            let value = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "9", "labels": {"a": label}},
                "spec": {"ports": [{"port": 1, "protocol": protocol}]}});
            Object::from_value(&value).unwrap()
        };
        let stored = service("ICMP", "a");
        let error = |next: Object| as_sound_as(&stored, &next.to_json()).err().map(|error| error.causes);
        assert_eq!(error(service("ICMP", "b")), None);
        assert_eq!(error(service("TCP", "b")), None);
        let causes = error(service("IGMP", "b")).unwrap();
        assert!(causes.iter().any(|cause| cause.message.contains("IGMP")), "{causes:?}");
        assert!(as_sound_as(&service("TCP", "a"), &service("ICMP", "a").to_json()).is_err());
    }

    #[test]
    fn a_namespace_has_its_finalizer() {
        let json = br#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n","namespace":"x"},"status":{"phase":"odd"}}"#;
        let mut object = read(json, "default", FieldValidation::Strict).unwrap().object;
        as_new(&mut object);
        assert_eq!(object.metadata.finalizers, [NAMESPACE_FINALIZER]);
        assert_eq!(object.metadata.namespace, "");
        assert_eq!(object.field_value("status"), json!({"phase": "Active"}));
    }
}
