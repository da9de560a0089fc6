//! The child's side of a start, from the fork to its program. It has one thread and a copy of everything, and whatever
//! goes wrong it says on the report pipe, which closes by itself when the program runs.
use super::start::Plan;
use crate::{
    error::{Doing, SetupError, reason},
    protocol::Rootfs,
    rights, rootfs, sys,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Gid, Mode, Uid, fchown},
    io::Errno,
    process::{Signal, chdir, set_parent_process_death_signal, setsid, umask},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::set_no_new_privs,
};
use std::{convert::Infallible, ffi::CString, fs, io};

/// Where programs are looked for if the container does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn run(plan: &Plan<'_>) -> ! {
    let failure = match become_program(plan) {
        Err(failure) => failure.to_string(),
        Ok(never) => match never {},
    };
    let mut text = failure.as_bytes();
    while let Ok(written @ 1..) = rustix::io::write(&plan.report, text) {
        text = &text[written..];
    }
    sys::exit_now(crate::protocol::START_ERROR_CODE)
}

fn become_program(plan: &Plan<'_>) -> Result<Infallible, SetupError> {
    let spec = plan.spec;
    die_with_parent(plan)?;
    sys::reset_signals();
    setsid().doing(|| "cannot begin a session".to_owned())?;
    let entrance = plan.cgroup.entrance();
    let entrance = entrance.doing(|| "cannot open the cgroup".to_owned())?;
    if plan.root {
        // Lowering it needs a right that is lost below.
        let adjusted = fs::write("/proc/self/oom_score_adj", spec.oom_score_adj.to_string());
        adjusted.doing(|| "cannot set oom_score_adj".to_owned())?;
    }
    dup2_stdin(&plan.stdio[0])
        .and_then(|()| dup2_stdout(&plan.stdio[1]))
        .doing(|| "cannot set up the streams".to_owned())?;
    dup2_stderr(&plan.stdio[2]).doing(|| "cannot set up the streams".to_owned())?;
    if plan.root {
        // So that whom it runs as can open /dev/stdout.
        let (uid, gid) = (Uid::from_raw(spec.user.uid), Gid::from_raw(spec.user.gid));
        for pipe in &plan.stdio[1..] {
            fchown(pipe, Some(uid), Some(gid)).doing(|| "cannot set up the streams".to_owned())?;
        }
    }

    if let Rootfs::Overlay { lower, upper, work } = &spec.rootfs {
        let layers = rootfs::Layers {
            lower,
            upper,
            work,
            target: &plan.target,
        };
        rootfs::enter(spec, &layers, &plan.cgroup.views())?;
    } else {
        rootfs::cover(&spec.mounts)?;
    }
    // Only now, so that a container with little processor time is set up no slower than others.
    entrance.enter().doing(|| "cannot enter the cgroup".to_owned())?;
    if plan.isolated {
        // Missing in a kernel without it, and no more than a nicety.
        let _ = sys::unshare(libc::CLONE_NEWCGROUP);
    }
    umask(Mode::from_raw_mode(0o022));
    enter_directory(plan)?;
    for (resource, soft, hard) in &plan.rlimits {
        sys::set_rlimit(*resource, *soft, *hard).doing(|| "cannot set a resource limit".to_owned())?;
    }
    confine(plan)?;
    // Changing the user took it back.
    die_with_parent(plan)?;
    let _ = sys::close_from(3, true);
    Err(exec(plan))
}

/// The kernel kills this process when the shim ends. If it already has, nobody reads the report pipe.
fn die_with_parent(plan: &Plan<'_>) -> Result<(), SetupError> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "cannot bind to the shim's life".to_owned())?;
    let mut pipe = [PollFd::new(&plan.report, PollFlags::empty())];
    let asked = poll(&mut pipe, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    if asked.is_ok() && pipe[0].revents().contains(PollFlags::ERR) {
        sys::exit_now(crate::protocol::START_ERROR_CODE);
    }
    Ok(())
}

fn enter_directory(plan: &Plan<'_>) -> Result<(), SetupError> {
    let Some(cwd) = plan.spec.cwd.as_deref().filter(|cwd| !cwd.is_empty()) else {
        return chdir("/").doing(|| "cannot change to /".to_owned());
    };
    match chdir(cwd) {
        Err(Errno::NOENT) if plan.isolated => {
            let made = fs::create_dir_all(cwd);
            made.doing(|| format!("cannot make the working directory {cwd}"))?;
            chdir(cwd)
        }
        done => done,
    }
    .doing(|| format!("cannot change to the working directory {cwd}"))
}

/// The filter comes while this process still may install one; what follows it is among what it allows.
fn confine(plan: &Plan<'_>) -> Result<(), SetupError> {
    let spec = plan.spec;
    if spec.no_new_privileges || !plan.root {
        set_no_new_privs(true).doing(|| "cannot set no_new_privs".to_owned())?;
    }
    if let Some(filter) = &plan.filter {
        filter
            .install()
            .doing(|| "cannot install the system call filter".to_owned())?;
    }
    if plan.root {
        rights::become_user(&spec.user, plan.capabilities)
    } else {
        Ok(())
    }
}

/// Looks the program up as a shell does. Returns only with the reason why it could not be run.
fn exec(plan: &Plan<'_>) -> SetupError {
    let name = plan.spec.args.first().map_or("", String::as_str);
    let refused = |error: Errno| SetupError(format!("exec \"{name}\": {}", reason(&io::Error::from(error))));
    if name.contains('/') {
        return refused(sys::execve(&plan.args[0], &plan.args, &plan.env));
    }
    let path = plan
        .spec
        .env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix("PATH="))
        .unwrap_or(PATH);
    let mut denied = None;
    for dir in path.split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        let Ok(candidate) = CString::new(format!("{dir}/{name}")) else {
            continue;
        };
        match sys::execve(&candidate, &plan.args, &plan.env) {
            Errno::NOENT | Errno::NOTDIR => {}
            error @ Errno::ACCESS => denied = Some(error),
            error => return refused(error),
        }
    }
    match denied {
        Some(error) => refused(error),
        None => SetupError(format!("exec \"{name}\": no such program in PATH ({path})")),
    }
}
