//! Schedulers without a cluster: what the kernel tells them, kept and checked here, natively or around a component.
//!
//! [`cluster`] is for tests of single cases. [`Trace`] is nodes and pods that come and go, from a seed or a file;
//! [`run`] puts a policy through it and reports; [`fuzz`] looks for answers that depend on how the policy came to know.
mod check;
mod cluster;
mod fuzz;
mod generate;
mod kernel;
mod run;
mod shapes;
mod trace;

pub use cluster::{Cluster, cluster};
pub use fuzz::{Finding, fuzz};
pub use kernel::Kernel;
pub use run::{Report, run};
pub use shapes::{NodeShape, PodShape, TaintShape, TolerationShape, node, pod};
pub use trace::{Step, Trace};

use std::time::Duration;

use crate::scheduler::{
    Policy,
    types::{Changes, Explanation, Placement, Pod, PodGroup},
};

/// A policy under test, native or a component that may fail.
pub trait Subject {
    /// # Errors
    /// That it does not follow, or how it failed.
    fn sync(&mut self, base: u64, next: u64, changes: Changes) -> Result<(), String>;

    /// # Errors
    /// How it failed.
    fn place(&mut self, pods: &[Pod], groups: &[PodGroup]) -> Result<Placement, String>;

    /// # Errors
    /// How it failed.
    fn explain(&mut self, pod: &Pod, most: u32) -> Result<Explanation, String>;

    /// How long the last call of `place` took by itself, where more is done around it.
    fn took(&self) -> Option<Duration> {
        None
    }
}

/// A policy that is part of this program.
pub struct Native<P>(pub P);

impl<P: Policy> Native<P> {
    /// One that took its config.
    ///
    /// # Errors
    /// If it refuses the config.
    pub fn new(config: &str) -> Result<Self, String> {
        let mut policy = P::default();
        policy.configure(config)?;
        Ok(Native(policy))
    }
}

impl<P: Policy> Subject for Native<P> {
    fn sync(&mut self, base: u64, next: u64, changes: Changes) -> Result<(), String> {
        self.0.sync(base, next, changes)
    }

    fn place(&mut self, pods: &[Pod], groups: &[PodGroup]) -> Result<Placement, String> {
        Ok(self.0.place(pods, groups))
    }

    fn explain(&mut self, pod: &Pod, most: u32) -> Result<Explanation, String> {
        Ok(self.0.explain(pod, most))
    }
}
