//! `up`: it ends when asked, finds what it knew, and has its directory alone.
use crate::stage::{Stage, sampan, up};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_cluster_is_found_again() {
    let mut stage = Stage::new();
    stage.ok("create configmap kept --from-literal=a=1");
    let mode = |path: &str| {
        std::fs::metadata(stage.dir.path().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("config"), mode("data")), (0o600, 0o700));
    assert_eq!(stage.stop(), 0);
    let refused = stage.refused("get cm --request-timeout=2s");
    assert!(
        refused.contains("was refused") && refused.contains("sampan up"),
        "{refused}"
    );
    stage.again();
    assert_eq!(stage.ok("get cm -o name"), "configmap/kept\n");
}

#[test]
fn a_directory_is_one_clusters() {
    let stage = Stage::new();
    let second = up(stage.dir.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(words.starts_with("error: the control plane cannot start: "), "{words}");
    assert_eq!(stage.ok("get cm -o name"), "");
}

#[test]
fn a_port_in_use_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = sampan(dir.path());
    command
        .args(["up", "--no-agent", "--listen", &address, "--data-dir"])
        .arg(dir.path().join("data"));
    let output = command.output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains(&address) && words.contains("--listen"), "{words}");
}
