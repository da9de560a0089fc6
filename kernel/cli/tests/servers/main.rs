//! Several servers as an operator has them: `sampan` processes on hosts of their own, which are killed, stopped, cut off and
//! given bad disks while clients write and note each answer.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.

mod capture;
mod cells;
mod churning;
mod clocks;
mod cutting;
mod disks;
mod families;
mod filtering;
mod group;
mod killing;
mod leaking;
mod load;
mod moving;
mod naming;
mod network;
mod nodes;
mod observing;
mod reaching;
mod rolling;
mod steady;
mod strangers;
mod surviving;
mod swapping;
#[path = "../whole/tools.rs"]
mod tools;
#[path = "../whole/traces.rs"]
mod traces;
