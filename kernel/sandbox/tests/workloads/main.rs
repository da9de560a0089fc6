//! Workloads as the shim runs them: each in a process of its own, which is this test binary again.
#![allow(clippy::unwrap_used)] // Helpers of tests too: a panic there is the test failing.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod filters;
mod refused;
mod servers;

use sampan_sandbox::workload::{WorkloadSpec, run_to_code};
use std::process::{Command, Output, Stdio};

/// Names the specification's file to the process that runs it.
const SPEC: &str = "SAMPAN_TEST_SPEC";

/// The other side: runs a specification. As a test it is nothing.
#[test]
fn runner() {
    if let Some(path) = std::env::var_os(SPEC) {
        let spec: WorkloadSpec = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        std::process::exit(run_to_code(&spec).into());
    }
}

/// A workload's process, and the file that says what it runs.
fn process(spec: &WorkloadSpec) -> (Command, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec(spec).unwrap()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "runner", "--nocapture", "--test-threads=1"])
        .env_clear()
        .env(SPEC, file.path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    (command, file)
}

fn output(spec: &WorkloadSpec) -> (i32, String, String) {
    let (mut command, _file) = process(spec);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}
