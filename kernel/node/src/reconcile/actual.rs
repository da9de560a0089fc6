//! What is there of a pod, as far as the agent knows.
use super::{Backoff, Desired, Millis, ProbeKind};
use std::collections::BTreeMap;

/// What is there of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    pub sandbox: Sandbox,
    /// In the order of [`Desired::containers`].
    pub containers: Vec<Container>,
    /// When this node took the pod on.
    pub start_time: Option<Millis>,
    /// The addresses it has or last had, the primary one first; empty before the first.
    pub ips: Vec<String>,
    /// Why sandboxes could not be made lately, for the user.
    pub trouble: Option<String>,
    /// How often in a row a sandbox could not be made.
    pub sandbox_tries: u32,
    /// All init containers have ended well.
    pub initialized: bool,
    /// It is being ended.
    pub stop: Option<Stop>,
    /// It has ended for good: its phase, reason and message do not change any more.
    pub terminal: Option<Terminal>,
    /// When each condition became what it is.
    pub conditions: BTreeMap<String, (bool, Millis)>,
    /// [`super::Action::Forget`] was given.
    pub forgotten: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Not made, and not to be made before this time.
    Absent {
        not_before: Millis,
    },
    Creating,
    Ready,
    /// Its shim is gone; something of it may be left.
    Lost,
    Removing,
    /// Taken away, or never made for a pod that had ended already.
    #[default]
    Removed,
}

/// Why a pod is being ended, and until when it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub cause: StopCause,
    /// When what still runs is killed.
    pub deadline: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// Its object is deleted.
    Deleted,
    /// It was active longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
    /// All that had to run has ended; sidecars still run.
    Finished,
    /// The node lets go of all of its pods; they are not wanted less for that.
    NodeShutdown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    pub succeeded: bool,
    pub reason: Option<String>,
    pub message: Option<String>,
}

/// What is there of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub pull: Pull,
    pub pull_backoff: Backoff,
    /// What it runs or last ran from.
    pub image: Image,
    pub state: State,
    /// How the run before this one ended.
    pub last: Option<Ended>,
    /// The number of the run that is, is next or was last, from 0.
    pub attempt: u32,
    /// That run took place: the next one has the next number.
    pub ran: bool,
    /// How often in a row it could not be created.
    pub create_tries: u32,
    /// Empty before the first.
    pub container_id: String,
    pub backoff: Backoff,
    /// A stop was sent: what still runs at this time is killed; `Millis::MAX` once it was.
    pub kill_at: Option<Millis>,
    pub probes: BTreeMap<ProbeKind, Probing>,
    /// Its startup probe succeeded, or it has none.
    pub started: bool,
    /// Its readiness probe says so, or it has none and has started.
    pub ready: bool,
}

/// An image that is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// As users write it, with its tag: `busybox:1.36`.
    pub name: String,
    /// `name@sha256:…`
    pub id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// Not asked yet.
    #[default]
    Unknown,
    UnderWay,
    Ready,
    /// With when it failed and when to try again.
    Failed {
        at: Millis,
        retry_at: Millis,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Waiting(Waiting),
    /// The driver is at it. What it waited for until now is shown until it runs.
    Starting(Waiting),
    Running {
        since: Millis,
    },
    Ended(Ended),
}

/// Why a container does not run yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Empty: what comes before it.
    pub reason: String,
    pub message: String,
    /// Not to be tried before.
    pub not_before: Millis,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub code: i32,
    pub signal: i32,
    pub reason: String,
    pub message: String,
    /// 0: it never ran.
    pub started_at: Millis,
    pub finished_at: Millis,
    pub container_id: String,
}

/// Where one probe of a running container stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probing {
    pub due: Millis,
    pub under_way: bool,
    pub successes: u32,
    pub failures: u32,
    /// When a failure last counted.
    pub counted_at: Millis,
    /// How often it was asked since the start, for the quick tries at the beginning.
    pub tries: u32,
    /// It succeeded once since the start.
    pub was_good: bool,
}

impl Default for State {
    fn default() -> Self {
        State::Waiting(Waiting::default())
    }
}

impl State {
    pub fn ended(&self) -> Option<&Ended> {
        match self {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self, State::Running { .. })
    }

    /// A process of it is or may be there.
    pub fn is_alive(&self) -> bool {
        matches!(self, State::Running { .. } | State::Starting(_))
    }
}

impl Actual {
    /// The primary address; empty before there is one.
    pub fn ip(&self) -> String {
        self.ips.first().cloned().unwrap_or_default()
    }

    /// Nothing is there yet of a pod seen first at `now`.
    pub fn new(desired: &Desired, now: Millis) -> Self {
        Actual {
            sandbox: Sandbox::Absent { not_before: 0 },
            containers: vec![Container::default(); desired.containers.len()],
            start_time: Some(now),
            ..Actual::default()
        }
    }

    /// Of a pod that this node does not take on: it has failed, and nothing of it is ever made.
    pub fn refused(desired: &Desired, reason: &str, message: String, now: Millis) -> Self {
        Actual {
            sandbox: Sandbox::Removed,
            stop: Some(Stop {
                cause: StopCause::Finished,
                deadline: now,
            }),
            terminal: Some(Terminal {
                succeeded: false,
                reason: Some(reason.to_owned()),
                message: Some(message),
            }),
            ..Actual::new(desired, now)
        }
    }

    /// Whether it has ended for good, and nothing of it runs.
    pub fn has_ended(&self) -> bool {
        self.terminal.is_some() && !self.is_alive()
    }

    /// Whether it has ended before any of its containers came to anything: there is nothing to say of them.
    pub fn never_began(&self) -> bool {
        let idle = |container: &Container| {
            let waits = matches!(&container.state, State::Waiting(waiting) if waiting.reason.is_empty());
            waits && !container.ran && container.last.is_none()
        };
        self.terminal.is_some() && self.containers.iter().all(idle)
    }

    /// Whether anything of it is or may be alive.
    pub fn is_alive(&self) -> bool {
        self.containers.iter().any(|container| container.state.is_alive())
    }
}

impl Container {
    /// The run is over: what concerned it alone is forgotten.
    pub fn end(&mut self, ended: Ended) {
        self.state = State::Ended(ended);
        self.kill_at = None;
        self.probes.clear();
        self.ready = false;
        self.started = false;
    }
}
