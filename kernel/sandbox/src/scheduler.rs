//! Plugins of the world `scheduler`.
use crate::{
    CallError, Description, Figures,
    instance::{Data, Instance, World},
};
use std::collections::{HashMap, HashSet};
use wasmtime::{
    Store,
    component::{InstancePre, Linker},
};

mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/scheduler"],
        world: "sampan:scheduler/scheduler",
        additional_derives: [PartialEq, Clone],
    });
}

pub use bindings::sampan::scheduler::types::{
    Assignment, Delta, Effect, Label, Node, Outcome, Refusal, Resources, Taint, Toleration, Usage,
};

pub(crate) use bindings::Scheduler as SchedulerWorld;
use bindings::sampan::scheduler::types as wire;

/// A pod that waits for a place, and what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Unique within one call.
    pub id: u32,
    pub requests: Resources,
    pub node_selector: Vec<Label>,
    pub tolerations: Vec<Toleration>,
    pub priority: i32,
    /// Pods of one class have equal requests, selector and tolerations, which cross the boundary once for all of them.
    pub class: u32,
}

impl World for bindings::Scheduler {
    type Imports = ();
    type Pre = bindings::SchedulerPre<Data<()>>;

    fn grant(_: &mut Linker<Data<()>>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn check(pre: InstancePre<Data<()>>) -> wasmtime::Result<Self::Pre> {
        bindings::SchedulerPre::new(pre)
    }

    fn instantiate(pre: &Self::Pre, store: &mut Store<Data<()>>) -> wasmtime::Result<Self> {
        pre.instantiate(store)
    }

    fn configure(&self, store: &mut Store<Data<()>>, config: &str) -> wasmtime::Result<Result<(), String>> {
        self.sampan_lifecycle_lifecycle().call_configure(store, config)
    }

    fn describe(&self, store: &mut Store<Data<()>>) -> wasmtime::Result<Description> {
        let said = self.sampan_lifecycle_lifecycle().call_describe(store)?;
        Ok(Description::bounded(said.name, said.version, said.summary))
    }
}

/// An instance of a scheduler.
pub struct SchedulerPlugin(pub(crate) Instance<bindings::Scheduler>);

impl SchedulerPlugin {
    /// Brings its mirror of the nodes from one number to the next; from 0 means from nothing.
    ///
    /// # Errors
    /// What it failed with; `Refused` if its mirror is not at `base`.
    pub fn sync(&mut self, base: u64, next: u64, deltas: &[Delta]) -> Result<(), CallError> {
        let policy = self.0.world.sampan_scheduler_policy();
        self.0
            .guarded
            .call(|store| policy.call_sync(store, base, next, deltas))?
            .map_err(CallError::refused)
    }

    /// Places pods, in their order. The answer has each pod that was asked for once.
    ///
    /// # Errors
    /// What it failed with; `Rubbish` if it answers anything but what was asked.
    pub fn place(&mut self, pods: &[Pod]) -> Result<Vec<Assignment>, CallError> {
        let policy = self.0.world.sampan_scheduler_policy();
        let (classes, waiting) = by_class(pods);
        let call = |store: &mut _| policy.call_place(store, &classes, &waiting);
        let assignments = self.0.guarded.call(call)?;
        match check(pods, &assignments) {
            Ok(()) => Ok(assignments),
            Err(what) => Err(self.0.guarded.rubbish(what)),
        }
    }

    pub fn figures(&self) -> Figures {
        self.0.guarded.figures()
    }
}

/// The classes of some pods, each once, and the pods by their place among them.
fn by_class(pods: &[Pod]) -> (Vec<wire::PodClass>, Vec<wire::Pod>) {
    let mut classes: Vec<wire::PodClass> = Vec::new();
    let mut places: HashMap<u32, u32> = HashMap::new();
    let waiting = pods.iter().map(|pod| {
        let class = match classes.last() {
            // Pods come in runs: those of one Deployment follow each other.
            Some(last) if last.id == pod.class => classes.len() as u32 - 1,
            _ => *places.entry(pod.class).or_insert_with(|| {
                classes.push(wire::PodClass {
                    id: pod.class,
                    requests: pod.requests,
                    node_selector: pod.node_selector.clone(),
                    tolerations: pod.tolerations.clone(),
                });
                classes.len() as u32 - 1
            }),
        };
        wire::Pod {
            id: pod.id,
            class,
            priority: pod.priority,
        }
    });
    let waiting = waiting.collect();
    (classes, waiting)
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
