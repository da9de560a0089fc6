//! The parent's side of a start: everything that can be decided before the fork is, so that the child has little to do.
use super::{Container, Stream, child};
use crate::{
    cgroup::{Cgroup, Hierarchy},
    error::{Doing, SetupError, reason},
    log::{Lines, LogFile},
    protocol::{ContainerSpec, Limits, PodSpec, Rootfs},
    rights,
    seccomp::Filter,
    sys::{self, Forked},
};
use rustix::{
    fd::{AsFd, AsRawFd, OwnedFd},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

/// Layers that fit into a page of options.
const MAX_LAYERS: usize = 200;

/// What all containers of a pod share.
pub struct Context {
    /// The pod's directory.
    pub dir: PathBuf,
    pub pod: PodSpec,
    pub hierarchy: Hierarchy,
    /// System call filters by the capabilities they are for.
    filters: BTreeMap<u64, Rc<Filter>>,
}

impl Context {
    pub fn new(dir: PathBuf, pod: PodSpec) -> Context {
        let hierarchy = if pod.cgroup.is_some() {
            Hierarchy::detect()
        } else {
            Hierarchy::default()
        };
        Context {
            dir,
            pod,
            hierarchy,
            filters: BTreeMap::new(),
        }
    }

    fn filter(&mut self, capabilities: u64) -> Rc<Filter> {
        self.filters
            .entry(capabilities)
            .or_insert_with(|| Rc::new(Filter::new(capabilities)))
            .clone()
    }
}

/// Everything the child needs, worked out.
pub(super) struct Plan<'a> {
    pub spec: &'a ContainerSpec,
    /// Make the container's own root, or stay on the node's.
    pub isolated: bool,
    /// Whether this process is root, and may become others.
    pub root: bool,
    /// Where the overlay is mounted.
    pub target: PathBuf,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub capabilities: u64,
    pub rlimits: Vec<(u32, u64, u64)>,
    pub filter: Option<Rc<Filter>>,
    pub cgroup: &'a Cgroup,
    pub stdio: [OwnedFd; 3],
    pub report: OwnedFd,
}

/// Forks a container. Its program does not run yet when this returns: the launch pipe tells.
pub fn start(context: &mut Context, spec: &ContainerSpec) -> Result<Container, SetupError> {
    check(&context.pod, spec)?;
    let capabilities = rights::capability_mask(&spec.capabilities)?;
    let rlimits = rights::resource_limits(spec)?;
    let filter = if spec.unconfined {
        None
    } else {
        Some(context.filter(capabilities))
    };
    let own = context.dir.join(&spec.name);
    let target = own.join("rootfs");
    fs::create_dir_all(&target).doing(|| format!("cannot make {}", target.display()))?;
    remove_stale(&own)?;

    let mut container = Container::new(spec);
    let log = spec
        .log
        .as_ref()
        .map(|log| LogFile::open(log).doing(|| format!("cannot open the log {}", log.path.display())));
    container.log = log.transpose()?;
    let (report_in, report_out) = pipe_with(PipeFlags::CLOEXEC).doing(|| "cannot make a pipe".to_owned())?;
    let ((stdout_in, stdout), (stderr_in, stderr)) = (output()?, output()?);
    for pipe in [&report_in, &stdout_in, &stderr_in] {
        set_nonblocking(pipe).doing(|| "cannot set up a pipe".to_owned())?;
    }
    let stdin = fs::File::open("/dev/null").doing(|| "cannot open /dev/null".to_owned())?;
    (container.cgroup, container.warnings) = cgroup(context, spec)?;

    let plan = Plan {
        spec,
        isolated: spec.rootfs != Rootfs::Host,
        root: rustix::process::geteuid().is_root(),
        target,
        args: strings(&spec.args, "argument")?,
        env: strings(&spec.env, "variable")?,
        capabilities,
        rlimits,
        filter,
        cgroup: &container.cgroup,
        stdio: [stdin.into(), stdout, stderr],
        report: report_out,
    };
    let pid = match fork(&plan) {
        Ok(pid) => pid,
        Err(error) => {
            drop(plan);
            container.cgroup.remove();
            return Err(error);
        }
    };
    drop(plan);
    container.state.pid = pid;
    container.launch = Some(report_in);
    container.streams = [(stdout_in, "stdout"), (stderr_in, "stderr")].map(|(pipe, name)| {
        Some(Stream {
            pipe,
            lines: Lines::new(name),
        })
    });
    Ok(container)
}

