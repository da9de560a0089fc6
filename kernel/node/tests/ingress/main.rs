//! The ingress over real sockets: clients on one side, backends on the other, on loopback addresses.
#![allow(clippy::unwrap_used)] // Helpers of tests too: a panic there is the test failing.

mod backends;
mod hostile;
mod reloads;
mod routing;
mod secure;
mod stage;
mod upgrades;
