//! The second edition of the contract, whose words the kernel speaks.
use crate::instance::world;

mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/scheduler/0.2"],
        world: "sampan:scheduler/scheduler",
        additional_derives: [PartialEq, Eq, Hash, PartialOrd, Ord],
    });
}

pub use bindings::Scheduler as SchedulerWorld;
pub use bindings::sampan::scheduler::types;

world!(Scheduler, SchedulerPre, (), |_| Ok(()));
