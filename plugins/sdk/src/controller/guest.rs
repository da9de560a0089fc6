//! Between a [`Controller`] and the generated contract: what `export_controller!` calls.
use super::{
    Controller, Key, Object, Operation, Plan, Query, Snapshot, Watch,
    bindings::sampan::controller::{reader, types},
    read,
};

/// A controller as the contract wants it.
#[derive(Default)]
pub struct Reconciler<C> {
    policy: C,
}

/// The kernel's snapshot.
pub struct Host<'a>(&'a reader::Snapshot);

impl<C: Controller> Reconciler<C> {
    /// Hands the policy its config.
    ///
    /// # Errors
    /// If it is not JSON, or the policy refuses it.
    pub fn configure(&mut self, config: &str) -> Result<(), String> {
        let config = serde_json::from_str(config).map_err(|error| format!("the config is not JSON: {error}"))?;
        self.policy.configure(&config)
    }

    pub fn watches(&self) -> Vec<types::Watch> {
        let watch = |watch: Watch| {
            let (resource, mapping) = match watch {
                Watch::Itself(resource) => (resource, types::Mapping::Itself),
                Watch::Owner(resource) => (resource, types::Mapping::Owner),
                Watch::Dependents(resource) => (resource, types::Mapping::Dependents),
                Watch::Selected(_) => return None,
            };
            Some(types::Watch {
                resource: resource.to_owned(),
                mapping,
            })
        };
        C::watches().into_iter().filter_map(watch).collect()
    }

    pub fn selects(&self) -> Vec<String> {
        let selected = |watch: Watch| match watch {
            Watch::Selected(resource) => Some(resource.to_owned()),
            _ => None,
        };
        C::watches().into_iter().filter_map(selected).collect()
    }

    /// Decides for keys; one plan for all of them.
    ///
    /// # Errors
    /// The policy's own.
    pub fn reconcile(
        &self,
        keys: Vec<types::Key>,
        snapshot: &reader::Snapshot,
        now_ms: u64,
    ) -> Result<types::Plan, String> {
        let mut all = Plan::default();
        for key in keys {
            let key = Key {
                resource: key.resource,
                namespace: key.namespace,
                name: key.name,
            };
            let mut plan = self.policy.reconcile(&key, &Host(snapshot), now_ms)?;
            all.writes.append(&mut plan.writes);
            all.events.append(&mut plan.events);
            all.wake_ups.append(&mut plan.wake_ups);
        }
        Ok(guest_plan(all))
    }
}

impl Snapshot for Host<'_> {
    fn get(&self, key: &Key) -> Option<Object> {
        self.0.get(&guest_key(key)).map(|found| object(found, &[]))
    }

    fn list(&self, query: &Query) -> Vec<Object> {
        self.0
            .list(&guest_query(query))
            .into_iter()
            .map(|found| object(found, query.fields))
            .collect()
    }

    fn count(&self, query: &Query) -> usize {
        self.0.count(&guest_query(query)) as usize
    }
}

fn object(object: types::Object, fields: &[&str]) -> Object {
    let key = Key {
        resource: object.key.resource,
        namespace: object.key.namespace,
        name: object.key.name,
    };
    Object::new(key, object.revision, read::parse(&object.json, fields))
}

fn guest_key(key: &Key) -> types::Key {
    types::Key {
        resource: key.resource.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

fn label(key: &str, value: &str) -> types::Label {
    types::Label {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn guest_query(query: &Query) -> types::Query {
    types::Query {
        resource: query.resource.clone(),
        namespace: query.namespace.clone(),
        owner: query.owner.clone(),
        on_node: query.on_node.clone(),
        labels: query.labels.iter().map(|(key, value)| label(key, value)).collect(),
    }
}

fn guest_plan(plan: Plan) -> types::Plan {
    let write = |write: super::Write| types::Write {
        key: guest_key(&write.key),
        operation: match write.operation {
            Operation::Create(json) => types::Operation::Create(json.to_string()),
            Operation::Patch(json) => types::Operation::Patch(json.to_string()),
            Operation::PatchStatus(json) => types::Operation::PatchStatus(json.to_string()),
            Operation::Delete => types::Operation::Delete,
        },
        expect: (write.expect > 0).then_some(write.expect),
    };
    let event = |event: super::Event| types::Event {
        about: guest_key(&event.about),
        severity: if event.warning {
            types::Severity::Warning
        } else {
            types::Severity::Normal
        },
        reason: event.reason,
        message: event.message,
    };
    types::Plan {
        writes: plan.writes.into_iter().map(write).collect(),
        events: plan.events.into_iter().map(event).collect(),
        wake_ups: plan
            .wake_ups
            .iter()
            .map(|(key, after_ms)| types::WakeUp {
                key: guest_key(key),
                after_ms: *after_ms,
            })
            .collect(),
    }
}
