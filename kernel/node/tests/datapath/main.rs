//! The datapath in the kernel of real hosts: network namespaces with pods on wires, and a host outside. They take root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.
mod affinity;
mod changing;
mod counting;
mod figures;
mod guarding;
mod leaving;
mod outward;
mod policies;
mod refusing;
mod serving;
mod stage;
mod traffic;
mod v6;
mod wanted;
