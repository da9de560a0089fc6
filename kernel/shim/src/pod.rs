//! A pod's beginning: the namespaces, the socket, the word that it is there. What follows is [`server`](crate::server).
use crate::{
    container::Context,
    error::{Doing, SetupError},
    files, net, process,
    protocol::{PodSpec, ShimInfo},
    server::Server,
    sys,
};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    mount::{MountPropagationFlags, mount_change},
    process::{chdir, getpid, set_child_subreaper, setsid, umask},
    stdio::{dup2_stdin, dup2_stdout},
    system::sethostname,
};
use std::{
    fs,
    io::{self, Write},
    os::unix::net::UnixListener,
    path::Path,
    process::ExitCode,
};

/// The node's last processes to go when it is out of memory: with a shim its pod goes.
const OOM_SCORE_ADJ: &str = "-998";

/// What a pod may set of the kernel, all of it kept in its namespaces.
const SYSCTLS: [&str; 5] = ["net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];

/// Holds a pod until it is shut down. Says on stdout, in one line, who it is ([`ShimInfo`]) or why it cannot
/// (`{"error": "…"}`).
pub fn run(dir: &Path) -> ExitCode {
    let server = match begin(dir) {
        Ok(server) => server,
        Err(error) => {
            println!("{}", serde_json::json!({"error": error.to_string()}));
            return ExitCode::FAILURE;
        }
    };
    match server.serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the shim of {} ends: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn begin(dir: &Path) -> Result<Server, SetupError> {
    let dir = dir
        .canonicalize()
        .doing(|| format!("cannot open the pod's directory {}", dir.display()))?;
    let spec = dir.join("pod.json");
    let pod: Option<PodSpec> = files::read_json(&spec).doing(|| format!("cannot read {}", spec.display()))?;
    let pod = pod.ok_or_else(|| SetupError(format!("there is no {}", spec.display())))?;
    refuse_second(&dir)?;

    // Whatever whoever started this had open.
    let _ = sys::close_from(3, false);
    let _ = setsid();
    umask(Mode::from_raw_mode(0o022));
    set_child_subreaper(Some(getpid())).doing(|| "cannot become the reaper of what containers leave".to_owned())?;
    if pod.namespaces {
        let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
        enter_namespaces(&pod)?;
    }
    // The socket's path may be longer than an address can be.
    chdir(&dir).doing(|| format!("cannot change to {}", dir.display()))?;
    let listener = listen()?;
    chdir("/").doing(|| "cannot change to /".to_owned())?;
    let signals = sys::signal_fd(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP]);
    let signals = signals.doing(|| "cannot wait for signals".to_owned())?;
    let server =
        Server::new(Context::new(dir.clone(), pod), listener, signals).doing(|| "cannot wait for events".to_owned())?;
    announce(&dir)?;
    Ok(server)
}

fn refuse_second(dir: &Path) -> Result<(), SetupError> {
    match files::read_json::<ShimInfo>(&dir.join("shim.json")) {
        Ok(Some(other)) if other.is_alive() => Err(SetupError(format!(
            "the pod in {} already has a shim: process {}",
            dir.display(),
            other.pid
        ))),
        _ => Ok(()),
    }
}

/// Mounts become slaves of the node's: what is mounted here stays here, and what the node takes off is not held here.
fn enter_namespaces(pod: &PodSpec) -> Result<(), SetupError> {
    let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if !pod.host_network {
        flags |= libc::CLONE_NEWNET;
    }
    sys::unshare(flags).doing(|| "cannot make the pod's namespaces".to_owned())?;
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", propagation).doing(|| "cannot separate the pod's mounts".to_owned())?;
    if !pod.hostname.is_empty() {
        let set = sethostname(pod.hostname.as_bytes());
        set.doing(|| format!("cannot set the host name \"{}\"", pod.hostname))?;
    }
    if !pod.host_network {
        net::loopback_up().doing(|| "cannot bring up the pod's loopback interface".to_owned())?;
        // As Docker: a container has its ports to itself, and needs no right to use the low ones.
        let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    }
    for (name, value) in &pod.sysctls {
        let ours = SYSCTLS.iter().any(|prefix| name.starts_with(prefix))
            && !name.contains(['/', '\0'])
            && !name.contains("..");
        if !ours || (pod.host_network && name.starts_with("net.")) {
            return Err(SetupError(format!(
                "sysctl \"{name}\" is not the pod's own: it would change the node"
            )));
        }
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(path, value).doing(|| format!("cannot set sysctl {name} to \"{value}\""))?;
    }
    Ok(())
}

fn listen() -> Result<UnixListener, SetupError> {
    const SOCKET: &str = "shim.sock";
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = match fs::remove_file(SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(SOCKET),
    };
    umask(before);
    let listener = listener.doing(|| "cannot listen on shim.sock".to_owned())?;
    listener
        .set_nonblocking(true)
        .doing(|| "cannot listen on shim.sock".to_owned())?;
    Ok(listener)
}

/// Writes `shim.json`, prints it, and lets go of whoever waits for that.
fn announce(dir: &Path) -> Result<(), SetupError> {
    let pid = getpid().as_raw_nonzero().get();
    let start_ticks = process::start_ticks(pid).map_or(0, |(ticks, _)| ticks);
    let info = ShimInfo {
        pid,
        start_ticks,
        boot: process::boot_id(),
    };
    files::write_json(&dir.join("shim.json"), &info, false)
        .doing(|| format!("cannot write {}/shim.json", dir.display()))?;
    // Nobody may be listening.
    let _ = writeln!(io::stdout(), "{}", serde_json::json!(info));
    let nothing = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let nothing = nothing.doing(|| "cannot open /dev/null".to_owned())?;
    dup2_stdin(&nothing)
        .and_then(|()| dup2_stdout(&nothing))
        .doing(|| "cannot let go of stdout".to_owned())
}
