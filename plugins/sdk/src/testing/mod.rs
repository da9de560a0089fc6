//! Tests of policies, natively: a small cluster for schedulers, golden cases for controllers, a node for network plugins.
mod network;

pub use network::{Datapath, Draw, Routing, Told, network_node};

use crate::{
    controller::{Controller, Key, Memory, Object, Plan},
    scheduler::{Effect, Engine, Node, Outcome, Pod, Resources, Scheduler, Taint},
};
use serde_json::{Value, json};
use std::path::Path;

/// A node with these thousandths of CPU and bytes of memory, ready, with room for 110 pods.
pub fn node(id: u32, milli_cpu: u64, memory: u64) -> Node {
    let none = Resources {
        milli_cpu: 0,
        memory: 0,
        ephemeral_storage: 0,
        pods: 0,
    };
    Node {
        id,
        name: 0,
        allocatable: Resources {
            milli_cpu,
            memory,
            pods: 110,
            ..none
        },
        requested: none,
        labels: Vec::new(),
        taints: Vec::new(),
        unschedulable: false,
        ready: true,
    }
}

/// A pod that asks for these thousandths of CPU and bytes of memory. Its class follows from them.
pub fn pod(milli_cpu: u64, memory: u64) -> Pod {
    Pod {
        id: 0,
        requests: Resources {
            milli_cpu,
            memory,
            ephemeral_storage: 0,
            pods: 1,
        },
        node_selector: Vec::new(),
        tolerations: Vec::new(),
        priority: 0,
        class: u32::try_from((milli_cpu ^ memory) % 65_521).unwrap_or(0),
    }
}

pub fn taint(key: u32, effect: Effect) -> Taint {
    Taint { key, value: 0, effect }
}

/// A scheduler with its nodes.
pub struct Cluster<S> {
    pub engine: Engine<S>,
}

impl<S: Scheduler> Cluster<S> {
    pub fn new(nodes: Vec<Node>) -> Self {
        let mut engine = Engine::default();
        let deltas = nodes.into_iter().map(crate::scheduler::Delta::Node).collect();
        assert_eq!(engine.sync(0, 1, deltas), Ok(()));
        Cluster { engine }
    }

    /// Where each pod goes; `None` where no node will do.
    pub fn place(&mut self, pods: &[Pod]) -> Vec<Option<u32>> {
        let numbered: Vec<Pod> = pods
            .iter()
            .zip(0..)
            .map(|(pod, id)| Pod { id, ..pod.clone() })
            .collect();
        let outcomes = self
            .engine
            .place(&numbered)
            .into_iter()
            .map(|assignment| assignment.outcome);
        outcomes
            .map(|outcome| {
                if let Outcome::Bind(id) = outcome {
                    Some(id)
                } else {
                    None
                }
            })
            .collect()
    }
}

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
