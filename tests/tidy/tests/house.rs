//! The house is tidy: imports go down, every file says why it exists, rooms are small, names say something.
use std::process::Command;

fn none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn imports_go_down() {
    let output = Command::new(env!("CARGO"))
        .current_dir(tidy::root())
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .expect("cargo runs");
    let metadata = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    none("imports must go down the table", tidy::forbidden_imports(&metadata));
}

#[test]
fn every_file_says_why_it_exists() {
    none(
        "open each file with //!",
        tidy::without_purpose(&tidy::sources(&tidy::root())),
    );
}

#[test]
fn rooms_are_small() {
    none("split these files", tidy::too_long(&tidy::sources(&tidy::root())));
}

#[test]
fn names_say_something() {
    none("rename these", tidy::badly_named(&tidy::sources(&tidy::root())));
}

#[test]
fn the_lower_floors_are_sans_io() {
    let root = tidy::root();
    none("give these as inputs", tidy::not_sans_io(&root, &tidy::sources(&root)));
}

#[test]
fn the_checks_can_fail() {
    let file = |name: &str, text: &str| (tidy::root().join(name), text.to_owned());
    let bad = [file(
        "kernel/state/src/util.rs",
        "let now = std::time::Instant::now();\n",
    )];
    assert_eq!(tidy::without_purpose(&bad).len(), 1);
    assert_eq!(tidy::badly_named(&bad).len(), 1);
    assert_eq!(tidy::not_sans_io(&tidy::root(), &bad).len(), 1);
    assert_eq!(
        tidy::too_long(&[file("kernel/x.rs", &"\n".repeat(tidy::WALL + 1))]).len(),
        1
    );
    let up = serde_json::json!({"packages": [{"name": "sampan-api", "manifest_path": "/x/kernel/api/Cargo.toml",
        "dependencies": [{"name": "sampan-state", "path": "/x", "kind": null}]}]});
    assert_eq!(tidy::forbidden_imports(&up).len(), 1);
}
