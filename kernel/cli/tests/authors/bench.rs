//! The author's workbench: the `sampan` binary, cargo, and compilers of other languages.
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Where guests are built; the binary's own are there already.
pub fn guests() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guests")
}

/// Where projects are built, one at a time: to cargo two that carry the SDK look alike, and it would put one in the place of the
/// other.
pub fn projects() -> (PathBuf, MutexGuard<'static, ()>) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    (guests().join("projects"), guard)
}

/// A command without what cargo set for the host and for these tests.
pub fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let keep = text == "CARGO_HOME"
            || text == "CARGO_INCREMENTAL"
            || text.starts_with("CARGO_NET")
            || text.starts_with("CARGO_HTTP")
            || text.starts_with("CARGO_REGISTR");
        if (text.starts_with("CARGO") && !keep) || text.starts_with("RUSTFLAGS") || text.starts_with("RUSTC_W") {
            command.env_remove(&name);
        }
    }
    command
}

/// Where a program is on the PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// Runs it to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What it wrote, which has to go well.
pub fn ok(command: &mut Command) -> String {
    let output = run(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Whether the crates that projects are built from are here or can be had; said loudly where not. They are those of one lock
/// file, whatever the world.
pub fn has_crates() -> bool {
    static FETCHED: LazyLock<Result<(), String>> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        ok(sampan("plugin new probe").current_dir(dir.path()));
        let rustc = ok(clean("rustc").current_dir(dir.path().join("probe")).arg("-vV"));
        let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
        let mut cargo = clean("cargo");
        cargo.current_dir(dir.path().join("probe")).args(["fetch", "--target"]);
        cargo.args([host.unwrap(), "--target", "wasm32-unknown-unknown"]);
        let output = run(&mut cargo);
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    });
    let Err(said) = &*FETCHED else { return true };
    // What else keeps cargo from it is for the test to fail of.
    assert!(NO_WAY_THERE.iter().any(|words| said.contains(words)), "{said}");
    eprintln!("SKIPPED: needs the crates of the SDK, from the network or in CARGO_HOME:\n{said}");
    false
}

/// How cargo says that it does not reach the registry.
const NO_WAY_THERE: [&str; 4] = [
    "failed to download",
    "failed to query replaced source",
    "Unable to update",
    "offline",
];

/// `sampan` with these words.
pub fn sampan(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sampan"));
    command.args(words.split_whitespace());
    command
}

/// The core module of a policy of `plugins/`.
pub fn built(name: &str) -> PathBuf {
    let mut cargo = clean(env!("CARGO"));
    cargo
        .current_dir(root().join("plugins"))
        .args(["build", "--release", "--locked", "--quiet", "-p", name]);
    cargo
        .args(["--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(guests());
    ok(&mut cargo);
    guests().join(format!(
        "wasm32-unknown-unknown/release/{}.wasm",
        name.replace('-', "_")
    ))
}
