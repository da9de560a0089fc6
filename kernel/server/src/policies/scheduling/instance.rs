//! A scheduler plugin at work: an instance, and what it still has to be told.
use super::mirror::{
    Mirror,
    touched::{self, Touched},
};
use crate::policies::fleet::Member;
use sampan_sandbox::{
    CallError, Figures,
    scheduler::{Explanation, Placement, Pod, PodGroup, SchedulerPlugin},
};

/// An instance whose mirror is kept in step.
pub struct Instance {
    plugin: SchedulerPlugin,
    /// The number of the last sync; 0 before the first.
    synced: u64,
    /// It knows the symbols below this number.
    symbols: usize,
    pending: Touched,
}

impl Instance {
    /// A fresh one that is told everything.
    ///
    /// # Errors
    /// What it failed with.
    pub fn make(member: &Member, mirror: &Mirror) -> Result<Self, CallError> {
        let mut instance = Instance {
            plugin: member.loaded.scheduler()?,
            synced: 0,
            symbols: 1,
            pending: mirror.everything(),
        };
        instance.sync(mirror)?;
        Ok(instance)
    }

    /// Notes what is to be told with the next sync.
    pub fn tell(&mut self, touched: &Touched) {
        self.pending.add(touched);
    }

    /// Tells what is pending, in as many calls as it takes.
    ///
    /// # Errors
    /// What the instance failed with; it is of no more use then.
    pub fn sync(&mut self, mirror: &Mirror) -> Result<(), CallError> {
        if self.synced > 0 && self.pending.is_empty() && self.symbols == mirror.symbols.count() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        for changes in touched::changes(mirror, &pending, self.symbols) {
            let next = self.synced + 1;
            self.plugin.sync(self.synced, next, &changes)?;
            self.synced = next;
        }
        self.symbols = mirror.symbols.count();
        Ok(())
    }

    /// Tells what is pending and asks for places.
    ///
    /// # Errors
    /// As [`Instance::sync`].
    pub fn place(&mut self, mirror: &Mirror, pods: &[Pod], groups: &[PodGroup]) -> Result<Placement, CallError> {
        self.sync(mirror)?;
        self.plugin.place(pods, groups)
    }

    /// What it would say of a pod, and why.
    ///
    /// # Errors
    /// As [`Instance::sync`]; `Refused` if it does not explain.
    pub fn explain(&mut self, mirror: &Mirror, pod: Pod, most: u32) -> Result<Explanation, CallError> {
        self.sync(mirror)?;
        self.plugin.explain(&pod, most)
    }

    pub fn figures(&self) -> Figures {
        self.plugin.figures()
    }
}
