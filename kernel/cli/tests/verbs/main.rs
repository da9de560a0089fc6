//! The verbs, as processes, against a real control plane without a node: what users type, and what they read.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.

mod bad_input;
mod certificates;
mod changes;
mod compiling;
mod draining;
mod history;
mod lifecycle;
mod reading;
mod snapshots;
mod stage;
mod writers;
