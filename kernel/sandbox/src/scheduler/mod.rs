//! Plugins of the world `scheduler`, in the words of its second edition. One of the first is driven through an adapter.
mod adapter;
mod check;
mod v0_1;
mod v0_2;

pub use v0_2::types::{
    Amount, Bound, Budget, Changes, Effect, Explanation, HostPort, Image, Inclusion, Label, Named, Namespace, Node,
    NodeTerm, Nomination, Operator, Placement, Pod, PodClass, PodGroup, PodTerm, PreferredNode, PreferredPod, Protocol,
    Refusal, Requirement, Resources, Rule, Score, Scorer, SpreadConstraint, Taint, Toleration, TurnedDown, Unplaced,
    Unsatisfiable, Verdict,
};

pub(crate) use v0_1::SchedulerWorld as FormerWorld;
pub(crate) use v0_2::SchedulerWorld;

use crate::{CallError, Description, Figures, instance::Instance};
use adapter::Adapter;

/// Changes of one call at the most.
pub const MOST_CHANGES: usize = 16_384;

/// Pods of one call at the most.
pub const MOST_PODS: usize = 4096;

/// Numbers that may be given: below these.
pub const NODE_NUMBERS: u32 = 1 << 20;
pub const POD_NUMBERS: u32 = 1 << 23;
pub const CLASS_NUMBERS: u32 = 1 << 18;

/// Of a node or a class, labels, taints, images and values of a requirement; constraints; terms of each kind.
pub const MOST_LABELS: usize = 64;
pub const MOST_SPREAD: usize = 16;
pub const MOST_TERMS: usize = 32;

/// An instance of a scheduler.
pub struct SchedulerPlugin(Edition);

enum Edition {
    First(Box<Adapter>),
    Second(Box<Instance<SchedulerWorld>>),
}

impl SchedulerPlugin {
    pub(crate) fn first(instance: Instance<FormerWorld>) -> Self {
        SchedulerPlugin(Edition::First(Box::new(Adapter::new(instance))))
    }

    pub(crate) fn second(instance: Instance<SchedulerWorld>) -> Self {
        SchedulerPlugin(Edition::Second(Box::new(instance)))
    }

    pub(crate) fn describe(&mut self) -> Result<Description, CallError> {
        match &mut self.0 {
            Edition::First(adapter) => adapter.describe(),
            Edition::Second(instance) => instance.describe(),
        }
    }

    /// Brings its mirror from one number to the next; from 0 means from nothing. At most [`MOST_CHANGES`] at a time.
    ///
    /// # Errors
    /// What it failed with; `Refused` if its mirror is not at `base`, or a change does not fit it.
    pub fn sync(&mut self, base: u64, next: u64, changes: &Changes) -> Result<(), CallError> {
        match &mut self.0 {
            Edition::First(adapter) => adapter.sync(base, next, changes),
            Edition::Second(instance) => {
                let policy = instance.world.sampan_scheduler_policy();
                instance
                    .guarded
                    .call(|store| policy.call_sync(store, base, next, changes))?
                    .map_err(CallError::refused)
            }
        }
    }

    /// Places pods, at most [`MOST_PODS`], those of a group together or not at all. The answer may be for the first of them
    /// only, one at the least; that it fits the question was checked, but not whether nodes and victims are there.
    ///
    /// # Errors
    /// What it failed with; `Rubbish` if it answers anything but what was asked.
    pub fn place(&mut self, pods: &[Pod], groups: &[PodGroup]) -> Result<Placement, CallError> {
        match &mut self.0 {
            Edition::First(adapter) => adapter.place(pods, groups),
            Edition::Second(instance) => {
                let policy = instance.world.sampan_scheduler_policy();
                let placed = instance.guarded.call(|store| policy.call_place(store, pods, groups))?;
                match check::placement(pods, groups, &placed) {
                    Ok(()) => Ok(placed),
                    Err(what) => Err(instance.guarded.rubbish(what)),
                }
            }
        }
    }

    /// What it would say of a pod now, and why, with at most `most` verdicts. Changes nothing.
    ///
    /// # Errors
    /// What it failed with; `Refused` if it is of an edition that does not explain.
    pub fn explain(&mut self, pod: &Pod, most: u32) -> Result<Explanation, CallError> {
        match &mut self.0 {
            Edition::First(_) => {
                let words = "a policy of the contract 0.1 does not explain what it decides; one of 0.2 does";
                Err(CallError::Refused(words.to_owned()))
            }
            Edition::Second(instance) => {
                let policy = instance.world.sampan_scheduler_policy();
                let explained = instance.guarded.call(|store| policy.call_explain(store, *pod, most))?;
                match check::explanation(&explained, most) {
                    Ok(()) => Ok(explained),
                    Err(what) => Err(instance.guarded.rubbish(what)),
                }
            }
        }
    }

    /// Whether it is of an edition that explains what it decides.
    pub fn explains(&self) -> bool {
        matches!(self.0, Edition::Second(_))
    }

    pub fn figures(&self) -> Figures {
        match &self.0 {
            Edition::First(adapter) => adapter.figures(),
            Edition::Second(instance) => instance.guarded.figures(),
        }
    }
}
