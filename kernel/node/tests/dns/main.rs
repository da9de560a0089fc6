//! The cluster's DNS over real sockets of the loopback, with name servers behind it that the tests make.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.
mod cluster;
mod forwarding;
mod pods;
mod support;
mod tools;
