//! Names as the resolvers of pods' C libraries ask for them: glibc's and musl's, which differ in how they search and in what they
//! make of an answer without addresses.
use crate::{
    churning::of_app,
    group::{Group, NODES, play},
    nodes::{ended, join_nodes},
    reaching::{apply_with_clients, inside, text},
    tools::{busybox, find, have},
};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// Servers behind a Service and behind one without an address, one that has a name of its own, and clients.
const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      hostname: one
      subdomain: each
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox:1
        command: [sh, -c, "trap 'exit 0' TERM; sleep 600 & wait"]
        resources: {requests: {cpu: 10m}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: each}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{port: 80}]
"#;

/// Asks as programs do that were linked with musl: addresses of a name, or the name of an address.
const ASKING: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char text[NI_MAXHOST];
    if (argc != 2) return 2;
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) == 1) {
        if (getnameinfo((void *)&address, sizeof address, text, sizeof text, 0, 0, NI_NAMEREQD)) return 2;
        puts(text);
        return 0;
    }
    if (getaddrinfo(argv[1], 0, &hints, &found)) return 2;
    for (; found; found = found->ai_next) {
        if (getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST)) return 2;
        puts(text);
    }
    return 0;
}
"#;

/// A way to ask: what it is called, and the program for addresses and that for names.
struct Resolver {
    library: &'static str,
    addresses: &'static [&'static str],
    names: &'static [&'static str],
    /// Which word of a line is the answer, of each.
    at: (usize, usize),
}

const GLIBC: Resolver = Resolver {
    library: "glibc",
    addresses: &["/usr/bin/getent", "ahosts"],
    names: &["/usr/bin/getent", "hosts"],
    at: (0, 1),
};

const MUSL: Resolver = Resolver {
    library: "musl",
    addresses: &["/bin/asking"],
    names: &["/bin/asking"],
    at: (0, 0),
};

impl Resolver {
    /// Puts it into a root file system; false, said loudly, where it is not to be had.
    fn put(&self, root: &Path) -> bool {
        if self.library == "musl" {
            return have(&["musl-gcc"]) && {
                let source = root.with_extension("c");
                fs::write(&source, ASKING).unwrap();
                let mut compile = Command::new("musl-gcc");
                compile
                    .args(["-static", "-o"])
                    .arg(root.join("bin/asking"))
                    .arg(&source);
                assert!(compile.status().unwrap().success());
                true
            };
        }
        let Some(getent) = find("getent") else {
            return have(&["getent"]);
        };
        let linked = Command::new("ldd").arg(&getent).output().unwrap();
        let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
        if !linked.contains("libc.so.6") {
            eprintln!("SKIPPED: needs a getent that is linked with glibc");
            return false;
        }
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::copy(&getent, root.join("usr/bin/getent")).unwrap();
        for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(library, to).unwrap();
        }
        true
    }

    /// What is answered in a pod, sorted, each once.
    fn ask(&self, group: &Group, pod: &Value, what: &str) -> Vec<String> {
        let (words, at) = match what.parse::<std::net::IpAddr>() {
            Ok(_) => (self.names, self.at.1),
            Err(_) => (self.addresses, self.at.0),
        };
        let said = inside(group, pod, &[words, &[what]].concat()).unwrap_or_default();
        let answer = |line: &str| line.split_whitespace().nth(at).map(str::to_owned);
        let mut answers: Vec<String> = said.lines().filter_map(answer).collect();
        answers.sort();
        answers.dedup();
        answers
    }
}

/// What each is to find, by what it is asked.
fn expected(group: &Group, web: &[Value], client: &Value) -> Vec<(String, Vec<String>)> {
    let service: Value = serde_json::from_str(&group.ok(0, "get service web -o json")).unwrap();
    let address = text(&service, "/spec/clusterIP").to_owned();
    let mut each: Vec<String> = web.iter().map(|pod| text(pod, "/status/podIP").to_owned()).collect();
    each.sort();
    let full = "web.default.svc.cluster.local";
    let mut all: Vec<(String, Vec<String>)> = ["web", "web.default", "web.default.svc", full, &format!("{full}.")]
        .map(|name| (name.to_owned(), vec![address.clone()]))
        .into();
    all.extend([
        ("each".to_owned(), each.clone()),
        ("one.each".to_owned(), each),
        // Of its own the pod's files know.
        (
            text(client, "/metadata/name").to_owned(),
            vec![text(client, "/status/podIP").to_owned()],
        ),
        (address, vec![full.to_owned()]),
        ("nobody.default.svc.cluster.local.".to_owned(), Vec::new()),
        ("two.each.default.svc.cluster.local.".to_owned(), Vec::new()),
        ("10.96.255.254".to_owned(), Vec::new()),
    ]);
    all
}

#[test]
fn names_are_found_by_the_resolvers_of_glibc_and_musl() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let _wipe = join_nodes(group).await;
        let root = group.dir.path().join("resolvers");
        busybox(&root);
        let resolvers: Vec<&Resolver> = [&GLIBC, &MUSL].into_iter().filter(|one| one.put(&root)).collect();
        group.ok(0, &format!("image build {} -t resolvers:1 --cmd sh", root.display()));
        apply_with_clients(group, MANIFEST, "resolvers:1");
        group.ok(0, "rollout status deployment/web --timeout=60s");
        group.ok(0, "rollout status deployment/client --timeout=60s");
        let web: Vec<Value> = NODES.iter().flat_map(|host| of_app(group, "web", *host)).collect();
        for host in NODES {
            let client = of_app(group, "client", host).remove(0);
            for (what, wanted) in expected(group, &web, &client) {
                for resolver in &resolvers {
                    let found = resolver.ask(group, &client, &what);
                    assert_eq!(found, wanted, "{what} on n{host}, by {}", resolver.library);
                }
            }
        }
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web each");
        ended(group).await;
    });
}
