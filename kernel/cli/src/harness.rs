//! A scheduler's component, to be put through the SDK's traces on this machine.
//!
//! It has what the kernel gives a policy (no import, and bounded memory) and more time, so that a slow one is told how slow.
use anyhow::{Context, Result, anyhow};
use sampan_sdk::{
    scheduler::types::{Changes, Explanation, Placement, Pod, PodGroup},
    testing::placing::Subject,
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::{Duration, Instant};
use wasmtime::{
    Config, Engine, Store, StoreLimits, StoreLimitsBuilder,
    component::{Component as Compiled, Linker},
};

mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/scheduler/0.2"],
        world: "sampan:scheduler/scheduler",
        additional_derives: [Clone, serde::Serialize, serde::Deserialize],
    });
}

/// Of linear memory, as the kernel has it. Bytes.
const MEMORY: usize = 256 << 20;

/// After so long a call is ended.
const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(100);

/// A component that was compiled and took its config.
pub struct Component {
    engine: Engine,
    pre: bindings::SchedulerPre<StoreLimits>,
    config: String,
}

impl Component {
    /// Compiles a component.
    ///
    /// # Errors
    /// If it is none, is for another world or edition, or imports anything.
    pub fn load(bytes: &[u8], config: &str) -> Result<Self> {
        let mut settings = Config::new();
        settings.epoch_interruption(true).wasm_component_model(true);
        // As in the kernel: the same bits on every machine.
        settings.cranelift_nan_canonicalization(true);
        let engine = Engine::new(&settings).map_err(|error| told(&error))?;
        let compiled = Compiled::from_binary(&engine, bytes)
            .map_err(|error| told(&error))
            .context("this is no component")?;
        let pre = Linker::new(&engine)
            .instantiate_pre(&compiled)
            .and_then(bindings::SchedulerPre::new);
        let pre = pre
            .map_err(|error| told(&error))
            .context("it does not keep the contract sampan:scheduler@0.2.0, which imports nothing")?;
        let weak = engine.weak();
        std::thread::Builder::new().name("epochs".to_owned()).spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
        Ok(Component {
            engine,
            pre,
            config: config.to_owned(),
        })
    }

    /// A new instance.
    ///
    /// # Errors
    /// If it cannot be started, or does not take its config.
    pub fn instance(&self) -> Result<Instance> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        store.set_epoch_deadline(ticks());
        let world = self.pre.instantiate(&mut store).map_err(|error| told(&error))?;
        let configured = world
            .sampan_lifecycle_lifecycle()
            .call_configure(&mut store, &self.config)
            .map_err(|error| told(&error))?;
        configured.map_err(|error| anyhow!("it does not take its config: {error}"))?;
        Ok(Instance {
            store,
            world,
            took: None,
        })
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn describe(&self) -> Result<String> {
        let mut instance = self.instance()?;
        let said = instance
            .world
            .sampan_lifecycle_lifecycle()
            .call_describe(&mut instance.store)
            .map_err(|error| told(&error))?;
        let line = format!("{} {}: {}", said.name, said.version, said.summary);
        Ok(line.chars().filter(|c| !c.is_control()).take(200).collect())
    }
}

/// How many ticks a call may take.
fn ticks() -> u64 {
    (PATIENCE.as_millis() / TICK.as_millis()) as u64
}

/// An instance of a component.
pub struct Instance {
    store: Store<StoreLimits>,
    world: bindings::Scheduler,
    /// How long the last call took by itself.
    took: Option<Duration>,
}

/// The generated types of both sides are the same contract: what one writes the other reads.
fn over<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, String> {
    let value = serde_json::to_value(value).and_then(serde_json::from_value);
    value.map_err(|error| format!("the contracts differ: {error}"))
}

/// Wasmtime's error, with its causes.
fn told(error: &wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

fn failed(error: &wasmtime::Error) -> String {
    format!("it failed: {error:#}")
}

impl Subject for Instance {
    fn sync(&mut self, base: u64, next: u64, changes: Changes) -> Result<(), String> {
        let changes = over(&changes)?;
        self.store.set_epoch_deadline(ticks());
        let policy = self.world.sampan_scheduler_policy();
        let synced = policy.call_sync(&mut self.store, base, next, &changes);
        synced.map_err(|error| failed(&error))?
    }

    fn place(&mut self, pods: &[Pod], groups: &[PodGroup]) -> Result<Placement, String> {
        let (pods, groups): (Vec<_>, Vec<_>) = (over(&pods)?, over(&groups)?);
        self.store.set_epoch_deadline(ticks());
        let policy = self.world.sampan_scheduler_policy();
        let started = Instant::now();
        let placed = policy.call_place(&mut self.store, &pods, &groups);
        self.took = Some(started.elapsed());
        over(&placed.map_err(|error| failed(&error))?)
    }

    fn explain(&mut self, pod: &Pod, most: u32) -> Result<Explanation, String> {
        let pod = over(pod)?;
        self.store.set_epoch_deadline(ticks());
        let policy = self.world.sampan_scheduler_policy();
        let explained = policy.call_explain(&mut self.store, pod, most);
        over(&explained.map_err(|error| failed(&error))?)
    }

    fn took(&self) -> Option<Duration> {
        self.took
    }
}
