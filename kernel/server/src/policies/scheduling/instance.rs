//! A scheduler plugin at work: an instance, and what it still has to be told.
use crate::policies::fleet::Member;
use sampan_sandbox::{
    CallError, Figures,
    scheduler::{Assignment, Delta, Outcome, Pod, SchedulerPlugin, Usage},
};
use std::collections::HashMap;

/// An instance whose mirror is kept in step.
pub struct Instance {
    plugin: SchedulerPlugin,
    /// The number of the last sync; 0 before the first.
    synced: u64,
    pending: Vec<Delta>,
}

impl Instance {
    /// A fresh one that is told everything.
    ///
    /// # Errors
    /// What it failed with.
    pub fn make(member: &Member, everything: Vec<Delta>) -> Result<Self, CallError> {
        let mut instance = Instance {
            plugin: member.loaded.scheduler()?,
            synced: 0,
            pending: everything,
        };
        instance.sync()?;
        Ok(instance)
    }

    /// Queues what is to be told with the next sync.
    pub fn tell(&mut self, deltas: &[Delta]) {
        self.pending.extend_from_slice(deltas);
    }

    /// Tells what is pending.
    ///
    /// # Errors
    /// What the instance failed with; it is of no more use then.
    pub fn sync(&mut self) -> Result<(), CallError> {
        if self.pending.is_empty() && self.synced > 0 {
            return Ok(());
        }
        let next = self.synced + 1;
        self.plugin.sync(self.synced, next, &self.pending)?;
        self.synced = next;
        self.pending.clear();
        Ok(())
    }

    /// Tells what is pending and asks for places. The answer has each pod exactly once, in any order.
    ///
    /// # Errors
    /// As [`Instance::sync`].
    pub fn place(&mut self, pods: &[Pod]) -> Result<Vec<Assignment>, CallError> {
        self.sync()?;
        self.plugin.place(pods)
    }

    /// Takes back what this instance counted for itself, so that it can be told what was really done.
    pub fn forget(&mut self, assignments: &[Assignment], pods: &[Pod]) {
        let amounts: HashMap<_, _> = pods.iter().map(|pod| (pod.id, pod.requests)).collect();
        for assignment in assignments {
            if let (Outcome::Bind(node), Some(resources)) = (&assignment.outcome, amounts.get(&assignment.pod)) {
                self.pending.push(Delta::Released(Usage {
                    node: *node,
                    resources: *resources,
                }));
            }
        }
    }

    pub fn figures(&self) -> Figures {
        self.plugin.figures()
    }
}
