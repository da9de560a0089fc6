//! The plugin's export: the engine, and nothing else.
use crate::{
    DESCRIPTION, Engine,
    types::{Changes, Explanation, Placement, Pod, PodGroup},
};
use std::cell::RefCell;
use world_scheduler_02::exports::sampan::{
    lifecycle::lifecycle::{self, Description},
    scheduler::policy,
};

thread_local! {
    static ENGINE: RefCell<Engine> = RefCell::new(Engine::default());
}

struct Export;

impl lifecycle::Guest for Export {
    fn describe() -> Description {
        Description {
            name: DESCRIPTION.0.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: DESCRIPTION.1.to_owned(),
        }
    }

    fn configure(config: String) -> Result<(), String> {
        ENGINE.with_borrow_mut(|engine| engine.configure(&config))
    }
}

impl policy::Guest for Export {
    fn sync(base: u64, next: u64, changes: Changes) -> Result<(), String> {
        ENGINE.with_borrow_mut(|engine| engine.sync(base, next, changes))
    }

    fn place(pods: Vec<Pod>, groups: Vec<PodGroup>) -> Placement {
        ENGINE.with_borrow_mut(|engine| engine.place(&pods, &groups))
    }

    fn explain(pod: Pod, most: u32) -> Explanation {
        ENGINE.with_borrow_mut(|engine| engine.explain(&pod, most))
    }
}

world_scheduler_02::export_world!(Export with_types_in world_scheduler_02);
