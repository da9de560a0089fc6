//! The scheduler world.
//!
//! Two faces. [`Scheduler`] is the simple one: `filter` and `score`, one pod and one node at a time. It reaches the speed of
//! batches because the SDK keeps the mirror and an index of the nodes inside the guest ([`Engine`]); groups, refusals by rule
//! and `explain` come with it. For that, what `filter` and `score` say may depend on the pod's class, on that one node and
//! the pods that are there, and on nothing else.
//!
//! [`Policy`] is the full one: the contract as it is, for policies that look at more than one node (`plugins/scheduler`).
//! [`cluster`], [`mirror`], [`select`] and [`batch`] are what both are made of.
pub mod batch;
pub mod cluster;
mod engine;
pub mod filters;
pub mod hashing;
pub mod mirror;
pub mod names;
pub mod scores;
pub mod select;
pub mod shelf;
mod view;

pub use engine::Engine;
pub use types::{PodClass, Resources, Rule};
pub use view::{Node, Pod};

/// The generated contract.
#[doc(hidden)]
pub use world_scheduler_02 as bindings;

pub use bindings::{exports::sampan::lifecycle::lifecycle::Description, sampan::scheduler::types};

use types::{Changes, Explanation, Placement, PodGroup};

/// What a policy says of itself.
pub fn description(name: &str, version: &str, summary: &str) -> Description {
    Description {
        name: name.into(),
        version: version.into(),
        summary: summary.into(),
    }
}

/// No change of the cluster.
pub fn no_changes() -> Changes {
    Changes {
        symbols: Vec::new(),
        namespaces: Vec::new(),
        namespaces_gone: Vec::new(),
        budgets: Vec::new(),
        budgets_gone: Vec::new(),
        classes: Vec::new(),
        nodes_gone: Vec::new(),
        nodes: Vec::new(),
        released: Vec::new(),
        bound: Vec::new(),
        ending: Vec::new(),
        nominated: Vec::new(),
        nominated_no_more: Vec::new(),
        classes_gone: Vec::new(),
    }
}

/// A placing policy: which nodes will not do for a pod, and which is best.
///
/// What `filter` and `score` say depends on the pod's class, on that one node and the pods that are there, and on nothing
/// else: no clock, no chance, no other node. They are asked again only when one of these changed.
pub trait Scheduler: Default + 'static {
    fn describe() -> Description;

    /// Takes the Plugin object's config.
    ///
    /// # Errors
    /// In words for the operator; the plugin is refused then.
    fn configure(&mut self, _config: &crate::Value) -> Result<(), String> {
        Ok(())
    }

    /// Whether a node will do for a pod, as it is now; Kubernetes' rules between a pod and a node if not written anew.
    ///
    /// # Errors
    /// The rule that is against it. Nodes are counted by it, for whoever asks why a pod waits.
    fn filter(&self, pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
        filters::kubernetes(pod, node)
    }

    /// How good a node is for a pod that it will do for. The highest wins; of equals the node with the fewest pods, and of
    /// those the one with the lowest number.
    fn score(&self, pod: &Pod<'_>, node: &Node<'_>) -> i64;

    /// Pods that are judged alike: those of classes with equal keys share an index. It is the whole class if not written
    /// anew; a policy that does not look at some of it makes the index of thousands of classes one by blanking that:
    /// `PodClass { id: 0, labels: Vec::new(), owner: 0, siblings: None, ..pod.said().clone() }`.
    fn key(&self, pod: &Pod<'_>) -> PodClass {
        pod.said().clone()
    }
}

/// The contract as it is; see `wit/scheduler/0.2/world.wit`.
pub trait Policy: Default + 'static {
    fn describe() -> Description;

    /// Takes the Plugin object's config, before anything else.
    ///
    /// # Errors
    /// In words for the operator.
    fn configure(&mut self, config: &str) -> Result<(), String>;

    /// Brings the mirror from `base` to `next`; from 0 means from nothing.
    ///
    /// # Errors
    /// If it is not at `base`, or a change does not fit it.
    fn sync(&mut self, base: u64, next: u64, changes: Changes) -> Result<(), String>;

    /// Places pods in their order, each counted at once.
    fn place(&mut self, pods: &[types::Pod], groups: &[PodGroup]) -> Placement;

    /// What would be said of a pod, and why.
    fn explain(&mut self, pod: &types::Pod, most: u32) -> Explanation;
}

/// Makes a [`Scheduler`] the plugin that this crate is.
#[macro_export]
macro_rules! export_scheduler {
    ($policy:ty) => {
        $crate::export_policy!($crate::scheduler::Engine<$policy>);
    };
}

/// Makes a [`Policy`] the plugin that this crate is.
#[macro_export]
macro_rules! export_policy {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::scheduler::{Description, Policy, bindings::exports::sampan, types};
            std::thread_local! {
                static POLICY: std::cell::RefCell<$policy> = std::cell::RefCell::default();
            }
            struct Export;
            impl sampan::lifecycle::lifecycle::Guest for Export {
                fn describe() -> Description {
                    <$policy as Policy>::describe()
                }
                fn configure(config: String) -> Result<(), String> {
                    POLICY.with_borrow_mut(|policy| Policy::configure(policy, &config))
                }
            }
            impl sampan::scheduler::policy::Guest for Export {
                fn sync(base: u64, next: u64, changes: types::Changes) -> Result<(), String> {
                    POLICY.with_borrow_mut(|policy| Policy::sync(policy, base, next, changes))
                }
                fn place(pods: Vec<types::Pod>, groups: Vec<types::PodGroup>) -> types::Placement {
                    POLICY.with_borrow_mut(|policy| Policy::place(policy, &pods, &groups))
                }
                fn explain(pod: types::Pod, most: u32) -> types::Explanation {
                    POLICY.with_borrow_mut(|policy| Policy::explain(policy, &pod, most))
                }
            }
    $crate::scheduler::bindings::export_world!(Export with_types_in $crate::scheduler::bindings);
        };
    };
}
