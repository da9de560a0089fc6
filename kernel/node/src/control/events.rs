//! Events, as Kubernetes' users know them: what repeats is counted in one object.
use crate::reconcile::Millis;
use sampan_api::{DEFAULT_NAMESPACE, Key, Object, Operation, Plan, Write, kinds, time::Timestamp};
use serde_json::json;
use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
};

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub api_version: &'static str,
    pub kind: &'static str,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    pub about: About,
    /// `spec.containers{web}`, or empty.
    pub field_path: String,
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
    pub at: Millis,
}

/// More than these are not counted apart: the oldest are told as new ones.
const REMEMBERED: usize = 4096;

/// What was told before, to count it.
pub(super) struct Ledger {
    node: String,
    /// Makes names of this run differ from those of the one before.
    salt: u64,
    told: HashMap<String, Told>,
}

struct Told {
    count: u32,
    first: Millis,
}

impl Ledger {
    pub(super) fn new(node: &str, salt: u64) -> Self {
        Ledger {
            node: node.to_owned(),
            salt,
            told: HashMap::new(),
        }
    }

    /// The write that tells it.
    pub(super) fn plan(&mut self, event: &NodeEvent) -> Plan {
        let name = self.name(event);
        if self.told.len() >= REMEMBERED {
            self.told.clear();
            self.salt = self.salt.wrapping_add(1);
        }
        let told = self.told.entry(name.clone()).or_insert(Told {
            count: 0,
            first: event.at,
        });
        told.count += 1;
        let last = Timestamp::from_millis(event.at);
        let kind = kinds::of_resource("events");
        let about = &event.about;
        let namespace = match about.namespace.as_str() {
            "" => DEFAULT_NAMESPACE,
            namespace => namespace,
        };
        let key = Key::new("events", namespace, &name);
        if told.count > 1 {
            let patch = json!({"count": told.count, "lastTimestamp": last});
            return Write::new(key, Operation::Merge(patch)).into();
        }
        let mut object = kind.map(|kind| Object::new(kind, namespace, &name)).unwrap_or_default();
        object.set_field(
            "involvedObject",
            &json!({
                "apiVersion": about.api_version, "kind": about.kind, "namespace": about.namespace, "name": about.name,
                "uid": about.uid, "fieldPath": event.field_path,
            }),
        );
        object.set_field("type", if event.warning { "Warning" } else { "Normal" });
        object.set_field("reason", event.reason);
        object.set_field("message", &cut(&event.message));
        object.set_field("count", &told.count);
        object.set_field("firstTimestamp", &Timestamp::from_millis(told.first));
        object.set_field("lastTimestamp", &last);
        object.set_field("source", &json!({"component": "kubelet", "host": self.node}));
        object.set_field("reportingComponent", "kubelet");
        object.set_field("reportingInstance", self.node.as_str());
        Write::new(key, Operation::Create(object)).into()
    }

    fn name(&self, event: &NodeEvent) -> String {
        let mut hasher = std::hash::DefaultHasher::new();
        (
            self.salt,
            &event.about.uid,
            &event.field_path,
            event.reason,
            &event.message,
        )
            .hash(&mut hasher);
        let about: String = event.about.name.chars().take(200).collect();
        format!("{about}.{:016x}", hasher.finish())
    }
}

/// Kubernetes' limit of a message.
fn cut(message: &str) -> String {
    message.chars().take(1024).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_counted() {
        let mut ledger = Ledger::new("n1", 7);
        let mut event = NodeEvent {
            about: About {
                api_version: "v1",
                kind: "Pod",
                namespace: "default".into(),
                name: "web".into(),
                uid: "u1".into(),
            },
            field_path: "spec.containers{web}".into(),
            warning: true,
            reason: "BackOff",
            message: "Back-off".into(),
            at: 1_772_366_400_000,
        };
        let first = ledger.plan(&event).writes.remove(0);
        let Operation::Create(object) = &first.operation else {
            panic!("{first:?}")
        };
        let typed: k8s_openapi::api::core::v1::Event = object.typed().unwrap();
        assert_eq!(
            (typed.count, typed.reason.as_deref(), typed.type_.as_deref()),
            (Some(1), Some("BackOff"), Some("Warning"))
        );
        assert_eq!(
            typed.involved_object.field_path.as_deref(),
            Some("spec.containers{web}")
        );
        event.at += 5000;
        let second = ledger.plan(&event).writes.remove(0);
        assert_eq!(second.key, first.key);
        let patch = json!({"count": 2, "lastTimestamp": "2026-03-01T12:00:05Z"});
        assert_eq!(second.operation, Operation::Merge(patch));
        event.message = "other".into();
        assert_ne!(ledger.plan(&event).writes[0].key, first.key);
    }
}