fn fork(plan: &Plan<'_>) -> Result<i32, SetupError> {
    let namespaces = match (plan.isolated, plan.spec.mounts.is_empty()) {
        (true, _) => libc::CLONE_NEWPID | libc::CLONE_NEWNS,
        (false, false) => libc::CLONE_NEWNS,
        (false, true) => 0,
    };
    let cgroup = plan
        .cgroup
        .clone_target()
        .doing(|| "cannot open the container's cgroup".to_owned())?;
    let forked = sys::clone(namespaces, cgroup.as_ref().map(|cgroup| cgroup.as_fd()));
    match forked.doing(|| "cannot fork".to_owned())? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => child::run(plan),
    }
}

/// What can be said to be wrong without trying.
fn check(pod: &PodSpec, spec: &ContainerSpec) -> Result<(), SetupError> {
    let refuse = |why: String| Err(SetupError(why));
    if spec.args.first().is_none_or(String::is_empty) {
        return refuse("no command: neither the pod nor the image names a program".to_owned());
    }
    if let Rootfs::Overlay { lower, .. } = &spec.rootfs {
        if !pod.namespaces {
            return refuse("containers need root: without it only Wasm workloads run".to_owned());
        }
        if lower.is_empty() || lower.len() > MAX_LAYERS {
            return refuse(format!(
                "an image of {} layers: expected 1 to {MAX_LAYERS}",
                lower.len()
            ));
        }
    } else if !spec.mounts.is_empty() && !pod.namespaces {
        return refuse("mounts need root".to_owned());
    }
    let relative = spec.mounts.iter().find(|mount| !mount.target.starts_with('/'));
    match relative {
        Some(mount) => refuse(format!("mount target \"{}\": expected an absolute path", mount.target)),
        None => Ok(()),
    }
}

fn cgroup(context: &Context, spec: &ContainerSpec) -> Result<(Cgroup, Vec<String>), SetupError> {
    match &context.pod.cgroup {
        Some(pod) => Cgroup::create(&context.hierarchy, &format!("{pod}/{}", spec.name), &spec.limits),
        None if spec.limits == Limits::default() => Ok((Cgroup::default(), Vec::new())),
        None => Err(SetupError(
            "limits cannot be enforced: the pod has no cgroup".to_owned(),
        )),
    }
}

/// The end of an earlier attempt must not be taken for this one's.
fn remove_stale(own: &Path) -> Result<(), SetupError> {
    match fs::remove_file(own.join("exit.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(SetupError(format!(
            "cannot remove {}/exit.json: {}",
            own.display(),
            reason(&error)
        ))),
        _ => Ok(()),
    }
}

fn strings(strings: &[String], what: &str) -> Result<Vec<CString>, SetupError> {
    let made = strings.iter().map(|string| CString::new(string.as_str()));
    made.collect::<Result<_, _>>()
        .map_err(|_| SetupError(format!("{what}s cannot hold a zero byte")))
}

fn output() -> Result<(OwnedFd, OwnedFd), SetupError> {
    pipe_with(PipeFlags::CLOEXEC).doing(|| "cannot make a pipe".to_owned())
}

/// Only this end: the flag belongs to what is open, and the two ends of a pipe are two.
fn set_nonblocking(fd: &OwnedFd) -> rustix::io::Result<()> {
    debug_assert!(fd.as_raw_fd() > 2);
    fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)
}
