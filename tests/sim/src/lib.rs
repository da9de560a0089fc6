//! A cluster on one thread: the real replicas, with simulated time, network, disks and clients. A seed decides everything,
//! so a failure is a number that anybody can run again.
//!
//! [`run`] makes one run; [`history`] checks what clients saw and is of use to other tests too.
mod ask;
mod chaos;
mod clients;
mod disk;
mod driver;
mod failure;
mod fault;
pub mod history;
mod network;
mod objects;
mod oracle;
mod profile;
mod promises;
mod random;
mod run;
mod trace;
mod watch;
mod world;

pub use failure::Failure;
pub use fault::Fault;
pub use run::{Options, STEPS, Summary, command, run};
