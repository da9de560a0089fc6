//! Pods' shims: starting one, finding one again, and talking with it.
//!
//! A shim is a process of its own that holds a pod's namespaces and waits for its containers. It knows nothing of the
//! cluster, and does not end with the agent: see `sampan-shim`.
mod launch;
mod link;

pub use launch::{alive, launch};
pub use link::{CallError, Heard, Link};

use crate::reconcile::{Exit, Survivor};
use sampan_shim::{ContainerState, Phase, Reason};

/// A container's id as statuses show it.
pub fn container_id(uid: &str, name: &str, attempt: u32) -> String {
    format!("sampan://{uid}/{name}/{attempt}")
}

/// Milliseconds of Unix time.
pub fn millis(nanos: Option<u64>) -> u64 {
    nanos.unwrap_or(0) / 1_000_000
}

/// How a container ended, as a shim says it.
pub fn exit(state: &ContainerState) -> Exit {
    Exit {
        code: state.exit_code.unwrap_or(0),
        signal: state.signal.unwrap_or(0),
        oom: state.reason == Some(Reason::OomKilled),
        started_at: millis(state.started_at),
        finished_at: millis(state.finished_at),
        message: state.message.clone(),
    }
}

/// A container that a shim knew of before the agent did.
pub fn survivor(index: usize, uid: &str, state: &ContainerState) -> Survivor {
    Survivor {
        index,
        attempt: state.attempt,
        container_id: container_id(uid, &state.name, state.attempt),
        started_at: millis(state.started_at),
        exit: (state.phase == Phase::Exited).then(|| exit(state)),
    }
}
