//! The scheduler world, first edition. What is written anew is written against the second: [`crate::scheduler`].
//!
//! [`Scheduler`] is the simple face: `filter` and `score`, one pod and one node at a time. It reaches the speed of batches
//! because the SDK keeps the mirror of the nodes and an index over the scores inside the guest. For that, what `filter`
//! and `score` say may depend on the pod's class (its requests, selector and tolerations) and on that one node's state,
//! and on nothing else.
pub mod filters;
mod mirror;
pub mod testing;

pub use mirror::Engine;

/// The generated contract; for those who want to implement it themselves.
#[doc(hidden)]
pub use world_scheduler as bindings;

pub use bindings::exports::sampan::lifecycle::lifecycle::Description;
pub use bindings::sampan::scheduler::types::{
    Delta, Effect, Label, Node, Placement, Pod as Waiting, PodClass, Refusal, Resources, Taint, Toleration, Usage,
};

/// What a policy says of itself.
pub fn description(name: &str, version: &str, summary: &str) -> Description {
    Description {
        name: name.into(),
        version: version.into(),
        summary: summary.into(),
    }
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Bind(u32),
    Unschedulable(Refusal),
}

/// What becomes of which pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub pod: u32,
    pub outcome: Outcome,
}

/// A pod that waits for a place, and what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// The kernel's number for it, unique within one call.
    pub id: u32,
    pub requests: Resources,
    pub node_selector: Vec<Label>,
    pub tolerations: Vec<Toleration>,
    pub priority: i32,
    /// Pods of one class have equal requests, selector and tolerations.
    pub class: u32,
}

impl From<PodClass> for Pod {
    /// The model of all pods of a class.
    fn from(class: PodClass) -> Self {
        Pod {
            id: 0,
            requests: class.requests,
            node_selector: class.node_selector,
            tolerations: class.tolerations,
            priority: 0,
            class: class.id,
        }
    }
}

/// Why a node will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    Cordoned,
    NotReady,
    Tainted,
    Selector,
    Cpu,
    Memory,
    EphemeralStorage,
    Pods,
}

/// A placing policy.
pub trait Scheduler: Default + 'static {
    fn describe() -> Description;

    /// Takes the Plugin object's config.
    ///
    /// # Errors
    /// In words for the operator; the plugin is refused then.
    fn configure(&mut self, _config: &crate::Value) -> Result<(), String> {
        Ok(())
    }

    /// Whether a node will do for a pod, as it is now; Kubernetes' hard rules if not written anew.
    ///
    /// # Errors
    /// Why it will not do.
    fn filter(&self, pod: &Pod, node: &Node) -> Result<(), Reason> {
        filters::default(pod, node)
    }

    /// How good a node is for a pod that it will do for; the highest wins, and of equals the lowest node number.
    fn score(&self, pod: &Pod, node: &Node) -> i64;
}

/// Makes a [`Scheduler`] the plugin that this crate is.
#[macro_export]
macro_rules! export_scheduler_01 {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::scheduler_01::{Delta, Description, Engine, Placement, PodClass, Waiting, bindings::exports};
            std::thread_local! {
                static ENGINE: std::cell::RefCell<Engine<$policy>> = std::cell::RefCell::new(Engine::default());
            }
            struct Export;
            impl exports::sampan::lifecycle::lifecycle::Guest for Export {
                fn describe() -> Description {
                    <$policy as $crate::scheduler_01::Scheduler>::describe()
                }
                fn configure(config: String) -> Result<(), String> {
                    ENGINE.with_borrow_mut(|engine| engine.configure(&config))
                }
            }
            impl exports::sampan::scheduler::policy::Guest for Export {
                fn sync(base: u64, next: u64, deltas: Vec<Delta>) -> Result<(), String> {
                    ENGINE.with_borrow_mut(|engine| engine.sync(base, next, deltas))
                }
                fn place(classes: Vec<PodClass>, pods: Vec<Waiting>) -> Placement {
                    ENGINE.with_borrow_mut(|engine| engine.place_by_class(classes, &pods))
                }
            }
    $crate::scheduler_01::bindings::export_world!(Export with_types_in $crate::scheduler_01::bindings);
        };
    };
}
