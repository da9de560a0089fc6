//! A controller that does with a key what the key's name says.
wit_bindgen::generate!({
    path: ["../../../../../wit/lifecycle", "../../../../../wit/controller"],
    world: "sampan:controller/controller",
    generate_all,
});

use exports::sampan::{controller::policy, lifecycle::lifecycle};
use sampan::controller::{
    reader::Snapshot,
    types::{Event, Key, Mapping, Operation, Plan, Query, Severity, WakeUp, Watch, Write},
};

struct Guest;

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        lifecycle::Description {
            name: "guest".to_owned(),
            version: "0.1.0".to_owned(),
            summary: String::new(),
        }
    }

    fn configure(_: String) -> Result<(), String> {
        Ok(())
    }
}

impl policy::Guest for Guest {
    fn watches() -> Vec<Watch> {
        vec![Watch {
            resource: "configmaps".to_owned(),
            mapping: Mapping::Itself,
        }]
    }

    fn reconcile(keys: Vec<Key>, snapshot: &Snapshot, now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan {
            writes: Vec::new(),
            events: Vec::new(),
            wake_ups: Vec::new(),
        };
        for key in keys {
            if key.name == "refuse" {
                return Err("not now".to_owned());
            }
            if key.name == "many" {
                let write = Write {
                    key: key.clone(),
                    operation: Operation::Delete,
                    expect: None,
                };
                plan.writes = vec![write; 20_000];
                continue;
            }
            plan.writes.push(write(&key, snapshot));
            plan.events.push(Event {
                about: key.clone(),
                severity: Severity::Warning,
                reason: "Seen".to_owned(),
                message: format!("at {now_ms}"),
            });
            plan.wake_ups.push(WakeUp { key, after_ms: 1500 });
        }
        Ok(plan)
    }
}

fn write(key: &Key, snapshot: &Snapshot) -> Write {
    let json = |kind: &str, namespace: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"{kind}","metadata":{{"name":"{}","namespace":"{namespace}"}}}}"#,
            key.name
        )
    };
    let mut expect = None;
    let mut key = key.clone();
    let operation = match key.name.as_str() {
        "copy" => {
            let query = Query {
                resource: "configmaps".to_owned(),
                namespace: None,
                owner: None,
                on_node: None,
                labels: Vec::new(),
            };
            let listed = snapshot.list(&query).len();
            let counted = snapshot.count(&query);
            let found = snapshot.get(&key);
            expect = found.as_ref().map(|object| object.revision);
            let revision = snapshot.revision();
            Operation::Patch(format!(r#"{{"data":{{"seen":"{listed} {counted} {revision}"}}}}"#))
        }
        "broken" => Operation::Create("{".to_owned()),
        "list" => Operation::Patch("[1]".to_owned()),
        "kind" => Operation::Create(json("Secret", "default")),
        "elsewhere" => Operation::Create(json("ConfigMap", "kube-system")),
        "coup" => {
            key = Key {
                resource: "plugins.sampan.dev".to_owned(),
                namespace: String::new(),
                name: key.name,
            };
            Operation::Delete
        }
        "resource" => {
            key.resource = "gadgets".to_owned();
            Operation::Delete
        }
        _ => Operation::Create(json("ConfigMap", "default")),
    };
    Write { key, operation, expect }
}

export!(Guest);
