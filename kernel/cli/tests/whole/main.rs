//! Whole clusters, as a user has them: `sampan up` as a process, with a node that runs real pods; images by other tools,
//! components by other toolchains, and what goes wrong in the life of a machine.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.

mod addresses;
mod cluster;
mod disks;
mod killing;
mod manifests;
mod nginx;
mod registry;
mod rootless;
#[path = "../verbs/stage.rs"]
mod stage;
mod toolchains;
mod tools;
mod traces;
