//! Without root, for real: as the user `nobody`, who owns nothing but a home.
use crate::{registry::run, tools::find};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Command, Stdio},
};

const NOBODY: u32 = 65534;

/// A home of nobody's, with the binary beside it: build directories may be closed to others.
fn home() -> Option<tempfile::TempDir> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root, to become nobody");
        return None;
    }
    if find("setpriv").is_none() {
        eprintln!("SKIPPED: needs setpriv, of the package util-linux");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (from, to) = (env!("CARGO_BIN_EXE_sampan"), dir.path().join("sampan"));
    if fs::hard_link(from, &to).is_err() {
        fs::copy(from, &to).unwrap();
    }
    fs::create_dir(dir.path().join("home")).unwrap();
    chown(dir.path().join("home"), Some(NOBODY), Some(NOBODY)).unwrap();
    Some(dir)
}

fn sampan(dir: &Path, args: &[&str]) -> Command {
    let home = dir.join("home");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        .arg(dir.join("sampan"))
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("NO_COLOR", "1")
        .env("TMPDIR", &home)
        .env("HOME", &home)
        .current_dir(&home);
    command
}

#[test]
fn the_demo_of_nobody() {
    let Some(dir) = home() else { return };
    let done = sampan(dir.path(), &["demo"]).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert_eq!(done.status.code(), Some(0), "{out}\n{err}");
    for words in [
        "a Wasm batch job runs to completion",
        "left out",
        "a Deployment of a native container answers",
        "containers need root",
        "nothing is left on the host",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let left: Vec<_> = fs::read_dir(dir.path().join("home")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_cluster_of_nobodys() {
    let Some(dir) = home() else { return };
    let mut up = sampan(dir.path(), &["up", "--listen", "127.0.0.1:0", "--stop-pods"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    let first = lines.next().expect("it says that it is ready").unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let ended = std::panic::catch_unwind(|| live(dir.path(), &first));
    run("kill", &["-TERM", &up.id().to_string()]);
    let code = up.wait().unwrap().code();
    ended.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    assert_eq!(code, Some(0));
    assert_eq!(crate::traces::processes(dir.path()), Vec::<i32>::new());

    // What is somebody else's is said to be, with the way out.
    let done = sampan(dir.path(), &["up", "--data-dir", "/proc/1/sampan"])
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(1) && err.contains("--data-dir"), "{err}");
}

/// What a user without root can do: Wasm runs, and a container says why it does not.
fn live(dir: &Path, first: &str) {
    assert!(
        first.contains("is ready on https://127.0.0.1:") && first.contains("no root: Wasm workloads only"),
        "{first}"
    );
    let ok = |args: &[&str]| {
        let done = sampan(dir, args).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{args:?}: {err}");
        String::from_utf8(done.stdout).unwrap()
    };
    let path = |name: &str| dir.join("home").join(name).display().to_string();
    let context = dir.join("home/.sampan/config");
    assert_eq!(fs::metadata(context).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(path("primes.wasm"), sampan_builtin::PRIMES).unwrap();
    ok(&["image", "build", &path("primes.wasm"), "-t", "primes:1"]);
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: primes}\nspec:\n  template:\n    spec:\n      \
               restartPolicy: Never\n      containers: [{name: main, image: 'primes:1', args: ['1000']}]\n";
    fs::write(path("job.yaml"), job).unwrap();
    ok(&["apply", "-f", &path("job.yaml")]);
    ok(&["wait", "--for=condition=complete", "job/primes", "--timeout=60s"]);
    assert!(ok(&["logs", "job/primes"]).contains("168 primes below 1000"));

    fs::create_dir_all(path("root")).unwrap();
    fs::write(path("root/program"), "").unwrap();
    ok(&[
        "image",
        "build",
        &path("root"),
        "-t",
        "native:1",
        "--entrypoint",
        "/program",
    ]);
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: native}\nspec: {containers: [{name: c, image: 'native:1'}]}\n";
    fs::write(path("pod.yaml"), pod).unwrap();
    ok(&["apply", "-f", &path("pod.yaml")]);
    let end = std::time::Instant::now() + crate::stage::PATIENCE;
    while !ok(&["describe", "pod", "native"]).contains("root") {
        assert!(
            std::time::Instant::now() < end,
            "{}",
            ok(&["describe", "pod", "native"])
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
