//! What is let in, and what is said to what is not.
use crate::{CONTROLLER, ENGINE, SCHEDULER};
use sampan_api::plugin::World;
use sampan_sandbox::{Limits, LoadError, PluginEngine};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;

fn load(bytes: &[u8]) -> Result<(), LoadError> {
    ENGINE
        .load(World::Scheduler, bytes, &Value::Null, Limits::default())
        .map(drop)
}

fn refusal(bytes: &[u8]) -> String {
    load(bytes).unwrap_err().to_string()
}

#[test]
fn a_plugin_is_inspected_and_loaded() {
    let seen = ENGINE.inspect(&SCHEDULER);
    assert_eq!(seen.problems, Vec::<String>::new());
    assert_eq!(seen.world, Some(World::Scheduler));
    assert_eq!(seen.description.name, "guest");
    // One line, whatever it says.
    assert_eq!(seen.description.summary, "does asit is told");
    assert_eq!((seen.size, seen.digest.len()), (SCHEDULER.len(), 71));
    assert!(
        seen.exports.contains(&"sampan:scheduler/policy@0.1.0".to_owned()),
        "{:?}",
        seen.exports
    );
    assert_eq!(ENGINE.inspect(&CONTROLLER).world, Some(World::Controller));
    load(&SCHEDULER).unwrap();
}

#[test]
fn what_is_no_component_is_told_so() {
    assert!(refusal(b"").contains("no WebAssembly component"), "{}", refusal(b""));
    assert!(refusal(b"#!/bin/sh").contains("do not begin as WebAssembly does"));
    assert!(refusal(&wat::parse_str("(module)").unwrap()).contains("wasm-tools component new"));
    let mut torn = SCHEDULER.clone();
    torn.truncate(torn.len() / 2);
    assert!(
        refusal(&torn).contains("no WebAssembly component"),
        "{}",
        refusal(&torn)
    );
    let small = Limits {
        component: 1000,
        ..Limits::default()
    };
    let large = ENGINE
        .load(World::Scheduler, &SCHEDULER, &Value::Null, small)
        .map(drop)
        .unwrap_err();
    assert!(large.to_string().contains("1000 are the limit"), "{large}");
}

#[test]
fn a_world_is_told_by_its_exports() {
    assert!(refusal(&wat::parse_str("(component)").unwrap()).contains("nothing at all"));
    let wrong = refusal(&CONTROLLER);
    assert!(wrong.contains("for the world controller, not scheduler"), "{wrong}");
    // By name a scheduler, by type none.
    let empty = wat::parse_str(r#"(component (instance $i) (export "sampan:scheduler/policy@0.1.0" (instance $i)))"#);
    let empty = refusal(&empty.unwrap());
    assert!(empty.contains("does not keep the contract"), "{empty}");
}

#[test]
fn an_import_that_was_not_granted_is_named() {
    let greedy = wat::parse_str(
        r#"(component
            (import "wasi:sockets/tcp@0.2.0" (instance))
            (instance $i)
            (export "sampan:scheduler/policy@0.1.0" (instance $i)))"#,
    );
    let greedy = greedy.unwrap();
    assert!(
        refusal(&greedy).contains("imports wasi:sockets/tcp@0.2.0, which was not granted"),
        "{}",
        refusal(&greedy)
    );
    let seen = ENGINE.inspect(&greedy);
    assert_eq!(seen.imports, ["wasi:sockets/tcp@0.2.0"]);
    assert!(
        seen.problems[0].contains("wasi:sockets/tcp@0.2.0"),
        "{:?}",
        seen.problems
    );
    assert_eq!(seen.description.name, "");
}

#[test]
fn a_configuration_that_is_refused_is_said_in_the_plugins_words() {
    let load = |config: Value| {
        ENGINE
            .load(World::Scheduler, &SCHEDULER, &config, Limits::default())
            .map(drop)
    };
    let refused = load(json!({ "mode": "refuse" })).unwrap_err().to_string();
    assert_eq!(refused, "it refuses its configuration: it does not like \"refuse\"");
    let trapped = load(json!("trap-at-start")).unwrap_err().to_string();
    assert!(
        trapped.starts_with("it fails when it is started: it trapped"),
        "{trapped}"
    );
    let long = ENGINE
        .load(World::Scheduler, &SCHEDULER, &json!("long"), Limits::default())
        .unwrap();
    assert_eq!(long.description().summary.len(), 256);
    assert!(long.controller().is_err());
}

#[test]
fn memory_that_it_asks_for_at_once_is_refused() {
    let small = Limits {
        memory: 64 << 10,
        ..Limits::default()
    };
    let error = ENGINE
        .load(World::Scheduler, &SCHEDULER, &Value::Null, small)
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().contains("MiB of memory"), "{error}");
}

#[test]
fn it_is_compiled_once() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("wasm");
    let load = || {
        let engine = PluginEngine::new(Some(dir.clone())).unwrap();
        engine
            .load(World::Scheduler, &SCHEDULER, &Value::Null, Limits::default())
            .unwrap();
        std::fs::read_dir(&dir)
            .unwrap()
            // A file that is written again is another.
            .map(|entry| entry.unwrap().metadata().unwrap().ino())
            .collect::<Vec<_>>()
    };
    let first = load();
    assert_eq!(first.len(), 1);
    assert_eq!(load(), first);
}
