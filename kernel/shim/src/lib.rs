//! The shim: one small process per pod that outlives the agent; holds the namespaces, starts, waits for and logs the workloads.
//!
//! Two sides use this crate. The agent uses [`protocol`], [`client`] and [`sweep_cgroups`]; the binary `sampan-shim` is
//! [`pod::run`] and nothing else. The process is single-threaded: it forks and goes on in the child with plain Rust, so
//! nothing here may start a thread.
//!
//! # Framing
//! `DIR/shim.sock` is a stream socket that carries one JSON value a line, at most [`protocol::MAX_LINE`] bytes. The client
//! sends [`protocol::Call`]s, the shim answers with [`protocol::Message`]s: one reply for each call, in whatever order
//! they are done, told apart by `id`, and events between them once the client has sent `watch`.
//!
//! # What is kept in `DIR`
//! `pod.json` (from the agent), `shim.json` (who the shim is: [`protocol::ShimInfo`]), `shim.sock`, `shim.log` (its
//! complaints), and for each container `<name>/exit.json` ([`protocol::ContainerState`]) once it has ended.

mod cgroup;
pub mod client;
mod container;
mod device;
mod error;
mod files;
mod log;
mod net;
mod paths;
pub mod pod;
mod process;
pub mod protocol;
mod rights;
mod rootfs;
mod seccomp;
mod server;
mod sys;

pub use cgroup::sweep as sweep_cgroups;
pub use client::{Client, ClientError, Launched, launch};
pub use files::read_exit;
pub use protocol::*;
pub use rights::DEFAULT_CAPABILITIES;
