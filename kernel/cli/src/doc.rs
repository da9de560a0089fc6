//! A document: an object as the client holds it, a JSON tree and its kind.
use anyhow::Result;
use sampan_api::{ApiError, Key, KindInfo, kinds, rpc};
use serde_json::Value;

/// An object and its kind. Reading it never fails: what is absent is empty.
#[derive(Clone, Debug)]
pub struct Doc {
    pub kind: &'static KindInfo,
    pub value: Value,
}

impl Doc {
    /// # Errors
    /// `BadRequest` if the kind is not known.
    pub fn new(value: Value) -> Result<Self, ApiError> {
        let kind = kinds::of_manifest(text(&value, "/apiVersion"), text(&value, "/kind"))?;
        Ok(Doc { kind, value })
    }

    /// From the protocol's message.
    ///
    /// # Errors
    /// `BadRequest` if its JSON is none, or of a kind that is not known.
    pub fn from_message(message: &rpc::Object) -> Result<Self, ApiError> {
        let value = serde_json::from_slice(&message.json)
            .map_err(|e| ApiError::bad_request(format!("the server's answer is not valid JSON: {e}")))?;
        Self::new(value)
    }

    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Empty for objects of the whole cluster.
    pub fn namespace(&self) -> &str {
        if self.kind.namespaced {
            self.text("/metadata/namespace")
        } else {
            ""
        }
    }

    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    pub fn revision(&self) -> u64 {
        self.text("/metadata/resourceVersion").parse().unwrap_or(0)
    }

    pub fn key(&self) -> Key {
        Key::new(self.kind.resource, self.namespace(), self.name())
    }

    /// As kubectl names it: `deployment.apps/web`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", typed(self.kind), self.name())
    }

    /// The value at a JSON pointer; null where there is none.
    pub fn at(&self, pointer: &str) -> &Value {
        at(&self.value, pointer)
    }

    /// The text at a JSON pointer; empty where there is none.
    pub fn text(&self, pointer: &str) -> &str {
        text(&self.value, pointer)
    }

    /// The condition of that type, null where there is none.
    pub fn condition(&self, name: &str) -> &Value {
        condition(&self.value, name)
    }
}

/// `deployment.apps`: the singular with its group.
pub fn typed(kind: &KindInfo) -> String {
    let group = kind.resource.strip_prefix(kind.plural).unwrap_or_default();
    format!("{}{group}", kind.singular)
}

static NULL: Value = Value::Null;

/// The value at a JSON pointer; null where there is none.
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&NULL)
}

/// The text at a JSON pointer; empty where there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts of a list at a JSON pointer, with commas between them.
pub fn texts(value: &Value, pointer: &str) -> String {
    let all: Vec<&str> = list(value, pointer).iter().filter_map(Value::as_str).collect();
    all.join(",")
}

/// The map at a JSON pointer, in the order of its keys; empty where there is none.
pub fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    at(value, pointer).as_object().into_iter().flatten()
}

/// The number at a JSON pointer; 0 where there is none.
pub fn number(value: &Value, pointer: &str) -> i64 {
    at(value, pointer).as_i64().unwrap_or_default()
}

/// A scalar as text: strings without quotes, null as nothing.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The condition of that type in `status.conditions`, null where there is none.
pub fn condition<'a>(value: &'a Value, name: &str) -> &'a Value {
    let found = list(value, "/status/conditions").iter();
    found.into_iter().find(|c| c["type"] == name).unwrap_or(&NULL)
}

/// Whether the condition of that type is `True`.
pub fn is_true(value: &Value, name: &str) -> bool {
    condition(value, name)["status"] == "True"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_itself_as_kubectl_does() {
        let doc = Doc::new(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web",
            "namespace": "default", "resourceVersion": "7"}}),
        );
        let doc = doc.unwrap();
        assert_eq!(doc.full_name(), "deployment.apps/web");
        assert_eq!((doc.revision(), doc.key().path()), (7, "default/web".to_owned()));
        assert_eq!(doc.text("/spec/none"), "");
    }
}
