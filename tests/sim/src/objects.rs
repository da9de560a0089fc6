//! The objects that clients write, and what is read of them.
use crate::history::Cell;
use sampan_api::{Key, Object, Write, kinds, plan::Operation, plugin};
use serde_json::{Value, json};

/// Nodes there are, and how many pods one takes.
pub const NODES: u64 = 3;
pub const PODS_OF_A_NODE: u64 = 3;

/// Plugins there are for the one slot.
pub const PLUGINS: u64 = 3;

const NAMESPACE: &str = sampan_api::DEFAULT_NAMESPACE;

fn object(resource: &str, namespace: &str, name: &str) -> Object {
    let nameless = Object {
        metadata: sampan_api::Meta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..Default::default()
        },
        ..Object::default()
    };
    kinds::of_resource(resource).map_or(nameless, |kind| Object::new(kind, namespace, name))
}

pub fn cell_key(cell: Cell) -> Key {
    Key::new("configmaps", NAMESPACE, &format!("c{cell}"))
}

pub fn cell_create(cell: Cell, value: u64) -> Write {
    let key = cell_key(cell);
    let object = object("configmaps", NAMESPACE, &key.name).with_field("data", &data(value));
    Write::new(key, Operation::Create(object))
}

pub fn cell_put(cell: Cell, value: u64) -> Write {
    Write::new(cell_key(cell), Operation::Merge(json!({ "data": data(value) })))
}

pub fn cell_delete(cell: Cell) -> Write {
    Write::new(cell_key(cell), Operation::Delete(sampan_api::plan::Deletion::default()))
}

fn data(value: u64) -> Value {
    json!({ "v": value.to_string() })
}

/// The value of a cell's object; 0 if it has none.
pub fn value_of(object: &Object) -> u64 {
    let value = object.field_value("data")["v"]
        .as_str()
        .and_then(|text| text.parse().ok());
    value.unwrap_or_default()
}

/// A pod to be made, with a name that the kernel gives. `operation` is unlike any other's.
pub fn pod_create(operation: &str) -> Write {
    let mut pod = object("pods", NAMESPACE, "");
    pod.metadata.generate_name = "p-".to_owned();
    pod.metadata.labels.insert("op".to_owned(), operation.to_owned());
    let pod = pod.with_field("spec", &json!({ "containers": [] }));
    Write::new(Key::new("pods", NAMESPACE, ""), Operation::Create(pod))
}

/// The node a pod is bound to; empty for none.
pub fn node_of(pod: &Object) -> String {
    pod.field_value("spec")["nodeName"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

pub fn node_name(number: u64) -> String {
    format!("n{number}")
}

pub fn plugin_key(number: u64) -> Key {
    Key::new(plugin::RESOURCE, "", &format!("g{number}"))
}

pub fn plugin_mode(number: u64, mode: plugin::Mode) -> Write {
    Write::new(
        plugin_key(number),
        Operation::Merge(json!({ "spec": { "mode": mode } })),
    )
}

/// All that is there before clients begin.
pub fn beginning() -> Vec<Write> {
    let create = |resource: &str, object: Object| {
        let key = Key::new(resource, "", &object.metadata.name);
        Write::new(key, Operation::Create(object))
    };
    let mut writes = vec![create("namespaces", object("namespaces", "", NAMESPACE))];
    for number in 0..NODES {
        let room = json!({ "allocatable": { "cpu": "100", "memory": "1Ti", "pods": PODS_OF_A_NODE.to_string() } });
        let node = object("nodes", "", &node_name(number)).with_field("status", &room);
        writes.push(create("nodes", node));
    }
    for number in 0..PLUGINS {
        let mode = if number == 0 {
            plugin::Mode::Active
        } else {
            plugin::Mode::Standby
        };
        let spec = plugin::PluginSpec {
            digest: format!("sha256:{number:064x}"),
            slot: plugin::DEFAULT_SCHEDULER.to_owned(),
            mode,
            ..plugin::PluginSpec::default()
        };
        let plugin = object(plugin::RESOURCE, "", &plugin_key(number).name).with_field("spec", &spec);
        writes.push(create(plugin::RESOURCE, plugin));
    }
    writes
}
