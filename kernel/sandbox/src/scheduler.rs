//! Plugins of the world `scheduler`.
use crate::{
    CallError, Description, Figures, LoadError,
    engine::{Limits, PluginEngine},
    instance::{Data, Guarded},
};
use std::sync::Arc;
use wasmtime::component::{Component, Linker};

mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/scheduler"],
        world: "sampan:scheduler/scheduler",
        additional_derives: [PartialEq, Clone],
    });
}

pub use bindings::sampan::scheduler::types::{
    Assignment, Delta, Effect, Label, Node, Outcome, Pod, Refusal, Resources, Taint, Toleration, Usage,
};

/// A linked component.
pub(crate) type Pre = bindings::SchedulerPre<Data<()>>;

pub(crate) fn prepare(engine: &PluginEngine, component: &Component) -> Result<Pre, LoadError> {
    let linker = Linker::<Data<()>>::new(engine.engine());
    let contract = |error: wasmtime::Error| LoadError::Contract { reason: format!("{error:#}") };
    bindings::SchedulerPre::new(linker.instantiate_pre(component).map_err(contract)?).map_err(contract)
}

/// An instance of a scheduler.
pub struct SchedulerPlugin {
    guarded: Guarded<()>,
    world: bindings::Scheduler,
}

impl SchedulerPlugin {
    pub(crate) fn new(engine: &Arc<PluginEngine>, pre: &Pre, config: &str, limits: Limits) -> Result<Self, CallError> {
        let mut guarded = Guarded::new(engine, limits, ());
        let world = guarded.call(|store| pre.instantiate(store))?;
        let mut plugin = SchedulerPlugin { guarded, world };
        let configured = plugin
            .guarded
            .call(|store| plugin.world.sampan_lifecycle_lifecycle().call_configure(store, config))?;
        configured.map_err(CallError::Refused)?;
        Ok(plugin)
    }

    pub(crate) fn describe(&mut self) -> Result<Description, CallError> {
        let said = self.guarded.call(|store| self.world.sampan_lifecycle_lifecycle().call_describe(store))?;
        Ok(Description { name: said.name, version: said.version, summary: said.summary })
    }

    /// Brings its mirror of the nodes from one number to the next; from 0 means from nothing.
    ///
    /// # Errors
    /// What it failed with; `Refused` if its mirror is not at `base`.
    pub fn sync(&mut self, base: u64, next: u64, deltas: &[Delta]) -> Result<(), CallError> {
        let policy = self.world.sampan_scheduler_policy();
        self.guarded.call(|store| policy.call_sync(store, base, next, deltas))?.map_err(CallError::Refused)
    }

    /// Places pods, in their order.
    ///
    /// # Errors
    /// What it failed with; `Rubbish` if it answers more than was asked.
    pub fn place(&mut self, pods: &[Pod]) -> Result<Vec<Assignment>, CallError> {
        let policy = self.world.sampan_scheduler_policy();
        let assignments = self.guarded.call(|store| policy.call_place(store, pods))?;
        if assignments.len() > pods.len() {
            self.guarded.poison();
            let what = format!("{} assignments for {} pods", assignments.len(), pods.len());
            return Err(CallError::Rubbish(what));
        }
        Ok(assignments)
    }

    pub fn figures(&self) -> Figures {
        self.guarded.figures()
    }
}
