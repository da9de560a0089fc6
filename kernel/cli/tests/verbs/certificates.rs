//! `certificate`: what there is, getting a new one, and what is said when one is not accepted.
use crate::stage::{PATIENCE, Stage, sampan};
use sampan_cli::contexts::Contexts;
use sampan_server::{Authority, Lifetimes, enroll::node_file};
use sampan_tls::{Certificate, files::write_pair};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn contexts(stage: &Stage) -> PathBuf {
    stage.dir.path().join("config")
}

/// The cluster's authority, whose certificates live so long.
fn authority(stage: &Stage, life: Duration) -> Authority {
    let lifetimes = Lifetimes {
        server: life,
        node: life,
        client: life,
    };
    let server = stage.dir.path().join("data/server");
    Authority::open(&server, "sampan").unwrap().with_lifetimes(lifetimes)
}

/// Gives the context a certificate that lives so long.
fn live(stage: &Stage, life: Duration) {
    let pair = authority(stage, life).issue_admin().unwrap();
    let mut contexts = Contexts::load(&self::contexts(stage)).unwrap();
    contexts.replace_identity("sampan", &pair).unwrap();
    contexts.save(&self::contexts(stage)).unwrap();
}

fn own(stage: &Stage) -> Certificate {
    let access = Contexts::load(&contexts(stage)).unwrap().access(None).unwrap();
    Certificate::of_pem(&access.cert_pem).unwrap()
}

