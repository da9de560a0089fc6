//! Write a Sampan policy in a few lines.
//!
//! A scheduler says which nodes will not do and which is best; a controller turns a key and a snapshot into a plan. The
//! SDK keeps what the contract in `wit/` wants kept, and does the rest. A policy is plain Rust: test it natively.
//!
//! ```
//! use sampan_sdk::scheduler::{Description, Node, Pod, Scheduler, description};
//!
//! /// Prefers the node with the lowest number.
//! #[derive(Default)]
//! struct First;
//!
//! impl Scheduler for First {
//!     fn describe() -> Description {
//!         description("first", env!("CARGO_PKG_VERSION"), "The first node that fits.")
//!     }
//!     fn score(&self, _pod: &Pod<'_>, node: &Node<'_>) -> i64 {
//!         -i64::from(node.id())
//!     }
//! }
//!
//! sampan_sdk::export_scheduler!(First);
//! ```
pub mod controller;
mod index;
pub mod ingress;
pub mod ipam;
pub mod network;
pub mod planning;
pub mod scheduler;
pub mod scheduler_01;
pub mod testing;
pub mod time;

pub use serde_json;
pub use serde_json::Value;
