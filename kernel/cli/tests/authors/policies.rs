//! One policy in three languages against the same contract, held against each other: what each says of each pod of a trace
//! has to be the same, byte for byte, and the same as what the one in Rust says natively.
use crate::bench::{built, find, ok, root, run, sampan};
use apart::Apart;
use sampan_sdk::{
    scheduler::Engine,
    testing::placing::{Native, Trace, run as put_through},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A trace in which pods of some owners find no place, and what `apart` says of each pod, natively.
struct Expected {
    dir: tempfile::TempDir,
}

impl Expected {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trace = Trace::generate(5, 20, 1200);
        let mut policy = Native::<Engine<Apart>>::new("{}").unwrap();
        let report = put_through(&trace, &mut policy).unwrap();
        assert!(report.placed > 300 && report.refused > 100, "{report:?}");
        assert!(report.answers.contains("anti-affinity") && report.answers.contains("for its group"));
        fs::write(dir.path().join("trace.jsonl"), trace.write()).unwrap();
        fs::write(dir.path().join("answers.txt"), report.answers).unwrap();
        Expected { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a component, or a core module, through it.
    fn hold_against(&self, language: &str, file: &Path) {
        let mut command = sampan("plugin test --fuzz 5");
        command.arg(file).arg("--trace").arg(self.path("trace.jsonl"));
        let said = ok(command.arg("--expect").arg(self.path("answers.txt")));
        println!("{language}: {said}");
        assert!(said.contains("apart 0.1.0: Most free memory first"), "{said}");
        assert!(
            said.contains("the same answers as in") && said.contains("fuzz         5 seeds"),
            "{said}"
        );
    }
}

#[test]
fn in_rust_with_the_sdk() {
    Expected::new().hold_against("Rust", &built("apart"));
}

#[test]
fn in_c_against_the_bare_contract() {
    let tools = ["clang", "wasm-ld"].iter().all(|tool| find(tool).is_some());
    if !tools || !Path::new("/usr/lib/wasm32-wasi/libc.a").exists() {
        return eprintln!("SKIPPED: needs clang, lld, wasi-libc, libclang-rt-dev-wasm32; `.ci/packages` installs them");
    }
    let expected = Expected::new();
    header(expected.dir.path());
    let module = expected.path("apart-c.wasm");
    let mut clang = Command::new("clang");
    clang.args([
        "--target=wasm32-wasi",
        "-mexec-model=reactor",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
    ]);
    clang
        .arg(expected.dir.path())
        .arg("-o")
        .arg(&module)
        .arg(root().join("plugins/apart/apart.c"));
    ok(clang.args(["scheduler.c", "scheduler_component_type.o"].map(|name| expected.path(name))));
    expected.hold_against("C", &module);
}

/// What `wit-bindgen c` writes.
fn header(dir: &Path) {
    let mut resolve = wit_bindgen_core::wit_parser::Resolve::default();
    resolve.push_path(root().join("wit/lifecycle")).unwrap();
    let (package, _) = resolve.push_path(root().join("wit/scheduler/0.2")).unwrap();
    let world = resolve.select_world(&[package], Some("scheduler")).unwrap();
    let mut files = wit_bindgen_core::Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files).unwrap();
    for (name, bytes) in files.iter() {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

#[test]
fn in_python_against_the_bare_contract() {
    let installed = root().join("target/python/bin/componentize-py");
    let Some(tool) = find("componentize-py").or(installed.is_file().then_some(installed)) else {
        return eprintln!("SKIPPED: needs componentize-py; `.ci/packages` installs it");
    };
    let expected = Expected::new();
    let wit = expected.path("wit");
    fs::create_dir_all(wit.join("deps/lifecycle")).unwrap();
    fs::copy(root().join("wit/scheduler/0.2/world.wit"), wit.join("world.wit")).unwrap();
    let lifecycle = "lifecycle/lifecycle.wit";
    fs::copy(root().join("wit").join(lifecycle), wit.join("deps").join(lifecycle)).unwrap();
    // Where it may leave behind what Python makes of it.
    fs::copy(root().join("plugins/apart/apart.py"), expected.path("apart.py")).unwrap();
    let component = expected.path("apart-py.wasm");
    let mut python = Command::new(tool);
    python
        .arg("-q")
        .arg("-d")
        .arg(&wit)
        .args(["-w", "scheduler", "componentize", "--stub-wasi", "apart", "-p"]);
    ok(python.arg(expected.dir.path()).arg("-o").arg(&component));
    expected.hold_against("Python", &component);
}

#[test]
fn one_of_the_first_edition_is_tried_out_as_the_kernel_drives_it() {
    let said = ok(sampan("plugin test --nodes 20 --pods 300").arg(built("binpack")));
    assert!(said.contains("again        the same answers, byte for byte"), "{said}");
    assert!(
        said.contains("fuzz         left out: a policy of the contract 0.1"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_tried_out_is_said() {
    let expected = Expected::new();
    let fails = |words: &str, file: &Path| {
        let output = run(sampan(&format!("plugin test {words}")).arg(file));
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let rubbish = expected.path("answers.txt");
    assert!(fails("", &rubbish).contains("no WebAssembly component"));
    assert!(fails("", &expected.path("none.wasm")).contains("cannot read"));
    // A policy of another world.
    let said = fails("", &built("job"));
    assert!(said.contains("it is for the world controller, not scheduler"), "{said}");
    let apart = built("apart");
    let said = fails("--seed 5 --nodes 20 --pods 600 --expect /dev/null", &apart);
    assert!(said.contains("line 1: \"<the end>\" against \"pod 1: "), "{said}");
    let trace = expected.path("bad.jsonl");
    fs::write(&trace, "{\"node\": {\"name\": \"a\", \"cpus\": 3}}\n").unwrap();
    let said = fails(&format!("--trace {}", trace.display()), &apart);
    assert!(said.contains("bad.jsonl: line 1: ") && said.contains("cpus"), "{said}");
    let config = fails("--plugin-config {", &apart);
    assert!(config.contains("--plugin-config is not JSON"), "{config}");
}