#[test]
fn certificates_are_listed_shown_and_renewed() {
    let stage = Stage::new();
    let list: Value = serde_json::from_str(&stage.ok("certificate list -o json")).unwrap();
    let roles: Vec<&Value> = list["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["role"])
        .collect();
    assert_eq!(roles, ["authority", "server", "context"], "{list}");
    assert_eq!(list["certificates"][2]["subject"]["groups"][0], "system:masters");
    let text = stage.ok("certificate list");
    assert!(
        text.contains("RENEWS IN") && text.contains("by hand") && text.contains("never"),
        "{text}"
    );
    assert!(stage.ok("cert list -o wide").contains("servers.sampan"));

    let before = own(&stage);
    let page = stage.ok("certificate show");
    assert!(
        page.contains("User:") && page.contains(&before.fingerprint) && page.contains("ECDSA P-256"),
        "{page}"
    );
    assert_eq!(stage.ok("certificate show -o jsonpath={.serial}"), before.serial);

    let said = stage.ok("certificate renew");
    let after = own(&stage);
    assert!(
        said.contains("\"admin\" was renewed") && said.contains(&after.not_after.to_string()),
        "{said}"
    );
    assert_eq!((&after.user, &after.groups), (&before.user, &before.groups));
    assert_ne!(after.fingerprint, before.fingerprint);
    stage.ok("get namespaces");

    let name = list["certificates"][1]["name"].as_str().unwrap();
    let said = stage.ok(&format!("certificate renew server/{name}"));
    assert!(said.contains(&format!("server \"{name}\"")), "{said}");
    let now: Value = serde_json::from_str(&stage.ok("certificate list -o json")).unwrap();
    assert_ne!(now["certificates"][1]["serial"], list["certificates"][1]["serial"]);
    let error = stage.refused("certificate renew server/none");
    assert!(error.contains("no server \"none\"") && error.contains(name), "{error}");
    assert!(stage.refused("certificate renew node/none").contains("not found"));
}

#[test]
fn one_that_ends_soon_or_has_ended_says_so() {
    let stage = Stage::new();
    assert_eq!(stage.run("get namespaces").err, "");
    live(&stage, DAY * 29);
    let done = stage.run("get namespaces");
    assert_eq!((done.code, done.err.lines().count()), (0, 1), "{done:?}");
    assert!(done.err.contains("`sampan certificate renew`"), "{done:?}");
    stage.ok("certificate renew");
    assert_eq!(stage.run("get namespaces").err, "");

    live(&stage, Duration::ZERO);
    std::thread::sleep(Duration::from_millis(1100));
    let until = own(&stage).not_after.to_string();
    for command in ["get namespaces", "certificate renew"] {
        let error = stage.refused(command);
        for words in [
            "context \"sampan\"",
            "user \"admin\"",
            &until,
            "has expired",
            "renew --data-dir",
        ] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }
    let data = stage.dir.path().join("data").display().to_string();
    stage.ok(&format!("certificate renew --data-dir {data}"));
    stage.ok("get namespaces");
}

#[test]
fn another_clusters_certificate_is_named() {
    let (stage, other) = (Stage::new(), Stage::new());
    let load = |stage: &Stage| Contexts::load(&contexts(stage)).unwrap();
    let (mut own, foreign) = (load(&stage), load(&other).access(None).unwrap());
    let here = own.access(None).unwrap();
    // It trusts this cluster, and shows the other's.
    let mut mixed = here.clone();
    (mixed.cert_pem, mixed.key_pem) = (foreign.cert_pem.clone(), foreign.key_pem.clone());
    own.put(&mixed);
    own.save(&contexts(&stage)).unwrap();
    let error = stage.refused("get namespaces");
    assert!(
        error.contains("does not accept the certificate") && error.contains("another cluster"),
        "{error}"
    );
    // It shows what is right, at the wrong server.
    own.put(&here);
    own.save(&contexts(&stage)).unwrap();
    let error = stage.refused(&format!("get namespaces --server {}", foreign.server));
    assert!(
        error.contains("is not trusted") && error.contains("another authority"),
        "{error}"
    );
    assert!(
        error.contains("was not the one") || error.contains("is not the one"),
        "{error}"
    );
    let data = other.dir.path().join("data").display().to_string();
    let error = stage.refused(&format!("certificate renew --data-dir {data}"));
    assert!(error.contains("another cluster"), "{error}");
}

/// A node's process, which ends with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    fn start(home: &Path, data: &Path, args: &str) -> Self {
        let mut command = sampan(home);
        command.args(args.split_whitespace()).arg("--data-dir").arg(data);
        command.args(["--rootless", "--name", "n1"]);
        Node(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Reads what it says until it says this.
    fn until(stream: impl std::io::Read, wanted: &str) -> String {
        let (end, mut said) = (Instant::now() + PATIENCE, String::new());
        for line in BufReader::new(stream).lines() {
            said.push_str(&line.unwrap());
            said.push('\n');
            if said.contains(wanted) {
                return said;
            }
            assert!(Instant::now() < end, "it does not say \"{wanted}\": {said}");
        }
        panic!("it ended without \"{wanted}\": {said}");
    }

    fn until_ready(&mut self) {
        Node::until(self.0.stdout.take().unwrap(), "is ready on");
    }
}

#[test]
fn a_node_whose_certificate_has_run_out_joins_again() {
    let stage = Stage::new();
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let server = stage.ok("status -o jsonpath={.server}");
    let join = || {
        let token = stage.ok("token create");
        format!(
            "join {} --token {}",
            server.trim_start_matches("https://"),
            token.trim()
        )
    };
    let mut node = Node::start(home.path(), &data, &join());
    node.until_ready();
    let listed = stage.until("certificate list -o json", |text| text.contains("system:node:n1"));
    let serial = |text: &str| {
        let list: Value = serde_json::from_str(text).unwrap();
        let all = list["certificates"].as_array().unwrap().clone();
        all.iter().find(|one| one["role"] == "node").unwrap()["serial"].clone()
    };
    let said = stage.ok("certificate renew node/n1");
    assert!(said.contains("node \"n1\""), "{said}");
    let renewed = stage.ok("certificate list -o json");
    assert_ne!(serial(&renewed), serial(&listed));
    let kept = Certificate::of_pem(&fs::read_to_string(node_file(&data)).unwrap()).unwrap();
    assert_eq!(serial(&renewed), kept.serial, "what it shows is what it keeps");
    drop(node);
    // One that is good is no reason to join again.
    let mut again = Node::start(home.path(), &data, &join());
    Node::until(again.0.stderr.take().unwrap(), "already: `sampan up` goes on with it");

    let over = authority(&stage, Duration::ZERO).issue_node("n1", &[]).unwrap();
    write_pair(&node_file(&data), &over).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let mut node = Node::start(home.path(), &data, "up");
    let until = Certificate::of_pem(&over.cert_pem).unwrap().not_after;
    let said = Node::until(node.0.stderr.take().unwrap(), "ran out at");
    for words in [
        "node \"n1\"",
        &until.to_string(),
        "sampan delete node n1",
        "sampan join",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    drop(node);
    stage.ok("delete node n1");
    let mut node = Node::start(home.path(), &data, &join());
    node.until_ready();
    stage.until("get nodes", |text| text.contains("n1") && !text.contains("NotReady"));
}
