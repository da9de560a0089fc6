//! `__wasm`: one Wasm workload in this process. The shim starts it in a pod's network, so that logs, signals, limits and
//! exit codes of Wasm are those of containers.
use clap::Args;
use std::{fs::File, io::Read, path::PathBuf, process::ExitCode};

/// A specification is small. Bytes.
const MAX_SPEC: u64 = 4 << 20;

/// What a command that cannot be started ends with, as in shells.
const CANNOT_START: u8 = 126;

#[derive(Debug, Args)]
pub struct WasmArgs {
    /// The file that says what to run
    #[arg(long)]
    spec: PathBuf,
}

pub fn run(args: &WasmArgs) -> ExitCode {
    let mut text = Vec::new();
    let read = File::open(&args.spec).and_then(|file| file.take(MAX_SPEC).read_to_end(&mut text));
    let spec = read.map_err(|error| error.to_string()).and_then(|_| parse(&text));
    match spec {
        Ok(spec) => sampan_sandbox::workload::run(spec),
        Err(error) => {
            eprintln!("cannot run {}: {error}", args.spec.display());
            ExitCode::from(CANNOT_START)
        }
    }
}

fn parse(text: &[u8]) -> Result<sampan_sandbox::workload::WorkloadSpec, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}
