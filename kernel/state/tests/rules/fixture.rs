//! A state machine with a clock of its own, and the objects the rules are tried on.
use sampan_api::{ApiError, Key, Object, Operation, Plan, Reason, Write, kinds};
use sampan_state::{Applied, Command, Committed, Store};
use serde_json::{Value, json};
use std::sync::Arc;

/// 2026-03-01T12:00:00Z and a bit, so that what drops the bit shows.
pub const START_MS: u64 = 1_772_366_400_123;

pub struct World {
    pub store: Store,
    pub index: u64,
    pub now_ms: u64,
    /// All that was applied, for playing it again.
    pub commands: Vec<Command>,
}

impl World {
    /// With the namespace `default`, which takes revision 1.
    pub fn new() -> Self {
        let mut world = World {
            store: Store::new("test"),
            index: 0,
            now_ms: START_MS,
            commands: Vec::new(),
        };
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
        world
    }

    /// A cluster in which a level of features is in force.
    pub fn at_level(level: u64) -> Self {
        let mut world = World::new();
        world.create(
            json!({"apiVersion": "sampan.dev/v1", "kind": "Cluster", "metadata": {"name": "cluster"},
            "status": {"level": level}}),
        );
        world
    }

    pub fn apply(&mut self, command: Command) -> Applied {
        self.index += 1;
        let applied = self.store.apply(self.index, command.clone());
        self.commands.push(command);
        applied
    }

    pub fn plans(&mut self, plans: Vec<Plan>) -> Applied {
        self.apply(Command {
            now_ms: self.now_ms,
            plans,
            ..Command::default()
        })
    }

    pub fn plan(&mut self, writes: Vec<Write>) -> Result<Committed, ApiError> {
        self.plans(vec![writes.into()]).results.remove(0)
    }

    pub fn write(&mut self, key: &Key, operation: Operation) -> Result<Committed, ApiError> {
        self.plan(vec![Write::new(key.clone(), operation)])
    }

    /// What must be accepted.
    pub fn create(&mut self, manifest: Value) -> Arc<Object> {
        self.try_create(manifest).unwrap().objects[0].clone().unwrap()
    }

    pub fn try_create(&mut self, manifest: Value) -> Result<Committed, ApiError> {
        self.plan(vec![create(manifest)])
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.store.snapshot().get(key)
    }

    pub fn revision(&self) -> u64 {
        self.store.snapshot().revision()
    }
}

pub fn object(manifest: &Value) -> Object {
    Object::from_value(manifest).unwrap()
}

/// The write that creates a manifest's object; its key may have no name.
pub fn create(manifest: Value) -> Write {
    let object = object(&manifest);
    Write::new(object.key().unwrap(), Operation::Create(object))
}

pub fn pod(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// A pod that asks for CPU and nothing else.
pub fn asking(name: &str, cpu: &str) -> Value {
    pod(
        name,
        json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}),
    )
}

pub fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

pub fn node(name: &str, spec: Value, cpu: &str, pods: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": pods}}})
}

pub fn key(resource: &str, name: &str) -> Key {
    let namespaced = kinds::of_resource(resource).unwrap().namespaced;
    Key::new(resource, if namespaced { "default" } else { "" }, name)
}

/// That something was refused for a reason, in words that contain some.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>, reason: Reason, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.reason, reason, "{error}");
    assert!(error.message.contains(words), "\"{error}\" does not say \"{words}\"");
}
