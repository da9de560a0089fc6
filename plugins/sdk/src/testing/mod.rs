//! Tests of policies: a small cluster and traces for schedulers, golden cases for controllers, a node for plugins that run
//! on nodes.
mod ipam;
mod network;
pub mod placing;

pub use ipam::Addresses;
pub use network::{Datapath, Draw, Routing, Told, network_node};
pub use placing::{cluster, node, pod};

use crate::controller::{Controller, Key, Memory, Object, Plan};
use serde_json::{Value, json};
use std::path::Path;

/// Runs every case of a folder: each is a folder with a `case.json` (`key`, `nowMs`, `objects`) and the `plan.json` that
/// must come out. With `UPDATE_GOLDEN=1` in the environment the plans are written anew.
pub fn golden<C: Controller>(folder: &str) {
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("no golden cases in {folder}: {error}"))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("case.json").exists())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no golden cases in {folder}");
    let failed: Vec<String> = cases.iter().filter_map(|case| check::<C>(case).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn check<C: Controller>(folder: &Path) -> Result<(), String> {
    let case: Value = read(&folder.join("case.json"));
    let key = Key::from_json(&case["key"]);
    let now = case["nowMs"].as_u64().unwrap_or(1_772_366_400_000);
    let mut controller = C::default();
    controller
        .configure(&case["config"])
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut memory = Memory::from_json(&case["objects"]);
    let plan = controller
        .reconcile(&key, &memory, now)
        .unwrap_or_else(|error| Plan::failed(&error));
    let path = folder.join("plan.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let text = serde_json::to_string_pretty(&plan.to_json()).unwrap_or_default();
        std::fs::write(&path, text + "\n").map_err(|error| error.to_string())?;
    }
    if read(&path) != plan.to_json() {
        let found = serde_json::to_string_pretty(&plan.to_json()).unwrap_or_default();
        return Err(format!("{}: another plan came out:\n{found}", folder.display()));
    }
    // What was decided once is not decided again: a plan, done, leaves less to do until nothing is left.
    for _ in 0..10 {
        let plan = controller.reconcile(&key, &memory, now).unwrap_or_default();
        if plan.writes.is_empty() {
            return Ok(());
        }
        memory.carry_out(&plan);
    }
    Err(format!("{}: the controller never comes to rest", folder.display()))
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// A minimal object, for tests in code.
pub fn object(resource: &str, name: &str, spec: Value) -> Object {
    Object::new(
        Key::new(resource, "default", name),
        1,
        json!({"metadata": {"name": name, "namespace": "default",
        "uid": format!("uid-{name}")}, "spec": spec}),
    )
}
