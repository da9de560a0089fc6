//! The shim as the agent sees it: real pods of busybox, in namespaces, with cgroups, killed in every way.
//!
//! Needs root and `busybox` (Debian: busybox-static); says so and passes where one is missing.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is the test failing

mod basics;
mod confinement;
mod latency;
mod life;
mod limits;
mod mounts;
mod stage;
