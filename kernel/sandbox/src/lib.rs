//! Floor 2: WebAssembly: policy plugins (load, shadow, swap, roll back) and Wasm workloads.
//!
//! Two engines, since the two have nothing in common but the compiler: plugins are pure functions called from a thread,
//! with no WASI at all; workloads are WASI 0.2 programs that run in a process of their own.
mod breaker;
mod cache;
mod compiler;
pub mod controller;
mod engine;
mod error;
mod figures;
pub mod ingress;
mod inspect;
mod instance;
pub mod ipam;
mod limiter;
pub mod network;
mod planning;
pub mod scheduler;
pub mod tables;
mod ticker;
pub mod workload;

pub use breaker::Breaker;
pub use cache::digest_of;
pub use compiler::{Compiler, compile_for_parent};
pub use engine::{Limits, Loaded, PluginEngine};
pub use error::{CallError, LoadError};
pub use figures::Figures;
pub use inspect::{Description, Inspection};
