//! What cannot be run is told why.
use crate::output;
use sampan_sandbox::workload::WorkloadSpec;

fn run(bytes: &[u8]) -> (i32, String) {
    let file = tempfile::NamedTempFile::with_suffix(".wasm").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let (code, _, err) = output(&WorkloadSpec {
        module: file.path().to_owned(),
        ..WorkloadSpec::default()
    });
    (code, err)
}

#[test]
fn what_cannot_be_run_is_told_why() {
    let (code, _, err) = output(&WorkloadSpec {
        module: "/no/such.wasm".into(),
        ..WorkloadSpec::default()
    });
    assert!(
        code == 127 && err.contains("cannot run /no/such.wasm: cannot read it: No such file"),
        "{err}"
    );
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let foreign = r#"(component
        (import "acme:rockets/launch@1.0.0" (instance (export "now" (func))))
        (core module $m (func (export "run") (result i32) i32.const 0))
        (core instance $c (instantiate $m))
        (func $run (result (result)) (canon lift (core func $c "run")))
        (instance $run (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $run)))"#;
    for (bytes, words) in [
        (b"#!/bin/sh\n".to_vec(), "it is no WebAssembly"),
        (Vec::new(), "it is no WebAssembly"),
        (wat("(module)"), "without a `_start`"),
        (
            wat(r#"(module (import "env" "moon" (func)) (func (export "_start")))"#),
            "unknown import: `env::moon`",
        ),
        (wat("(component)"), "nothing at all"),
        (b"\0asm\x0d\0\x01\0rubbish".to_vec(), "it cannot be compiled"),
        (wat(foreign), "acme:rockets/launch@1.0.0"),
    ] {
        let (code, err) = run(&bytes);
        assert!(code == 126 && err.contains(words), "{words}: {code} {err}");
    }
}

#[test]
fn a_module_that_was_replaced_is_not_run() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wat::parse_str("(component)").unwrap()).unwrap();
    let digest = Some(format!("sha256:{}", "0".repeat(64)));
    let (code, _, err) = output(&WorkloadSpec {
        module: file.path().to_owned(),
        digest,
        ..WorkloadSpec::default()
    });
    assert!(code == 126 && err.contains("was damaged or replaced"), "{err}");
}
