//! The control plane as its clients meet it: a server in a temporary directory, and calls over mutual TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.

mod access;
mod applying;
mod bench;
mod certificates;
mod committing;
mod evicting;
mod extremes;
mod families;
mod ingresses;
mod nodes;
mod objects;
mod plugins;
mod services;
mod starting;
mod watching;
