//! Who compiles: this process, or a child for each piece of Wasm.
//!
//! A compiler takes some hundred megabytes and all processors for as long as it runs. In a server or an agent the memory
//! stays with the process's allocator, and the processors are missing where a heartbeat is due. So these have a child do it,
//! which runs the same executable (and so is the same compiler), gives way to everybody, is bounded, and takes all that it
//! used with it when it ends. Nothing of it is on disk: the Wasm goes there in a file without a name, and its code comes back
//! in the same file. What is kept of it is written by who asked (`cache`), as if he had compiled it himself.
mod child;

pub use child::run as compile_for_parent;

use crate::error::bounded;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, pidfd_open},
    time::Timespec,
};
use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read, Seek, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// What a child ends with that has compiled, and that could not for the Wasm's sake. Anything else is the child's own failure.
const DONE: u8 = 0;
const REFUSED: u8 = 3;

/// How soon a child is ended that nobody waits for any more.
const LOOK: Duration = Duration::from_millis(100);

/// What of its words is taken. Bytes.
const WORDS: u64 = 4096;

/// Who compiles.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// This process: for tests and tools, which have no executable with the subcommand, or end soon.
    #[default]
    Here,
    /// A child for each.
    Apart(Apart),
}

/// How the child is started.
#[derive(Clone, Debug)]
pub struct Apart {
    program: PathBuf,
    args: Vec<OsString>,
}

/// For which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Plugin,
    Workload,
}

impl Purpose {
    const ALL: [Purpose; 2] = [Purpose::Plugin, Purpose::Workload];

    fn name(self) -> &'static str {
        match self {
            Purpose::Plugin => "plugin",
            Purpose::Workload => "workload",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler's words: the Wasm is at fault, and will be the next time.
    #[error("{0}")]
    Refused(String),
    /// Another time it may go well.
    #[error("it was not compiled: {0}")]
    Failed(String),
}

impl CompileError {
    pub(crate) fn failed(what: &str, why: &dyn fmt::Display) -> Self {
        CompileError::Failed(bounded(format!("{what}: {why}")))
    }
}

/// What a child may take, by the size of the Wasm: Cranelift needs more for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    /// Bytes of memory of its own.
    memory: u64,
    /// Bytes of code.
    code: u64,
    /// Of a processor, all its threads together.
    cpu: Duration,
    /// By the clock, on a machine that has other things to do.
    wall: Duration,
}

impl Bounds {
    fn of(size: u64) -> Self {
        let cpu = Duration::from_secs(120 + 10 * (size >> 20));
        Bounds {
            memory: (1 << 30) + 128 * size,
            code: (64 << 20) + 32 * size,
            cpu,
            wall: cpu * 5,
        }
    }
}

impl Compiler {
    /// Children that run `program` with `args`, to which two are added; there it comes to [`compile_for_parent`].
    pub fn apart(program: impl Into<PathBuf>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Compiler::Apart(Apart {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
        })
    }
}

impl Apart {
    /// The code of this Wasm; blocks until it is there, or `closed` is set.
    pub(crate) fn compile(&self, purpose: Purpose, wasm: &[u8], closed: &AtomicBool) -> Result<File, CompileError> {
        let failed = |error: io::Error| CompileError::failed("the compiler cannot be started", &error);
        let mut exchange = nameless().map_err(failed)?;
        exchange
            .write_all(wasm)
            .and_then(|()| exchange.rewind())
            .map_err(failed)?;
        let mut words = nameless().map_err(failed)?;
        let mut child = self.start(purpose, &exchange, &words).map_err(failed)?;
        let patience = Bounds::of(wasm.len() as u64).wall;
        let waited = wait(&mut child, patience, closed);
        if waited.is_err() {
            // It may have ended meanwhile.
            let _ = child.kill();
        }
        let ended = child.wait().map_err(failed)?;
        waited?;
        match ended.code() {
            Some(code) if code == i32::from(DONE) => Ok(exchange),
            Some(code) if code == i32::from(REFUSED) => Err(CompileError::Refused(said(&mut words))),
            _ => Err(CompileError::Failed(how_it_ended(ended, &said(&mut words)))),
        }
    }

    fn start(&self, purpose: Purpose, exchange: &File, words: &File) -> io::Result<Child> {
        Command::new(&self.program)
            .args(&self.args)
            .arg(purpose.name())
            .arg(std::process::id().to_string())
            // Whole gigabytes that an allocator sets aside at once would count as used.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdin(exchange.try_clone()?)
            .stdout(Stdio::null())
            .stderr(words.try_clone()?)
            // A terminal's Ctrl-C is for the parent, which ends it.
            .process_group(0)
            .spawn()
    }
}

fn nameless() -> io::Result<File> {
    Ok(File::from(memfd_create("sampan-compile", MemfdFlags::CLOEXEC)?))
}

/// Until it has ended.
fn wait(child: &mut Child, patience: Duration, closed: &AtomicBool) -> Result<(), CompileError> {
    let failed = |error: rustix::io::Errno| CompileError::failed("the compiler cannot be waited for", &error);
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(failed)?;
    let look = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(LOOK.subsec_nanos()),
    };
    let begun = Instant::now();
    loop {
        if closed.load(Ordering::Relaxed) {
            return Err(CompileError::Failed("this process ends".to_owned()));
        }
        if begun.elapsed() > patience {
            let words = format!("it took more than {} s, and was ended", patience.as_secs());
            return Err(CompileError::Failed(words));
        }
        match poll(
            &mut [PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)],
            Some(&look),
        ) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
    }
}

/// The child's words, on one line.
fn said(words: &mut File) -> String {
    let mut bytes = Vec::new();
    // Without them it is said how it ended.
    let _ = words.rewind().and_then(|()| words.take(WORDS).read_to_end(&mut bytes));
    bounded(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn how_it_ended(status: ExitStatus, words: &str) -> String {
    match words.is_empty() {
        true => format!("the compiler ended with {status}"),
        false => format!("the compiler ended with {status}: {words}"),
    }
}
