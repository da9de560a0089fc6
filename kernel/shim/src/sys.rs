//! The system calls that no safe library wraps: clone, exec, signal sets, mount attributes, the filter.
#![allow(unsafe_code)] // raw system calls, each with its reason

use rustix::{
    fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    io::{self, Errno},
};
use std::{ffi::CString, mem, ptr};

/// More than the C library's type holds.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// On which side of [`clone`] one is.
pub enum Forked {
    /// The parent, with the child's pid.
    Parent(i32),
    /// The child.
    Child,
}

/// Forks into new namespaces (`CLONE_NEW…`), and into a cgroup of version 2 if one is given. Only a process with a single
/// thread may do this: the child goes on with the memory as it is.
pub fn clone(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    // SAFETY: all zeroes is a valid `clone_args`, and means what fork means.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = u64::from(namespaces.cast_unsigned());
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM and with no stack given the child has a copy of everything, as after fork; the process has
    // one thread, so no lock is held by another.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, mem::size_of_val(&args)) };
    match pid {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(i32::try_from(check(pid)?).map_err(|_| Errno::OVERFLOW)?)),
    }
}

/// Leaves for new namespaces (`CLONE_NEW…`).
pub fn unshare(namespaces: i32) -> io::Result<()> {
    // SAFETY: takes numbers only; descriptors stay shared with nobody, since the process has one thread.
    check(unsafe { libc::unshare(namespaces) }.into()).map(drop)
}

/// Becomes another program. Returns only if that failed.
pub fn execve(path: &CString, args: &[CString], env: &[CString]) -> Errno {
    let list = |strings: &[CString]| {
        strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect::<Vec<_>>()
    };
    let (args, env) = (list(args), list(env));
    // SAFETY: both lists end with null and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    last_error()
}

/// Ends the process at once, without running anything of its exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// Every descriptor from `first` on is closed, or with `on_exec` will be when the process becomes another program.
pub fn close_from(first: u32, on_exec: bool) -> io::Result<()> {
    let flags = if on_exec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: takes numbers only; the callers own none of these descriptors, or only mark them.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }).map(drop)
}

/// Blocks signals, and returns a descriptor from which they are read.
pub fn signal_fd(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: the set is made valid by sigemptyset before it is used; signalfd returns a descriptor that is ours.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) != 0 {
            return Err(last_error());
        }
        let fd = check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::OVERFLOW)?))
    }
}

/// The next signal from a descriptor of [`signal_fd`]; none if there is none now.
pub fn next_signal(fd: &OwnedFd) -> Option<u32> {
    let mut bytes = [0u8; mem::size_of::<libc::signalfd_siginfo>()];
    let read = rustix::io::read(fd, &mut bytes).ok()?;
    // The structure begins with the signal's number.
    (read == bytes.len()).then(|| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Signals as a new program expects them: none blocked, none ignored.
pub fn reset_signals() {
    // SAFETY: sets default handlers and an empty mask; numbers that are no signals are refused, which is of no matter.
    unsafe {
        for signal in 1..65 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// The pid of a child that has ended and has not been waited for; it stays so, and its number with it.
pub fn ended_child() -> Option<i32> {
    // SAFETY: all zeroes is a valid `siginfo_t`, which the call fills in; of a child's end it has a pid, and of none 0.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let found = libc::waitid(libc::P_ALL, 0, &raw mut info, options) == 0;
        Some(info.si_pid()).filter(|pid| found && *pid > 0)
    }
}

/// Sends a signal; a negative pid is a process group. A process that is gone is no error.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    match check(unsafe { libc::kill(pid, signal) }.into()) {
        Err(Errno::SRCH) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes a capability, by number, out of the bounding set. `false` if there is none of this number.
pub fn drop_bounding(capability: u32) -> io::Result<bool> {
    // SAFETY: takes numbers only.
    match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }.into()) {
        Ok(_) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts the calling process, and what it becomes, under a filter of system calls.
pub fn install_filter(steps: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(steps.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog {
        len: length,
        filter: steps.as_ptr().cast_mut(),
    };
    // SAFETY: the structure and what it points to live across the call, which only reads them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    check(done).map(drop)
}

/// Sets a resource limit of this process, by the kernel's number.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the structure lives across the call.
    check(unsafe { libc::setrlimit(resource as _, &raw const limit) }.into()).map(drop)
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Sets `MOUNT_ATTR_…` on a mount, with `recursive` also on those below it.
pub fn set_mount_attributes(mount: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attr = MountAttr {
        set,
        clear: 0,
        propagation: 0,
        userns: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and the structure lives across the call, its size is given.
    let done = unsafe {
        let (path, size) = (c"".as_ptr(), mem::size_of::<MountAttr>());
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            path,
            flags,
            &raw const attr,
            size,
        )
    };
    check(done).map(drop)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
