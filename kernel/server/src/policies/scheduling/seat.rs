//! A scheduler plugin at work: an instance, what it has been told, and what it still has to be told.
use crate::policies::fleet::Member;
use sampan_sandbox::{
    CallError,
    scheduler::{Assignment, Delta, Outcome, Pod, SchedulerPlugin},
};
use std::collections::HashSet;

/// An instance whose mirror is kept in step.
pub struct Seat {
    pub member: Member,
    plugin: SchedulerPlugin,
    /// The number of the last sync; 0 before the first.
    synced: u64,
    pending: Vec<Delta>,
}

impl Seat {
    /// A fresh instance that is told everything.
    ///
    /// # Errors
    /// What the instance failed with.
    pub fn take(member: Member, everything: Vec<Delta>) -> Result<Self, CallError> {
        let plugin = member.loaded.scheduler()?;
        let mut seat = Seat {
            member,
            plugin,
            synced: 0,
            pending: everything,
        };
        seat.sync()?;
        Ok(seat)
    }

    /// Queues what is to be told before the next placing.
    pub fn tell(&mut self, deltas: &[Delta]) {
        self.pending.extend_from_slice(deltas);
    }

    fn sync(&mut self) -> Result<(), CallError> {
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
    /// What the instance failed with; it is of no more use then.
    pub fn place(&mut self, pods: &[Pod]) -> Result<Vec<Assignment>, CallError> {
        self.sync()?;
        let assignments = self.plugin.place(pods)?;
        self.member.record(self.plugin.figures());
        let asked: HashSet<u32> = pods.iter().map(|pod| pod.id).collect();
        let answered: HashSet<u32> = assignments.iter().map(|assignment| assignment.pod).collect();
        if answered != asked || assignments.len() != pods.len() {
            let what = format!(
                "{} assignments for {} pods, or not the same pods",
                assignments.len(),
                pods.len()
            );
            return Err(CallError::Rubbish(what));
        }
        Ok(assignments)
    }

    /// Takes back what this instance counted for itself, so that it can be told what was really done.
    pub fn forget(&mut self, assignments: &[Assignment], pods: &[Pod]) {
        let amounts = pods
            .iter()
            .map(|pod| (pod.id, pod.requests))
            .collect::<std::collections::HashMap<_, _>>();
        for assignment in assignments {
            if let (Outcome::Bind(node), Some(resources)) = (&assignment.outcome, amounts.get(&assignment.pod)) {
                self.pending.push(Delta::Released(sampan_sandbox::scheduler::Usage {
                    node: *node,
                    resources: *resources,
                }));
            }
        }
    }
}
