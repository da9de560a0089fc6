//! The second edition of the contract, whose words the kernel speaks.
use crate::instance::world;

mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/scheduler/0.2"],
        world: "sampan:scheduler/scheduler",
        // What was told and answered is written down, and read by who speaks the contract in other generated types.
        additional_derives: [PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize],
    });
}

pub use bindings::Scheduler as SchedulerWorld;
pub use bindings::sampan::scheduler::types;

world!(Scheduler, SchedulerPre, (), |_| Ok(()));

/// No changes.
impl Default for types::Changes {
    fn default() -> Self {
        types::Changes {
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
}
