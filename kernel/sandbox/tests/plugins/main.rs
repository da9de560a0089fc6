//! Plugins through the public surface: what is let in, what a well-behaved one does, and that a hostile one harms
//! nothing but its own decision.
#![allow(clippy::unwrap_used)] // Helpers of tests too: a panic there is the test failing.

#[path = "../support/mod.rs"]
mod support;

mod adapted;
mod answers;
mod apart;
mod controllers;
mod hostile;
mod ingresses;
mod ipams;
mod loading;
mod networks;
mod schedulers;

use sampan_api::plugin::World;
use sampan_sandbox::{Limits, Loaded, PluginEngine, scheduler};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

static ENGINE: LazyLock<Arc<PluginEngine>> = LazyLock::new(|| PluginEngine::new(None).unwrap());
static SCHEDULER: LazyLock<Vec<u8>> = LazyLock::new(|| support::plugin("scheduler"));
static CONTROLLER: LazyLock<Vec<u8>> = LazyLock::new(|| support::plugin("controller"));

/// A scheduler that behaves as it is told. Small limits, so that hostile ones are found out soon; a deadline that a
/// busy machine does not reach by itself.
fn scheduler(behaviour: &str) -> Loaded {
    let limits = Limits {
        memory: 64 << 20,
        ..Limits::for_world(World::Scheduler)
    };
    ENGINE
        .load(
            World::Scheduler,
            &SCHEDULER,
            &Value::String(behaviour.to_owned()),
            limits,
        )
        .unwrap()
}

/// Pods of one class, by their numbers.
fn pods(ids: std::ops::Range<u32>) -> Vec<scheduler::Pod> {
    let pod = |id| scheduler::Pod {
        id,
        class: 1,
        pinned: 0,
    };
    ids.map(pod).collect()
}
