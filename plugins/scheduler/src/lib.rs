//! The policy `scheduler`: all of Kubernetes' rules, as a function of what the plugin was told.
//!
//! The rooms, from the outside in: `engine` answers the kernel's calls; the SDK's `cluster` takes in changes and keeps its
//! `mirror` (what there is) and `counts` (how many pods of which kind are where) in step; `rules` are what a class asks for, looked
//! up; `index` finds the best node without asking all of them, `survey` by asking all of them, `probe` asks one; `preempt`
//! chooses victims; `score` has Kubernetes' scores. What each rule means, and which test holds it: `docs/scheduling.md`.
mod config;
mod counts;
mod engine;
mod index;
mod preempt;
mod probe;
mod rules;
mod score;
mod survey;

pub use engine::Engine;
pub use sampan_sdk::scheduler::types;
use sampan_sdk::scheduler::{Description, Policy, description, hashing, mirror, names, select};

type Cluster = sampan_sdk::scheduler::cluster::Cluster<counts::Counts>;

impl Policy for Engine {
    fn describe() -> Description {
        let summary = "Places pods by all of Kubernetes' rules.";
        description("scheduler", env!("CARGO_PKG_VERSION"), summary)
    }

    fn configure(&mut self, config: &str) -> Result<(), String> {
        Engine::configure(self, config)
    }

    fn sync(&mut self, base: u64, next: u64, changes: types::Changes) -> Result<(), String> {
        Engine::sync(self, base, next, changes)
    }

    fn place(&mut self, pods: &[types::Pod], groups: &[types::PodGroup]) -> types::Placement {
        Engine::place(self, pods, groups)
    }

    fn explain(&mut self, pod: &types::Pod, most: u32) -> types::Explanation {
        Engine::explain(self, pod, most)
    }
}

sampan_sdk::export_policy!(Engine);
