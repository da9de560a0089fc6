//! What to do next for one pod: a pure function of what is wanted, what is there and the time.
//!
//! The agent feeds it: [`absorb`] takes what a driver reports, [`reconcile`] answers with what to do now and when to
//! look again, [`status`] says it in Kubernetes' words. None of them does I/O or reads a clock, so that every turn of a
//! pod's life can be tested by hand and, later, simulated.
mod absorb;
mod actual;
mod backoff;
mod desired;
mod probe;
mod recall;
mod status;
mod step;
mod stop;
#[cfg(test)]
mod tests;

pub use absorb::absorb;
pub use actual::{Actual, Container, Ended, Image, Pull, Sandbox, State, StopCause, Waiting};
pub use backoff::Backoff;
pub use desired::{ContainerSpec, Deletion, Desired, Probe, ProbeKind, Restart, Role, port_number, pull_policy};
pub use recall::{Survivor, recall};
pub use status::{NodeFacts, qos_class, status};
pub use step::reconcile;

/// Milliseconds of Unix time. The agent's clock is monotonic within one run: it never goes back.
pub type Millis = u64;

/// Which container of [`Desired::containers`].
pub type Index = usize;

/// What [`reconcile`] wants done. A driver does each and says how it went with a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// See to it that the container's image is here, as its pull policy says.
    EnsureImage { index: Index },
    /// Give the pod its address, its network and its shim.
    CreateSandbox,
    /// Create and start the container; `attempt` counts from 0.
    Start { index: Index, attempt: u32 },
    /// Ask it to end, by its stop signal.
    Stop { index: Index },
    /// End it.
    Kill { index: Index },
    /// Ask whether it lives, serves or has started.
    Probe {
        index: Index,
        kind: ProbeKind,
        attempt: u32,
    },
    /// Take all of it away but the logs: processes, network, mounts, cgroups.
    RemoveSandbox,
    /// The pod has ended and its object goes; the logs go too.
    Forget,
    /// Tell the user.
    Event {
        container: Option<Index>,
        warning: bool,
        reason: &'static str,
        message: String,
    },
}

/// What a driver saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The image is not here and is being fetched.
    Pulling {
        index: Index,
    },
    /// The image is here. `pulled` says how long it took and how large it is, in milliseconds and bytes.
    ImageReady {
        index: Index,
        image: Image,
        pulled: Option<(u64, u64)>,
    },
    /// `reason` is Kubernetes': `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`.
    ImageFailed {
        index: Index,
        reason: &'static str,
        message: String,
    },
    /// With the pod's addresses, the primary one first.
    SandboxReady {
        ips: Vec<String>,
    },
    SandboxFailed {
        message: String,
    },
    /// The shim is gone, and with it whatever ran in the pod.
    SandboxLost,
    SandboxRemoved,
    Started {
        index: Index,
        attempt: u32,
        container_id: String,
        at: Millis,
    },
    /// It could not be made: nothing of it ran. `reason` as in `CreateContainerConfigError`.
    NotCreated {
        index: Index,
        attempt: u32,
        reason: &'static str,
        message: String,
    },
    /// It was made, and its program could not be run.
    NotStarted {
        index: Index,
        attempt: u32,
        message: String,
        at: Millis,
    },
    Exited {
        index: Index,
        attempt: u32,
        exit: Exit,
    },
    Probed {
        index: Index,
        kind: ProbeKind,
        attempt: u32,
        result: Result<(), String>,
    },
    /// Something worth an event that changes nothing.
    Note {
        container: Option<Index>,
        warning: bool,
        reason: &'static str,
        message: String,
    },
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// As a shell says it: 128 and the signal where one ended it.
    pub code: i32,
    /// 0: none.
    pub signal: i32,
    /// The memory limit ended it.
    pub oom: bool,
    pub started_at: Millis,
    pub finished_at: Millis,
    /// From the termination message file, or empty.
    pub message: String,
}

/// What to do now, and when to ask again if nothing happens before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub actions: Vec<Action>,
    pub wake_at: Option<Millis>,
}

/// The delay after the n-th failure in a row of something that may go well the next time: half a second, doubling to ten.
fn retry_delay(tries: u32) -> Millis {
    (500 << tries.min(5)).min(10_000)
}

impl Step {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake(&mut self, at: Millis) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn event(&mut self, container: Option<Index>, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.act(Action::Event {
            container,
            warning,
            reason,
            message: message.into(),
        });
    }
}
