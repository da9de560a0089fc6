//! `up`: it ends when asked, finds what it knew, and has its directory alone.
use crate::stage::{Stage, sampan, up};
use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

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

#[test]
fn a_machine_joins_as_a_node_and_runs_its_part() {
    let stage = Stage::new();
    let token = stage.ok("token create");
    let server = stage.ok("status -o jsonpath={.server}");
    let dir = tempfile::tempdir().unwrap();
    let mut node = sampan(dir.path())
        .args(["join", server.trim_start_matches("https://"), "--token", token.trim()])
        .args(["--rootless", "--name", "joined", "--data-dir"])
        .arg(dir.path().join("data"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let said: Vec<String> = lines.by_ref().take(2).map_while(Result::ok).collect();
    let runs = node.try_wait().unwrap().is_none();
    let _ = node.kill();
    node.wait().unwrap();
    assert!(said.len() == 2 && said[0].contains("as node \"joined\""), "{said:?}");
    assert!(said[1].contains("is ready on") && runs, "{said:?}");
    let node = stage.ok("get node joined --no-headers");
    assert_eq!(
        node.split_whitespace().nth(2),
        Some("<none>"),
        "it is no server's: {node}"
    );
    assert!(node.contains("Ready"), "{node}");
}
