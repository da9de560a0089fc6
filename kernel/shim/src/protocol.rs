//! What the agent and the shim say to each other, and what the shim leaves on disk.
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// The longest line either side takes. Bytes.
pub const MAX_LINE: usize = 4 << 20;

/// The exit code of a container that could not be started.
pub const START_ERROR_CODE: i32 = 128;

/// `DIR/pod.json`: what the shim is to hold for a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The pod's host name, kept in its UTS namespace. Empty: the node's.
    pub hostname: String,
    /// Make namespaces; needs root. Without, only [`Rootfs::Host`] can be started.
    pub namespaces: bool,
    /// Stay in the node's network.
    pub host_network: bool,
    /// The pod's cgroup below every controller's mount, as `sampan/<uid>`; its containers are `<it>/<name>`. None: no
    /// cgroups, and a limit is an error.
    pub cgroup: Option<String>,
    /// Namespaced kernel parameters (`net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem`, `fs.mqueue.*`).
    pub sysctls: BTreeMap<String, String>,
}

/// A container to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSpec {
    /// Unique in the pod: a DNS label. A container of this name that has exited is replaced.
    pub name: String,
    /// Which restart this is, 0 the first; handed back in the state.
    pub attempt: u32,
    /// What it sees as `/`.
    pub rootfs: Rootfs,
    /// The program, looked up in the container's `PATH` if it has no slash, and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`; nothing is added or inherited.
    pub env: Vec<String>,
    /// Working directory, made if it is not there. None: `/`.
    pub cwd: Option<String>,
    /// Whom it runs as.
    pub user: User,
    /// What root, or a program with file capabilities, may have: `CAP_…` names.
    pub capabilities: Vec<String>,
    /// All devices, `/sys` and `/proc` as they are: nothing masked or read-only.
    pub privileged: bool,
    /// `/` read-only.
    pub readonly_rootfs: bool,
    /// setuid programs gain nothing.
    pub no_new_privileges: bool,
    /// No system call filter instead of the default one.
    pub unconfined: bool,
    /// Besides `/proc`, `/sys`, `/dev`, in this order.
    pub mounts: Vec<Mount>,
    /// -1000 (killed last when the node is out of memory) to 1000.
    pub oom_score_adj: i32,
    /// What its cgroup enforces.
    pub limits: Limits,
    /// Where stdout and stderr go, in the CRI log format. None: nowhere.
    pub log: Option<Log>,
    /// Resource limits, by name as in `nofile`: (soft, hard).
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// Size of `/dev/shm` in bytes; 0: 64 MiB.
    pub shm_size: u64,
}

/// What a container sees as `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rootfs {
    /// The node's own root filesystem and processes, in the pod's network: for a program of ours, such as the Wasm runner.
    /// Mounts cover files of the node.
    #[default]
    Host,
    /// An overlay, mounted in the container's mount namespace only, so that it vanishes with the container.
    Overlay {
        /// Read-only layers, topmost first; at most 200.
        lower: Vec<PathBuf>,
        /// What the container writes; made if it is not there. It is never synced: after a crash of the node it is worthless.
        upper: PathBuf,
        /// Overlay's own; made if it is not there, on the filesystem of `upper`.
        work: PathBuf,
    },
}

/// Numbers only: names are resolved by whoever knows the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
}

/// A mount inside of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Absolute path in the container; made if it is not there, and resolved without leaving the container's root.
    pub target: String,
    /// What is mounted.
    pub source: Source,
    /// Nothing can be written.
    #[serde(default)]
    pub readonly: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A directory or file of the node, with what is mounted below it.
    Bind(PathBuf),
    /// Memory; size in bytes, 0 for the kernel's default.
    Tmpfs {
        /// Bytes.
        #[serde(default)]
        size: u64,
    },
}

/// What a container's cgroup enforces. None is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Processor time per `cpu_period`, in microseconds.
    pub cpu_quota: Option<u64>,
    /// Microseconds; none: 100,000.
    pub cpu_period: Option<u64>,
    /// Weight against others when the processor is contended: 2 to 262144, 1024 being one core's worth.
    pub cpu_shares: Option<u64>,
    /// Bytes, swap included.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The newest file; older ones are `<path>.1`, `<path>.2` …
    pub path: PathBuf,
    /// Rotate when a file is larger. Bytes; 0: 10 MiB.
    #[serde(default)]
    pub max_size: u64,
    /// Files kept, the newest among them. 0: 5.
    #[serde(default)]
    pub max_files: u32,
}

