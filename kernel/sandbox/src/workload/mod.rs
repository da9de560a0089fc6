//! Wasm workloads: WASI 0.2 components and programs for WASI preview 1, each in a process of its own that a pod's shim starts.
//!
//! A component that exports `wasi:cli/run` is a command: it runs once and its exit code is the process's. One that
//! exports `wasi:http/incoming-handler` is a server: each request meets a fresh instance of it.
mod command;
mod egress;
mod engine;
mod error;
mod filter;
mod host;
mod program;
mod serve;
mod spec;
mod timing;

pub use command::Ended;
pub(crate) use engine::config;
pub use engine::{Pool, WorkloadEngine};
pub use error::WorkloadError;
pub use filter::{Asked, BoxError, Failed, Filter, FilterBody, FilterLimits, Onward};
pub use program::{Kind, Program};
pub use spec::{Mount, WorkloadSpec};
pub use timing::{Timing, time_commands};

use crate::Compiler;
use std::{path::Path, process::ExitCode};

/// Runs a workload to its end in this process, and says what the process should end with.
///
/// Beyond a command's own codes: 124 if it ran into its deadline, 126 if it is nothing that can be run, 127 if there is
/// no such file, 134 if it trapped, 137 if it needed more memory than it may have. What went wrong is on stderr.
pub fn run(spec: WorkloadSpec) -> ExitCode {
    ExitCode::from(run_to_code(&spec))
}

/// As `run`, with the code as a number.
pub fn run_to_code(spec: &WorkloadSpec) -> u8 {
    // Nothing that runs here ever needs more than this process has. Where this cannot be set there is nothing to lose.
    let _ = rustix::thread::set_no_new_privs(true);
    match start(spec) {
        Ok(Ended::Exited(code)) => code,
        Ok(ended) => {
            eprintln!("{}: {ended}", spec.module.display());
            ended.code()
        }
        Err(error) => {
            eprintln!("cannot run {}: {error}", spec.module.display());
            error.exit_code()
        }
    }
}

fn start(spec: &WorkloadSpec) -> Result<Ended, WorkloadError> {
    let engine = WorkloadEngine::new(spec.cache.clone(), Pool::of(spec.concurrency))?;
    let program = engine.load(&spec.module, spec.digest.as_deref())?;
    match program.kind() {
        Kind::Command => command::run(&program, &spec.settings()),
        Kind::Server => serve::run(program, spec),
    }
}

/// Compiles a component so that `run` with the same cache starts at once. Whether it had to be compiled.
///
/// # Errors
/// If it cannot be read or compiled, or is no workload.
pub fn precompile(
    compiler: &Compiler,
    module: &Path,
    digest: Option<&str>,
    cache: &Path,
) -> Result<bool, WorkloadError> {
    let engine = WorkloadEngine::compiled_by(compiler.clone(), Some(cache.to_owned()), Pool::of(1))?;
    let known = digest.is_some_and(|digest| engine.has(digest));
    engine.load(module, digest)?;
    Ok(!known)
}
