//! Compiling in a child, which is this test binary again: what comes of it is what this process would have made, and what
//! goes wrong there is said here.
use crate::SCHEDULER;
use sampan_api::plugin::World;
use sampan_sandbox::{
    Compiler, Limits, LoadError, PluginEngine, compile_for_parent,
    workload::{Pool, WorkloadEngine, WorkloadError},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// The other side. As a test it is nothing.
#[test]
fn child() {
    let args: Vec<String> = std::env::args().collect();
    if let [.., purpose, parent] = &args[..]
        && parent.parse::<u32>().is_ok()
    {
        std::process::exit(compile_for_parent(&[purpose.clone(), parent.clone()]).into());
    }
}

fn apart() -> Compiler {
    let exact = ["--exact", "apart::child", "--nocapture", "--test-threads=1"];
    Compiler::apart(std::env::current_exe().unwrap(), exact)
}

/// A child that runs a script.
fn script(text: &str) -> Compiler {
    Compiler::apart("/bin/sh", ["-c", text].map(OsString::from))
}

fn engine(compiler: Compiler, dir: &Path) -> Arc<PluginEngine> {
    PluginEngine::compiled_by(compiler, Some(dir.to_owned())).unwrap()
}

fn load(engine: &Arc<PluginEngine>, bytes: &[u8]) -> Result<String, LoadError> {
    engine
        .load(World::Scheduler, bytes, &Value::Null, Limits::default())
        .map(|loaded| loaded.description().name.clone())
}

fn files(dir: &Path) -> BTreeSet<OsString> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect()
}

#[test]
fn what_a_child_makes_is_what_this_process_would_have_made() {
    let home = tempfile::tempdir().unwrap();
    let (here, there) = (home.path().join("here"), home.path().join("there"));
    let name = load(&engine(Compiler::Here, &here), &SCHEDULER).unwrap();
    assert_eq!(load(&engine(apart(), &there), &SCHEDULER).unwrap(), name);
    assert_eq!(files(&here), files(&there));
    let code = |dir: &Path| fs::read(dir.join(files(dir).first().unwrap())).unwrap();
    assert!(code(&here) == code(&there), "the code differs");
    // What is there needs no child.
    assert_eq!(load(&engine(script("exit 1"), &there), &SCHEDULER).unwrap(), name);
    // Nor does it need a directory.
    let none = PluginEngine::compiled_by(apart(), None).unwrap();
    assert_eq!(load(&none, &SCHEDULER).unwrap(), name);
}

#[test]
fn a_directory_that_cannot_be_used_is_done_without() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, b"").unwrap();
    load(&engine(apart(), &file.join("wasm")), &SCHEDULER).unwrap();
}

#[test]
fn workloads_are_compiled_for_their_own_engine() {
    let home = tempfile::tempdir().unwrap();
    let engine = |compiler| WorkloadEngine::compiled_by(compiler, Some(home.path().to_owned()), Pool::of(1)).unwrap();
    let module = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
    engine(apart()).load_bytes(&module).unwrap();
    assert_eq!(files(home.path()).len(), 1);
    engine(script("exit 1")).load_bytes(&module).unwrap();
    let bad = engine(apart()).load_bytes(b"\0asm\x01\0\0\0\x63");
    assert!(matches!(bad, Err(WorkloadError::Compile(_))));
}

#[test]
fn what_the_compiler_says_of_the_wasm_is_said_here() {
    let home = tempfile::tempdir().unwrap();
    let bad = [b"\0asm\x0d\0\x01\0".as_slice(), &[0x63; 40]].concat();
    let words = |compiler| load(&engine(compiler, home.path()), &bad).unwrap_err();
    let (here, there) = (words(Compiler::Here), words(apart()));
    assert_eq!(here.to_string(), there.to_string());
    assert!(!there.passes(), "{there}");
    assert!(files(home.path()).is_empty(), "{:?}", files(home.path()));
}

#[test]
fn a_child_that_fails_says_nothing_of_the_wasm() {
    let home = tempfile::tempdir().unwrap();
    let fails = |compiler, wanted: &str| {
        let error = load(&engine(compiler, home.path()), &SCHEDULER).unwrap_err();
        assert!(error.passes() && error.to_string().contains(wanted), "{error}");
    };
    fails(script("echo out of luck >&2; exit 1"), "exit status: 1: out of luck");
    fails(script("kill -9 $$"), "signal: 9");
    fails(
        Compiler::apart("/nowhere/sampan", ["x"]),
        "cannot be started: No such file",
    );
    // A plugin is not held to be compiled because somebody says so: this is still the Wasm.
    let error = load(&engine(script("exit 0"), home.path()), &SCHEDULER).unwrap_err();
    assert!(error.to_string().contains("no WebAssembly component"), "{error}");
    assert!(files(home.path()).len() <= 1);
    // And what is there is not taken for good.
    load(&engine(apart(), home.path()), &SCHEDULER).unwrap();
}

#[test]
fn who_ends_waits_for_no_child() {
    let home = tempfile::tempdir().unwrap();
    let engine = engine(script("exec sleep 600"), home.path());
    let loading = std::thread::spawn({
        let engine = engine.clone();
        move || load(&engine, &SCHEDULER)
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!loading.is_finished());
    let begun = Instant::now();
    engine.close();
    let error = loading.join().unwrap().unwrap_err();
    assert!(error.passes() && begun.elapsed() < Duration::from_secs(5), "{error}");
}
