//! Why a workload cannot be run.
use std::{io, net::SocketAddr, path::PathBuf};

/// Why a workload cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    #[error("cannot read it: {0}")]
    Read(io::Error),
    #[error("it has {size} bytes, and {limit} are the limit")]
    TooLarge { size: u64, limit: u64 },
    #[error("its digest is {found}, not {wanted}: the file was damaged or replaced, pull the image again")]
    Digest { found: String, wanted: String },
    #[error("it is no WebAssembly: it does not begin as WebAssembly does")]
    NotWasm,
    #[error(
        "it is a core module without a `_start`, so no program: build it for wasm32-wasip2 or wasm32-wasip1 as a command, \
         or make it a component with `wasm-tools component new`"
    )]
    NoStart,
    #[error("it cannot be compiled: {0}")]
    Compile(String),
    /// Nothing is said of the workload.
    #[error("it could not be compiled now: {0}")]
    NotCompiled(String),
    #[error(
        "it exports neither wasi:cli/run@0.2 (a command) nor wasi:http/incoming-handler@0.2 (a server), but {exports}"
    )]
    Kind { exports: String },
    #[error("it asks for what a workload is not given: {0}")]
    Link(String),
    #[error("cannot give it the directory {} as {guest}: {reason}", host.display())]
    Mount {
        host: PathBuf,
        guest: String,
        reason: String,
    },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("this machine cannot run WebAssembly: {0}")]
    Engine(String),
    #[error("the system refuses what is needed to run it: {0}")]
    System(io::Error),
}

impl WorkloadError {
    /// Whether another time it may go well.
    pub fn passes(&self) -> bool {
        matches!(self, WorkloadError::NotCompiled(_))
    }

    /// As a shell's: 127 if there is no such file, 126 if it cannot be run.
    pub fn exit_code(&self) -> u8 {
        match self {
            WorkloadError::Read(error) if error.kind() == io::ErrorKind::NotFound => 127,
            _ => 126,
        }
    }
}
