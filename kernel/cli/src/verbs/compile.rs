//! `__compile`: compiles one piece of Wasm for the server or the agent that started this, so that a compiler's memory and
//! haste are not theirs.
#![allow(unsafe_code)] // signal(2) has no safe form; it is called once, before any thread is started.
use clap::Args;
use sampan_sandbox::Compiler;
use std::process::ExitCode;

const NAME: &str = "__compile";

#[derive(Debug, Args)]
pub struct CompileArgs {
    /// What the parent says of itself
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Children that run this executable, even where another has taken its place on disk.
pub fn apart() -> Compiler {
    Compiler::apart("/proc/self/exe", [NAME])
}

pub fn run(args: &CompileArgs) -> ExitCode {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: SIG_IGN is no function. A service's end is the parent's to care for: it ends this one, too.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    ExitCode::from(sampan_sandbox::compile_for_parent(&args.words))
}
