//! What authors of policies do: projects, policies in several languages, the tutorial. With real compilers.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.

mod bench;
mod policies;
mod projects;
#[path = "../verbs/stage.rs"]
mod stage;
mod tutorial;
