//! Keys and objects as a controller reads them.
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Names an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The plural with its group: `pods`, `deployments.apps`.
    pub resource: String,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// From `{"resource", "namespace", "name"}`.
    pub fn from_json(json: &Value) -> Self {
        let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
        Key {
            resource: text("resource"),
            namespace: text("namespace"),
            name: text("name"),
        }
    }
}

/// An object of the snapshot: Kubernetes' JSON, with the fields that controllers read most.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub key: Key,
    pub revision: u64,
    pub json: Value,
}

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl Object {
    pub fn new(key: Key, revision: u64, json: Value) -> Self {
        Object { key, revision, json }
    }

    fn meta(&self, field: &str) -> &Value {
        &self.json["metadata"][field]
    }

    pub fn name(&self) -> &str {
        &self.key.name
    }

    pub fn uid(&self) -> &str {
        self.meta("uid").as_str().unwrap_or_default()
    }

    pub fn generation(&self) -> i64 {
        self.meta("generation").as_i64().unwrap_or_default()
    }

    /// When it was made, in milliseconds of Unix time.
    pub fn created_ms(&self) -> u64 {
        self.meta("creationTimestamp")
            .as_str()
            .and_then(crate::time::parse)
            .unwrap_or_default()
    }

    pub fn is_deleting(&self) -> bool {
        !self.meta("deletionTimestamp").is_null()
    }

    pub fn labels(&self) -> &Map<String, Value> {
        self.meta("labels").as_object().unwrap_or(&EMPTY)
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.meta("annotations")[name].as_str()
    }

    pub fn finalizers(&self) -> Vec<&str> {
        self.meta("finalizers")
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    pub fn owners(&self) -> &[Value] {
        self.meta("ownerReferences").as_array().map_or(&[], Vec::as_slice)
    }

    /// The uid of the owner that controls it.
    pub fn controller(&self) -> Option<&str> {
        self.owners()
            .iter()
            .find(|owner| owner["controller"] == true)
            .and_then(|owner| owner["uid"].as_str())
    }

    pub fn spec(&self) -> &Value {
        &self.json["spec"]
    }

    pub fn status(&self) -> &Value {
        &self.json["status"]
    }

    /// A number at a JSON pointer within the spec, or what it is where it is absent.
    pub fn spec_number(&self, pointer: &str, absent: i64) -> i64 {
        self.spec().pointer(pointer).and_then(Value::as_i64).unwrap_or(absent)
    }

    /// The reference that makes another object this one's, controlled by it.
    pub fn as_controller(&self) -> Value {
        json!({
            "apiVersion": self.json["apiVersion"], "kind": self.json["kind"], "name": self.name(), "uid": self.uid(),
            "controller": true, "blockOwnerDeletion": true,
        })
    }

    /// Whether a condition of its status has a status.
    pub fn has_condition(&self, kind: &str, status: &str) -> bool {
        self.condition(kind)
            .is_some_and(|condition| condition["status"] == status)
    }

    pub fn condition(&self, kind: &str) -> Option<&Value> {
        self.status()["conditions"]
            .as_array()?
            .iter()
            .find(|condition| condition["type"] == kind)
    }

    /// A pod's phase; `Pending` before anybody has said another.
    pub fn phase(&self) -> &str {
        self.status()["phase"].as_str().unwrap_or("Pending")
    }

    /// Whether a manifest's selector (matchLabels, matchExpressions) takes it.
    pub fn matches(&self, selector: &Value) -> bool {
        let labels = self.labels();
        let equal = selector["matchLabels"].as_object().unwrap_or(&EMPTY);
        let expressions = selector["matchExpressions"].as_array().map_or(&[][..], Vec::as_slice);
        if equal.is_empty() && expressions.is_empty() {
            return false;
        }
        equal.iter().all(|(name, value)| labels.get(name) == Some(value))
            && expressions.iter().all(|expression| {
                let value = expression["key"].as_str().and_then(|key| labels.get(key));
                let listed = || {
                    expression["values"]
                        .as_array()
                        .is_some_and(|all| value.is_some_and(|v| all.contains(v)))
                };
                match expression["operator"].as_str().unwrap_or_default() {
                    "In" => listed(),
                    "NotIn" => !listed(),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}
