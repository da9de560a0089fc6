//! The first edition of the contract: nodes, sums of requests, and placements without victims.
use crate::instance::world;

mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/scheduler"],
        world: "sampan:scheduler/scheduler",
        additional_derives: [PartialEq, Clone],
    });
}

pub use bindings::Scheduler as SchedulerWorld;
pub use bindings::sampan::scheduler::types;

world!(Scheduler, SchedulerPre, (), |_| Ok(()));