/// A request with the number its reply carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Any number; the reply has the same.
    pub id: u64,
    /// What is wanted: `{"id":1,"request":"state"}`, `{"id":2,"request":{"remove":{"container":"web"}}}`.
    pub request: Request,
}

/// What can be asked. More will come: a shim answers one it does not know with [`ErrorKind::Unsupported`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Request {
    /// Start a container; answered by [`Reply::Started`] once its program runs.
    Start(Box<ContainerSpec>),
    /// Send a signal to a container's first process. SIGKILL goes to all of its processes.
    Signal {
        /// Which container.
        container: String,
        /// Its number on Linux.
        signal: i32,
    },
    /// All containers; answered by [`Reply::State`].
    State,
    /// Forget a container that has exited, and remove its directory in the pod's.
    Remove {
        /// Which container.
        container: String,
    },
    /// Send every change of state as [`Event`] from now on; answered by [`Reply::State`] as of now.
    Watch,
    /// Kill everything, remove the cgroups, answer, and exit.
    Shutdown,
}

/// What the shim sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Message {
    /// The answer to a call.
    Reply {
        /// The call's; 0 if it could not be read.
        id: u64,
        /// `{"ok": …}` or `{"error": {"kind": …, "message": …}}`.
        result: Outcome,
    },
    /// A change, for those who watch.
    Event(Event),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was done.
    Ok(Reply),
    /// It was not.
    Error(ShimError),
}

/// What a call that was done gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// Nothing but that it was done.
    Done,
    /// A container's program runs.
    Started {
        /// As in [`Request::State`].
        state: ContainerState,
        /// What could not be set up and was left out, such as a controller this host does not have.
        warnings: Vec<String>,
    },
    /// Every container, by name.
    State {
        /// Sorted by name.
        containers: Vec<ContainerState>,
    },
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// A container's program runs.
    Started(ContainerState),
    /// A container has ended; its log is complete, and `exit.json` is written.
    Exited(ContainerState),
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// As in its spec.
    pub name: String,
    /// As in its spec.
    pub attempt: u32,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its first process, as the node numbers it; 0 if it never had one.
    pub pid: i32,
    /// Unix time in nanoseconds.
    pub started_at: Option<u64>,
    /// Unix time in nanoseconds.
    pub finished_at: Option<u64>,
    /// 128 + signal if a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// For people; empty if there is nothing to say.
    pub message: String,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It is being set up.
    Created,
    /// Its program runs.
    Running,
    /// It has ended, or could not be started.
    Exited,
}

/// Why a container ended, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// With exit code 0.
    Completed,
    /// With another one, or by a signal.
    Error,
    /// The kernel killed it, or a process of it, for memory.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// It never ran.
    StartError,
}

impl Reason {
    /// The word, as it appears in a pod's status.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Completed => "Completed",
            Reason::Error => "Error",
            Reason::OomKilled => "OOMKilled",
            Reason::StartError => "StartError",
        }
    }
}

/// Why a call was refused. The message is for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ShimError {
    /// For programs.
    pub kind: ErrorKind,
    /// For people.
    pub message: String,
}

/// For programs: what sort of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    /// No such container.
    NotFound,
    /// There is one of this name that has not exited, or has not been removed.
    Conflict,
    /// The request makes no sense.
    Invalid,
    /// This shim cannot do that.
    Unsupported,
    /// The container could not be started; it is kept as exited with [`Reason::StartError`].
    StartFailed,
    /// The system refused.
    System,
}

impl ShimError {
    /// An error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ShimError {
            kind,
            message: message.into(),
        }
    }
}

/// `DIR/shim.json`, and the line that a shim prints once it can be connected to: a pid and the proof whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShimInfo {
    /// The shim's process; its namespaces are `/proc/<pid>/ns/*`.
    pub pid: i32,
    /// When it started, in clock ticks since boot: the 22nd field of `/proc/<pid>/stat`.
    pub start_ticks: u64,
    /// The boot that these ticks are counted from, as the kernel names it. Empty where it was not written down.
    #[serde(default)]
    pub boot: String,
}

impl ShimInfo {
    /// Whether the process still is the one this was written for, and not a zombie. After a reboot another may have its
    /// pid, and even its ticks: nodes boot alike.
    pub fn is_alive(&self) -> bool {
        if !self.boot.is_empty() && self.boot != crate::process::boot_id() {
            return false;
        }
        crate::process::start_ticks(self.pid).is_some_and(|(ticks, alive)| alive && ticks == self.start_ticks)
    }
}
