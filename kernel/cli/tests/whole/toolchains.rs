//! Components of other toolchains than Rust's: C by clang with Debian's wasi-libc, Python by componentize-py.
use crate::{
    cluster::{Cluster, is_root},
    registry::run,
    tools::{find, have},
};
use std::{fs, path::PathBuf};

/// A job that runs an image once.
fn job(name: &str, image: &str, args: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      \
         restartPolicy: Never\n      containers:\n      - name: main\n        image: {image}\n        args: {args}\n        \
         env: [{{name: GREETING, value: ahoy}}]\n"
    )
}

const C: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
int main(int argc, char **argv) {
    char *heap = malloc(1 << 20);
    memset(heap, 'c', 1 << 20);
    printf("%s from C: %d arguments, the last is %s\n", getenv("GREETING"), argc, argv[argc - 1]);
    fprintf(stderr, "the clock is %s\n", time(NULL) > 1600000000 ? "right" : "wrong");
    return atoi(argv[argc - 1]) + heap[1000] - 'c';
}
"#;

/// With this the adapter asks the program for the memory that it needs. Without, it takes some by itself, which allocators
/// as old as Debian's take to be theirs.
const REALLOC: &str = r#"
#include <stdlib.h>
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *at, size_t old, size_t align, size_t size) {
    return realloc(at, size);
}
"#;

/// As `wasm-tools component new` does it.
fn component(module: &[u8]) -> Vec<u8> {
    use wasi_preview1_component_adapter_provider::{
        WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as ADAPTER,
    };
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(module).unwrap().adapter(NAME, ADAPTER).unwrap();
    encoder.validate(true).encode().unwrap()
}

/// What `clang` makes is a core module for WASI preview 1. It runs as it is, and as the component made of it.
#[test]
fn a_program_in_c() {
    if !have(&["clang", "wasm-ld"]) || !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, module) = (dir.path().join("job.c"), dir.path().join("job.wasm"));
    fs::write(&source, format!("{C}{REALLOC}")).unwrap();
    if !PathBuf::from("/usr/lib/wasm32-wasi/libc.a").exists() {
        return eprintln!("SKIPPED: needs Debian's wasi-libc and libclang-rt-dev-wasm32; `.ci/packages` installs them");
    }
    let (source, output) = (source.display().to_string(), module.display().to_string());
    run("clang", &["--target=wasm32-wasi", "-O1", "-o", &output, &source]);
    assert!(
        fs::read(&module).unwrap().starts_with(b"\0asm\x01\0\0\0"),
        "a core module"
    );

    let mut cluster = Cluster::start(dir, &[]);
    let made = cluster.dir.path().join("component.wasm");
    fs::write(&made, component(&fs::read(&module).unwrap())).unwrap();
    for (name, file) in [("module", &output), ("component", &made.display().to_string())] {
        let built = cluster.ok(&format!("image build {file} -t {name}:1"));
        assert!(built.contains(&format!("Loaded image: {name}:1")), "{built}");
        cluster.feed("apply -f -", &job(name, &format!("{name}:1"), "['0']"));
        cluster.ok(&format!("wait --for=condition=complete job/{name} --timeout=60s"));
        let log = cluster.ok(&format!("logs job/{name}"));
        for line in ["ahoy from C: 2 arguments, the last is 0\n", "the clock is right\n"] {
            assert!(log.contains(line), "{name}: {log}");
        }
    }
    cluster.feed("apply -f -", &job("bad", "module:1", "['7']"));
    cluster.ok("wait --for=condition=failed job/bad --timeout=60s");
    let code = "-o=jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(cluster.ok(&format!("get pods -l job-name=bad {code}")), "7");

    // A module that wants what no WASI has says what, in the pod's log.
    let odd = cluster.file("odd.c", "void moon(void);\nint main(void) { moon(); return 0; }\n");
    let wants = "-Wl,--allow-undefined";
    run("clang", &["--target=wasm32-wasi", "-O1", wants, "-o", &output, &odd]);
    cluster.ok(&format!("image build {output} -t odd:1"));
    cluster.feed("apply -f -", &job("odd", "odd:1", "[]"));
    cluster.ok("wait --for=condition=failed job/odd --timeout=60s");
    let log = cluster.ok("logs job/odd");
    assert!(
        log.contains("asks for what a workload is not given") && log.contains("env::moon"),
        "{log}"
    );
    cluster.note();
    cluster.ok("delete jobs --all");
    cluster.finish();
}

const PYTHON: &str = "
import sys
from wit_world import exports

class Run(exports.Run):
    def run(self):
        print('Python', sys.version_info.major, 'sums to', sum(range(101)))
";

const WORLD: &str = "
package local:job;
package wasi:cli@0.2.0 {
  interface run { run: func() -> result; }
}
world job { export wasi:cli/run@0.2.0; }
";

/// A component of 18 MB, most of it the interpreter.
#[test]
fn a_job_in_python() {
    if !is_root() {
        return;
    }
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/componentize-py");
    let Some(tool) = find("componentize-py").or(installed.is_file().then_some(installed)) else {
        return eprintln!("SKIPPED: needs componentize-py; `.ci/packages` installs it");
    };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir(path("wit")).unwrap();
    fs::write(path("wit/world.wit"), WORLD).unwrap();
    fs::write(path("app.py"), PYTHON).unwrap();
    let wit = path("wit");
    let (tool, source, output) = (
        tool.display().to_string(),
        dir.path().display().to_string(),
        path("job.wasm"),
    );
    let first = ["-q", "-d", &wit, "-w", "job", "componentize", "app"];
    run(&tool, &[&first[..], &["-p", &source, "-o", &output]].concat());

    let mut cluster = Cluster::start(dir, &[]);
    let built = cluster.ok(&format!("image build {output} -t python:1"));
    assert!(built.contains("Loaded image: python:1"), "{built}");
    cluster.feed("apply -f -", &job("sum", "python:1", "[]"));
    cluster.ok("wait --for=condition=complete job/sum --timeout=120s");
    assert_eq!(cluster.ok("logs job/sum"), "Python 3 sums to 5050\n");
    cluster.note();
    cluster.ok("delete jobs --all");
    cluster.finish();
}
