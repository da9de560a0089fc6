//! A container of the pod, from its start to its end.
mod child;
mod start;

pub use start::{Context, start};

use crate::{
    cgroup::Cgroup,
    files,
    log::{Lines, LogFile, now},
    protocol::{ContainerSpec, ContainerState, Phase, Reason, Rootfs, START_ERROR_CODE},
    sys,
};
use rustix::{
    fd::OwnedFd,
    io::{Errno, read},
};
use std::{fs, path::Path};

/// Read from a pipe at once. Bytes.
const CHUNK: usize = 64 << 10;

/// Taken from a pipe after its container has ended, at most: a process that escaped may print for ever. Bytes.
const LAST_WORDS: usize = 1 << 20;

/// What a pipe has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// There may be more later.
    Open,
    /// Nobody writes any more.
    Ended,
}

/// One of a container's output streams.
pub struct Stream {
    pub pipe: OwnedFd,
    lines: Lines,
}

/// A container and what the shim holds for it.
pub struct Container {
    pub state: ContainerState,
    /// Whether it shares the shim's process namespace, so that what it forked may outlive it.
    shares_processes: bool,
    /// stdout and stderr, until they end.
    pub streams: [Option<Stream>; 2],
    /// From the fork until its program runs: the pipe on which the child would tell why it cannot.
    pub launch: Option<OwnedFd>,
    failure: Vec<u8>,
    /// Whom to answer once it runs: client and call.
    pub waiting: Option<(u32, u64)>,
    pub warnings: Vec<String>,
    log: Option<LogFile>,
    pub cgroup: Cgroup,
}

impl Container {
    /// One that never ran.
    pub fn failed(spec: &ContainerSpec, message: String) -> Container {
        let mut container = Container::new(spec);
        let state = &mut container.state;
        state.phase = Phase::Exited;
        state.finished_at = Some(now());
        state.exit_code = Some(START_ERROR_CODE);
        state.reason = Some(Reason::StartError);
        state.message = message;
        container
    }

    fn new(spec: &ContainerSpec) -> Container {
        Container {
            state: ContainerState {
                name: spec.name.clone(),
                attempt: spec.attempt,
                phase: Phase::Created,
                pid: 0,
                started_at: None,
                finished_at: None,
                exit_code: None,
                signal: None,
                reason: None,
                message: String::new(),
            },
            shares_processes: spec.rootfs == Rootfs::Host,
            streams: [None, None],
            launch: None,
            failure: Vec::new(),
            waiting: None,
            warnings: Vec::new(),
            log: None,
            cgroup: Cgroup::default(),
        }
    }

    /// Moves what a stream has into the log.
    pub fn pump(&mut self, stream: usize) -> Flow {
        let Some(open) = &mut self.streams[stream] else {
            return Flow::Ended;
        };
        let mut chunk = [0; CHUNK];
        let mut out = Vec::new();
        let flow = match read(&open.pipe, &mut chunk) {
            Ok(0) => Flow::Ended,
            Ok(length) => {
                open.lines.push(&chunk[..length], now(), &mut out);
                Flow::Open
            }
            Err(Errno::AGAIN | Errno::INTR) => Flow::Open,
            Err(_) => Flow::Ended,
        };
        if flow == Flow::Ended {
            open.lines.end(now(), &mut out);
            self.streams[stream] = None;
        }
        if let Some(log) = &mut self.log {
            log.append(&out);
        }
        flow
    }

    /// Everything that is in the pipes of a container that has ended.
    fn drain(&mut self) {
        for stream in 0..self.streams.len() {
            let mut taken = 0;
            while taken < LAST_WORDS
                && self.streams[stream]
                    .as_ref()
                    .is_some_and(|stream| readable(&stream.pipe))
                && self.pump(stream) == Flow::Open
            {
                taken += CHUNK;
            }
        }
    }

    /// Reads the launch pipe. `Some` once it has ended: whether the program runs.
    pub fn launched(&mut self) -> Option<bool> {
        let pipe = self.launch.as_ref()?;
        let mut chunk = [0; 4096];
        loop {
            match read(pipe, &mut chunk) {
                Ok(0) => break,
                Ok(length) if self.failure.len() < CHUNK => self.failure.extend_from_slice(&chunk[..length]),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => break,
            }
        }
        self.launch = None;
        if self.failure.is_empty() {
            self.state.phase = Phase::Running;
            self.state.started_at = Some(now());
            return Some(true);
        }
        let what = String::from_utf8_lossy(&self.failure);
        self.state.message = format!("cannot start container \"{}\": {what}", self.state.name);
        Some(false)
    }

    /// Kills what it started and would outlive it; before its first process is waited for, so that no number is reused.
    pub fn kill_rest(&self) {
        if self.shares_processes && self.state.pid > 1 {
            let _ = sys::kill(-self.state.pid, libc::SIGKILL);
            self.cgroup.kill();
        }
    }

    /// Its first process has ended, with a code or by a signal.
    pub fn ended(&mut self, code: Option<i32>, signal: Option<i32>, dir: &Path) {
        self.drain();
        let oom_kills = self.cgroup.oom_kills();
        let state = &mut self.state;
        let started = state.started_at.is_some();
        state.phase = Phase::Exited;
        state.finished_at = Some(now());
        state.signal = signal.filter(|_| started);
        state.exit_code = Some(if started {
            code.unwrap_or(128 + signal.unwrap_or(0))
        } else {
            START_ERROR_CODE
        });
        state.reason = Some(match state.exit_code {
            _ if !started => Reason::StartError,
            Some(0) => Reason::Completed,
            _ if oom_kills > 0 => Reason::OomKilled,
            _ => Reason::Error,
        });
        self.save(dir);
    }

    /// Leaves the end on disk, where it is found even if this process is gone.
    pub fn save(&mut self, dir: &Path) {
        let own = dir.join(&self.state.name);
        let saved =
            fs::create_dir_all(&own).and_then(|()| files::write_json(&own.join("exit.json"), &self.state, false));
        if let Err(error) = saved {
            eprintln!("cannot write {}/exit.json: {error}", own.display());
        }
    }

    /// Sends a signal to the first process; SIGKILL to all.
    pub fn signal(&self, signal: i32) -> rustix::io::Result<()> {
        if self.state.phase == Phase::Exited || self.state.pid <= 1 {
            return Ok(());
        }
        if signal == libc::SIGKILL {
            self.kill_rest();
        }
        sys::kill(self.state.pid, signal)
    }
}

fn readable(pipe: &OwnedFd) -> bool {
    let mut poll = [rustix::event::PollFd::new(pipe, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|ready| ready > 0)
}
