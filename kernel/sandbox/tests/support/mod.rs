//! Builds the guests that tests run, once for each test binary.
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

const GUESTS: &str = "tests/guests";

/// Where cargo put them: below the target directory of the tests, so that they are built once for all.
fn build(workspace: &str, target: &str, packages: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guests");
    let mut cargo = Command::new(env!("CARGO"));
    // What was set for the host and for these tests is not meant for the guests.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let keep = text == "CARGO_HOME"
            || text.starts_with("CARGO_NET")
            || text.starts_with("CARGO_HTTP")
            || text.starts_with("CARGO_REGISTR");
        if (text.starts_with("CARGO") && !keep) || text.starts_with("RUSTFLAGS") || text.starts_with("RUSTC_W") {
            cargo.env_remove(&name);
        }
    }
    cargo
        .current_dir(root.join(workspace))
        .args(["build", "--release", "--locked", "--quiet", "--target", target]);
    cargo.arg("--target-dir").arg(&target_dir);
    packages.iter().for_each(|package| {
        cargo.args(["-p", package]);
    });
    let status = cargo.status().unwrap();
    assert!(status.success(), "the guests for {target} do not build: see above");
    target_dir.join(target).join("release")
}

/// A plugin as a component.
#[allow(dead_code)] // Each test binary uses its own part.
pub fn plugin(name: &str) -> Vec<u8> {
    static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
        build(
            GUESTS,
            "wasm32-unknown-unknown",
            &[
                "guest-scheduler",
                "guest-scheduler-02",
                "guest-controller",
                "guest-network",
                "guest-ingress",
                "guest-ipam",
            ],
        )
    });
    let module = std::fs::read(DIR.join(format!("guest_{name}.wasm"))).unwrap();
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|e| e.encode())
        .unwrap()
}

/// A workload's file.
#[allow(dead_code)]
pub fn workload(name: &str) -> PathBuf {
    static DIR: LazyLock<PathBuf> = LazyLock::new(|| build(GUESTS, "wasm32-wasip2", &["guest-http", "guest-command"]));
    DIR.join(match name {
        "command" => "guest-command.wasm",
        _ => "guest_http.wasm",
    })
}

/// The filter that stands before Ingresses in tests.
#[allow(dead_code)] // Each test binary uses its own part.
pub fn gate() -> Vec<u8> {
    static DIR: LazyLock<PathBuf> = LazyLock::new(|| build("../../images", "wasm32-wasip2", &["sampan-image-gate"]));
    std::fs::read(DIR.join("sampan_image_gate.wasm")).unwrap()
}
