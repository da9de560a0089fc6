//! Plugins of the world `scheduler`.
use crate::{
    CallError, Figures,
    instance::{Instance, world},
};
use std::collections::HashMap;

mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/scheduler"],
        world: "sampan:scheduler/scheduler",
        additional_derives: [PartialEq, Clone],
    });
}

pub use bindings::sampan::scheduler::types::{
    Delta, Effect, Label, Node, Refusal, Resources, Taint, Toleration, Usage,
};

pub(crate) use bindings::Scheduler as SchedulerWorld;
use bindings::sampan::scheduler::types as wire;

/// What a plugin says of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It goes to the node of that number.
    Bind(u32),
    Unschedulable(Refusal),
}

/// What a plugin says of which pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub pod: u32,
    pub outcome: Outcome,
}

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

world!(Scheduler, SchedulerPre, (), |_| Ok(()));

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

    /// Places pods. The answer has each of them once, in their order.
    ///
    /// # Errors
    /// What it failed with; `Rubbish` if it answers anything but what was asked.
    pub fn place(&mut self, pods: &[Pod]) -> Result<Vec<Assignment>, CallError> {
        let policy = self.0.world.sampan_scheduler_policy();
        let (classes, waiting) = by_class(pods);
        let call = |store: &mut _| policy.call_place(store, &classes, &waiting);
        let placement = self.0.guarded.call(call)?;
        assignments(pods, placement).map_err(|what| self.0.guarded.rubbish(what))
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
            class,
            priority: pod.priority,
        }
    });
    let waiting = waiting.collect();
    (classes, waiting)
}

/// What an answer says of each pod; in words what is wrong with it.
fn assignments(pods: &[Pod], placement: wire::Placement) -> Result<Vec<Assignment>, String> {
    let (asked, answered) = (pods.len(), placement.nodes.len());
    if asked != answered {
        return Err(format!("{answered} nodes for {asked} pods"));
    }
    let without = placement.nodes.iter().filter(|node| **node == 0).count();
    if placement.refusals.len() != without {
        let reasons = placement.refusals.len();
        return Err(format!("{reasons} reasons for {without} pods without a node"));
    }
    let mut refusals = placement.refusals.into_iter();
    let outcome = |node: u32| match node {
        0 => refusals.next().map(Outcome::Unschedulable),
        node => Some(Outcome::Bind(node)),
    };
    let outcomes = placement.nodes.into_iter().filter_map(outcome);
    let assign = |(pod, outcome): (&Pod, Outcome)| Assignment { pod: pod.id, outcome };
    Ok(pods.iter().zip(outcomes).map(assign).collect())
}
