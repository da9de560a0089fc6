//! A scheduler's component, to be put through the SDK's traces, and through history, on this machine.
//!
//! It is loaded as the kernel loads it: no import, bounded memory, the same checks of what it answers. It has more time, so
//! that a slow one is told how slow.
use anyhow::{Context, Result, anyhow};
use sampan_api::plugin::World;
use sampan_sandbox::{CallError, Limits, Loaded, PluginEngine, scheduler::SchedulerPlugin};
use sampan_sdk::{
    scheduler::types::{Changes, Explanation, Placement, Pod, PodGroup},
    testing::placing::Subject,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::{Duration, Instant};

/// After so long a call is ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// A component that was compiled and took its config.
pub struct Component {
    loaded: Loaded,
}

impl Component {
    /// Compiles a component.
    ///
    /// # Errors
    /// If it is none, is for another world, or imports anything.
    pub fn load(bytes: &[u8], config: &str) -> Result<Self> {
        let config: Value = serde_json::from_str(config).context("its config is not JSON")?;
        let engine = PluginEngine::new(None).map_err(|error| anyhow!("this machine cannot run Wasm: {error:#}"))?;
        let limits = Limits {
            deadline: PATIENCE,
            ..Limits::for_world(World::Scheduler)
        };
        let loaded = engine
            .load(World::Scheduler, bytes, &config, limits)
            .context("this is no scheduler that can be tried out")?;
        Ok(Component { loaded })
    }

    /// A new instance.
    ///
    /// # Errors
    /// If it cannot be started, or does not take its config.
    pub fn instance(&self) -> Result<Instance> {
        let plugin = self.plugin()?;
        Ok(Instance { plugin, took: None })
    }

    /// A new instance as the kernel knows it.
    ///
    /// # Errors
    /// As [`Component::instance`].
    pub fn plugin(&self) -> Result<SchedulerPlugin> {
        Ok(self.loaded.scheduler()?)
    }

    /// What it says of itself, in a line.
    pub fn describe(&self) -> String {
        let said = self.loaded.description();
        let line = format!("{} {}: {}", said.name, said.version, said.summary);
        line.chars().take(200).collect()
    }

    /// Its own name.
    pub fn name(&self) -> &str {
        &self.loaded.description().name
    }
}

/// An instance of a component.
pub struct Instance {
    plugin: SchedulerPlugin,
    /// How long the last call took by itself.
    took: Option<Duration>,
}

impl Instance {
    /// Whether it is of an edition of the contract that explains what it decides.
    pub fn explains(&self) -> bool {
        self.plugin.explains()
    }
}

/// The generated types of both sides are the same contract: what one writes the other reads.
fn over<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, String> {
    let value = serde_json::to_value(value).and_then(serde_json::from_value);
    value.map_err(|error| format!("the contracts differ: {error}"))
}

fn failed(error: &CallError) -> String {
    format!("it failed: {error}")
}

impl Subject for Instance {
    fn sync(&mut self, base: u64, next: u64, changes: Changes) -> Result<(), String> {
        let synced = self.plugin.sync(base, next, &over(&changes)?);
        synced.map_err(|error| failed(&error))
    }

    fn place(&mut self, pods: &[Pod], groups: &[PodGroup]) -> Result<Placement, String> {
        let (pods, groups): (Vec<_>, Vec<_>) = (over(&pods)?, over(&groups)?);
        let started = Instant::now();
        let placed = self.plugin.place(&pods, &groups);
        self.took = Some(started.elapsed());
        over(&placed.map_err(|error| failed(&error))?)
    }

    fn explain(&mut self, pod: &Pod, most: u32) -> Result<Explanation, String> {
        let explained = self.plugin.explain(&over(pod)?, most);
        over(&explained.map_err(|error| failed(&error))?)
    }

    fn took(&self) -> Option<Duration> {
        self.took
    }
}
