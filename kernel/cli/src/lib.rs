//! The `sampan` command: client verbs over gRPC, `up`, `demo` and `doctor`.
//!
//! A verb is a module of [`verbs`] with its arguments and what it does. It reads objects through a [`session`], names them
//! through [`targets`] or [`manifest`]s, and shows them through [`print`] or [`describe`].
pub mod cli;
pub mod contexts;
pub mod demo;
pub mod describe;
pub mod doc;
pub mod doctor;
pub mod failure;
pub mod harness;
pub mod jsonpath;
pub mod manifest;
mod new_file;
pub mod owned;
pub mod print;
pub mod progress;
pub mod session;
pub mod targets;
pub mod terminal;
pub mod up;
pub mod verbs;

pub use cli::main;
