//! Plugins of the world `scheduler`.
use crate::{
    CallError, Description, Figures, LoadError,
    engine::{Limits, PluginEngine},
    instance::{Data, Guarded},
};
use std::{collections::HashSet, sync::Arc};
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
    let contract = |error: wasmtime::Error| LoadError::Contract {
        reason: format!("{error:#}"),
    };
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
        configured.map_err(CallError::refused)?;
        Ok(plugin)
    }

    pub(crate) fn describe(&mut self) -> Result<Description, CallError> {
        let said = self
            .guarded
            .call(|store| self.world.sampan_lifecycle_lifecycle().call_describe(store))?;
        Ok(Description::bounded(said.name, said.version, said.summary))
    }

    /// Brings its mirror of the nodes from one number to the next; from 0 means from nothing.
    ///
    /// # Errors
    /// What it failed with; `Refused` if its mirror is not at `base`.
    pub fn sync(&mut self, base: u64, next: u64, deltas: &[Delta]) -> Result<(), CallError> {
        let policy = self.world.sampan_scheduler_policy();
        self.guarded
            .call(|store| policy.call_sync(store, base, next, deltas))?
            .map_err(CallError::refused)
    }

    /// Places pods, in their order. The answer has each pod that was asked for once.
    ///
    /// # Errors
    /// What it failed with; `Rubbish` if it answers anything but what was asked.
    pub fn place(&mut self, pods: &[Pod]) -> Result<Vec<Assignment>, CallError> {
        let policy = self.world.sampan_scheduler_policy();
        let assignments = self.guarded.call(|store| policy.call_place(store, pods))?;
        match check(pods, &assignments) {
            Ok(()) => Ok(assignments),
            Err(what) => Err(self.guarded.rubbish(what)),
        }
    }

    pub fn figures(&self) -> Figures {
        self.guarded.figures()
    }
}

/// Whether an answer has each pod once.
fn check(pods: &[Pod], assignments: &[Assignment]) -> Result<(), String> {
    let (asked, answered) = (pods.len(), assignments.len());
    if asked != answered {
        return Err(format!("{answered} assignments for {asked} pods"));
    }
    // What most answer: the pods in their order.
    if pods
        .iter()
        .zip(assignments)
        .all(|(pod, assignment)| pod.id == assignment.pod)
    {
        return Ok(());
    }
    let mut open: HashSet<u32> = pods.iter().map(|pod| pod.id).collect();
    match assignments.iter().find(|assignment| !open.remove(&assignment.pod)) {
        None => Ok(()),
        Some(Assignment { pod, .. }) if pods.iter().any(|asked| asked.id == *pod) => {
            Err(format!("pod {pod} is assigned twice"))
        }
        Some(Assignment { pod, .. }) => Err(format!("pod {pod} is assigned, which was not asked for")),
    }
}
