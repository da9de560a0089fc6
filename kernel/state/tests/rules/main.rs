//! The rules of the state machine, each seen from outside: commands in, results and events out.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the test failing")]
mod admitting;
mod binding;
mod checkpoints;
mod claims;
mod creating;
mod deleting;
mod fixture;
mod history;
mod plans;
mod replays;
mod writing;
