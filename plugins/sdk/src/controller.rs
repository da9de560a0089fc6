//! The controller world: a key and a snapshot go in, a plan comes out.
mod guest;
mod object;
mod plan;
mod read;
mod snapshot;

pub use guest::{Host, Reconciler};
pub use object::{Key, Object};
pub use plan::{Event, Operation, Plan, Write};
pub use snapshot::{Memory, Query, Snapshot};

pub use crate::scheduler::{Description, description};

/// The generated contract.
#[doc(hidden)]
pub use world_controller as bindings;

/// What makes the kernel call, and for which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Changes of a resource, for the object itself.
    Itself(&'static str),
    /// Changes of a resource, for the owner that is of the controller's own resource.
    Owner(&'static str),
    /// Changes of a resource, for those that name it as an owner; `*`: ends of any object.
    Dependents(&'static str),
    /// Changes of a resource, for those of the controller's own resource in its namespace whose `spec.selector` takes the object,
    /// or took it until now.
    Selected(&'static str),
}

/// A controller.
pub trait Controller: Default + 'static {
    fn describe() -> Description;

    /// Takes the Plugin object's config.
    ///
    /// # Errors
    /// In words for the operator; the plugin is refused then.
    fn configure(&mut self, _config: &crate::Value) -> Result<(), String> {
        Ok(())
    }

    /// What it wants to be called for.
    fn watches() -> Vec<Watch>;

    /// Decides for a key, at a time in milliseconds of Unix time. An empty plan where all is as it should be.
    ///
    /// # Errors
    /// In words for the operator; the key comes again later.
    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, now_ms: u64) -> Result<Plan, String>;
}

/// Makes a [`Controller`] the plugin that this crate is.
#[macro_export]
macro_rules! export_controller {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::controller::{
                Description, Reconciler,
                bindings::exports::{
                    sampan::controller::policy::{Guest, Key, Plan, Snapshot, Watch},
                    sampan::controller::selection,
                    sampan::lifecycle::lifecycle,
                },
            };
            std::thread_local! {
                static RECONCILER: std::cell::RefCell<Reconciler<$policy>> = Default::default();
            }
            struct Export;
            impl lifecycle::Guest for Export {
                fn describe() -> lifecycle::Description {
                    let said = <$policy as $crate::controller::Controller>::describe();
                    lifecycle::Description {
                        name: said.name,
                        version: said.version,
                        summary: said.summary,
                    }
                }
                fn configure(config: String) -> Result<(), String> {
                    RECONCILER.with_borrow_mut(|reconciler| reconciler.configure(&config))
                }
            }
            impl Guest for Export {
                fn watches() -> Vec<Watch> {
                    RECONCILER.with_borrow(|reconciler| reconciler.watches())
                }
                fn reconcile(keys: Vec<Key>, snapshot: &Snapshot, now_ms: u64) -> Result<Plan, String> {
                    RECONCILER.with_borrow(|reconciler| reconciler.reconcile(keys, snapshot, now_ms))
                }
            }
            impl selection::Guest for Export {
                fn selects() -> Vec<String> {
                    RECONCILER.with_borrow(|reconciler| reconciler.selects())
                }
            }
    $crate::controller::bindings::export_world!(Export with_types_in $crate::controller::bindings);
        };
    };
}
