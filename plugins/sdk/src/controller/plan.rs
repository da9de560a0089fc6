//! What a controller decides.
use super::{Key, Object};
use serde_json::{Value, json};

/// What to do with an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Create(Value),
    /// A JSON merge patch of all but status.
    Patch(Value),
    /// The status, merged.
    PatchStatus(Value),
    Delete,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub key: Key,
    pub operation: Operation,
    /// The revision it was decided on; 0 is any.
    pub expect: u64,
}

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub about: Key,
    pub warning: bool,
    pub reason: String,
    pub message: String,
}

/// Writes that commit together, and what goes with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub writes: Vec<Write>,
    pub events: Vec<Event>,
    /// Keys to look at again, and after how many milliseconds.
    pub wake_ups: Vec<(Key, u64)>,
}

impl Plan {
    /// Makes an object of a resource, in a namespace; named by its metadata, or by the kernel after `generateName`.
    pub fn create(&mut self, resource: &str, namespace: &str, json: Value) {
        let name = json["metadata"]["name"].as_str().unwrap_or_default();
        let key = Key::new(resource, namespace, name);
        self.writes.push(Write {
            key,
            operation: Operation::Create(json),
            expect: 0,
        });
    }

    /// Changes an object as it was seen; nothing where nothing would change.
    pub fn patch(&mut self, object: &Object, patch: Value) {
        if changes(&object.json, &patch) {
            let operation = Operation::Patch(patch);
            self.writes.push(Write {
                key: object.key.clone(),
                operation,
                expect: object.revision,
            });
        }
    }

    /// Changes the status of an object as it was seen; nothing where nothing would change.
    pub fn patch_status(&mut self, object: &Object, status: Value) {
        if changes(object.status(), &status) {
            let operation = Operation::PatchStatus(json!({ "status": status }));
            self.writes.push(Write {
                key: object.key.clone(),
                operation,
                expect: 0,
            });
        }
    }

    pub fn delete(&mut self, object: &Object) {
        self.writes.push(Write {
            key: object.key.clone(),
            operation: Operation::Delete,
            expect: 0,
        });
    }

    pub fn normal(&mut self, about: &Object, reason: &str, message: String) {
        self.tell(about, false, reason, message);
    }

    pub fn warning(&mut self, about: &Object, reason: &str, message: String) {
        self.tell(about, true, reason, message);
    }

    fn tell(&mut self, about: &Object, warning: bool, reason: &str, message: String) {
        self.events.push(Event {
            about: about.key.clone(),
            warning,
            reason: reason.to_owned(),
            message,
        });
    }

    /// Asks to be called for a key again, after so many milliseconds.
    pub fn wake_up(&mut self, key: &Key, after_ms: u64) {
        self.wake_ups.push((key.clone(), after_ms));
    }

    /// What golden cases show of a reconciliation that failed.
    pub(crate) fn failed(error: &str) -> Self {
        let event = Event {
            about: Key::default(),
            warning: true,
            reason: "Error".into(),
            message: error.into(),
        };
        Plan {
            events: vec![event],
            ..Plan::default()
        }
    }

    /// As JSON, for golden cases.
    pub fn to_json(&self) -> Value {
        let key = |key: &Key| format!("{} {}/{}", key.resource, key.namespace, key.name);
        let writes = self.writes.iter().map(|write| match &write.operation {
            Operation::Create(json) => json!({"create": key(&write.key), "json": json}),
            Operation::Patch(patch) => json!({"patch": key(&write.key), "json": patch, "expect": write.expect}),
            Operation::PatchStatus(patch) => json!({"patchStatus": key(&write.key), "json": patch}),
            Operation::Delete => json!({"delete": key(&write.key)}),
        });
        let events = self
            .events
            .iter()
            .map(|event| format!("{}: {}", event.reason, event.message));
        let wake_ups = self.wake_ups.iter().map(|(wake, after)| json!([key(wake), after]));
        json!({
            "writes": writes.collect::<Vec<_>>(),
            "events": events.collect::<Vec<_>>(),
            "wakeUps": wake_ups.collect::<Vec<_>>(),
        })
    }
}

/// Whether a merge patch would change a value.
fn changes(value: &Value, patch: &Value) -> bool {
    match patch {
        Value::Object(fields) => fields.iter().any(|(name, patch)| match patch {
            Value::Null => !value[name].is_null(),
            Value::Object(_) if value[name].is_object() || value[name].is_null() => changes(&value[name], patch),
            other => value[name] != *other,
        }),
        other => value != other,
    }
}

/// Merges a patch (RFC 7386).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        match (value, target.as_object_mut()) {
            (Value::Null, Some(map)) => drop(map.remove(name)),
            (value, Some(map)) => merge(map.entry(name.clone()).or_insert(Value::Null), value),
            (_, None) => {}
        }
    }
}
