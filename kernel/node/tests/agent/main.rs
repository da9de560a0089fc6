//! The agent against a real kernel: real shims, real images, and a control plane that the tests play.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.
mod admitting;
mod issuing;
mod plane;
mod reboots;
mod renewing;
mod restarts;
mod running;
mod serving;
mod support;
mod wired;
