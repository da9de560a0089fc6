//! `plugin new`: what it writes builds, tests natively, and is a plugin.
use crate::bench::{clean, has_crates, ok, projects, run, sampan};
use crate::stage::Stage;

#[test]
fn a_project_of_each_world_builds_tests_and_loads() {
    if !has_crates() {
        return;
    }
    let stage = Stage::new();
    let dir = tempfile::tempdir().unwrap();
    let (target, _guard) = projects();
    for world in ["scheduler", "controller", "network", "ingress", "ipam"] {
        let name = format!("my-{world}");
        let said = ok(sampan(&format!("plugin new {name} --world {world}")).current_dir(dir.path()));
        assert!(
            said.contains(&format!("{name} is a policy of the world {world}")),
            "{said}"
        );
        let project = dir.path().join(&name);
        let cargo = |words: &[&str]| {
            let mut cargo = clean("cargo");
            cargo.current_dir(&project).args(words).arg("--target-dir").arg(&target);
            ok(&mut cargo)
        };
        let tested = cargo(&["test"]);
        assert!(tested.contains("test result: ok. "), "{tested}");
        cargo(&["build", "--release", "--target", "wasm32-unknown-unknown"]);
        let module = target.join(format!("wasm32-unknown-unknown/release/my_{world}.wasm"));
        let loaded = stage.ok(&format!("plugin load {} --name {name}", module.display()));
        assert!(loaded.contains(&name), "{loaded}");
        let is_listed = |line: &str| line.starts_with(&name) && line.contains(world);
        assert!(
            stage.ok("plugin list").lines().any(is_listed),
            "{}",
            stage.ok("plugin list")
        );
        if world == "scheduler" {
            let said = ok(sampan("plugin test --fuzz 2 --expect")
                .arg(target.join("tmp/answers.txt"))
                .arg(&module));
            assert!(said.contains("my-scheduler 0.1.0: One pod of an owner"), "{said}");
            assert!(said.contains("the same answers as in"), "natively and in Wasm: {said}");
        }
    }
    // What is there is not written over.
    let again = run(sampan("plugin new my-scheduler").current_dir(dir.path()));
    assert!(!again.status.success());
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("cannot make my-scheduler"), "{said}");
}
