//! Floor 3: the node agent: pods, runtimes, networks of pods, volumes, logs.
//!
//! [`reconcile`] decides, and does nothing: what is wanted, what is there and the time go in, actions come out. Around it
//! are drivers: `agent` holds the table of pods and has the actions done, `runtime` talks with the pods' shims, `net`
//! wires them up, `images` fetches what they run, `pod` works out what their specs mean, `control` speaks with the control
//! plane, `serve` answers for logs and images, [`dns`] for names, [`ingress`] for requests from outside.
//!
//! Invariants:
//! - a pod's directory is made before anything else of the pod and removed after everything else: what is left of a pod
//!   after a crash is found by it;
//! - an action that was begun is noted, and is not begun again before its report;
//! - no workload ends because the agent ends.
mod agent;
mod config;
mod control;
pub mod datapath;
pub mod dns;
mod host;
mod images;
pub mod ingress;
mod logs;
mod metrics;
pub mod net;
mod network;
mod pod;
mod probing;
pub mod reconcile;
mod runtime;
mod serve;
pub mod servers;
mod whereabouts;
mod whole_file;

pub use agent::{Agent, StartError};
pub use config::AgentConfig;
pub use network::{Places, sweep as sweep_network};
