//! The policy `scheduler`: all of Kubernetes' rules, as a function of what the plugin was told.
//!
//! The rooms, from the outside in: `engine` answers the kernel's calls; `cluster` takes in changes and keeps `mirror`
//! (what there is) and `counts` (how many pods of which kind are where) in step; `rules` are what a class asks for, looked
//! up; `index` finds the best node without asking all of them, `survey` by asking all of them, `probe` asks one; `preempt`
//! chooses victims; `score` has Kubernetes' scores. What each rule means, and which test holds it: `docs/scheduling.md`.
mod cluster;
mod config;
mod counts;
mod engine;
#[cfg(target_arch = "wasm32")]
mod export;
mod hashing;
mod index;
mod mirror;
mod names;
mod preempt;
mod probe;
mod rules;
mod score;
mod select;
mod survey;

pub use engine::Engine;
pub use world_scheduler_02::sampan::scheduler::types;

/// What the policy says of itself, for people: its name and one line.
pub const DESCRIPTION: (&str, &str) = ("scheduler", "Places pods by all of Kubernetes' rules.");
