//! Overlays of real hosts: network namespaces on one bridge, with real devices, sockets and certificates. They take root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.
mod carrying;
mod hostile;
mod moving;
mod stage;
mod traffic;
mod translating;
