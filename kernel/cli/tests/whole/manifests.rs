//! Manifests as they are found: several documents in a file, written by hand and on all sorts of machines.
use crate::{
    cluster::{Cluster, get, is_root},
    tools::have,
};
use serde_json::{Value, json};

const GUESTBOOK: &str = include_str!("../fixtures/guestbook.yaml");

/// What each document of the guestbook is, in its order.
const OBJECTS: [&str; 8] = [
    "namespace/guestbook",
    "configmap/guestbook",
    "secret/guestbook",
    "deployment.apps/redis-leader",
    "service/redis-leader",
    "deployment.apps/frontend",
    "service/frontend",
    "job.batch/migrate",
];

fn outcome(word: &str) -> String {
    OBJECTS.iter().map(|object| format!("{object} {word}\n")).collect()
}

#[test]
fn a_guestbook_in_every_hand() {
    if !have(&["busybox"]) || !is_root() {
        return;
    }
    let mut cluster = Cluster::start(tempfile::tempdir().unwrap(), &[]);
    cluster.load_busybox("busybox:1.36");
    let strict = cluster.feed("apply -f - --dry-run=server", GUESTBOOK);
    assert!(
        strict.code == 1 && strict.err.contains("unknown field \"spec.sessionAfinity\""),
        "{strict:?}"
    );
    let applied = cluster.feed("apply -f - --validate=warn", GUESTBOOK);
    assert_eq!((applied.out, applied.code), (outcome("created"), 0), "{}", applied.err);
    assert_eq!(
        applied.err,
        "Warning: STDIN:117:25: unknown field \"spec.template.spec.containers[0].imagePullPolcy\"\n\
         Warning: STDIN:140:19: unknown field \"spec.sessionAfinity\"\n"
    );
    for name in ["redis-leader", "frontend"] {
        cluster.ok(&format!("rollout status deployment/{name} -n guestbook --timeout=60s"));
    }
    cluster.ok("wait --for=condition=complete job/migrate -n guestbook --timeout=60s");
    assert_eq!(
        cluster.ok("logs job/migrate -n guestbook"),
        "migrating as admin to version 42\n"
    );

    // From another machine, the same text is the same objects.
    let windows = GUESTBOOK.replace('\n', "\r\n");
    let marked = format!("\u{feff}{GUESTBOOK}");
    let framed = format!("---\n---\n# nothing\n---\n{GUESTBOOK}\n...\n---\n");
    for (hand, text) in [("CRLF", windows), ("BOM", marked), ("empty documents", framed)] {
        let again = cluster.feed("apply -f - --validate=warn", &text);
        assert_eq!(
            (again.out, again.code),
            (outcome("unchanged"), 0),
            "{hand}: {}",
            again.err
        );
    }

    // Anchors, aliases and merges meant what they say.
    let frontend = cluster.list("deployment frontend -n guestbook").remove(0);
    let labels = json!({"app": "guestbook", "tier": "frontend"});
    assert_eq!(frontend["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(frontend["spec"]["template"]["metadata"]["labels"], labels);
    let resources = &frontend["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "50m", "memory": "16Mi"}));
    assert_eq!(resources["limits"], json!({"cpu": "50m", "memory": "32Mi"}));
    for pod in cluster.list("pods -n guestbook -l tier=frontend") {
        let answer = get(&format!("{}:80", pod["status"]["podIP"].as_str().unwrap()));
        assert!(
            answer.contains("line one\nline two\n"),
            "the config map is a file: {answer}"
        );
        assert_eq!(pod["status"]["qosClass"], "Burstable");
    }
    let ports = cluster.ok("get service frontend -n guestbook -o jsonpath={.spec.ports[*].port}");
    assert_eq!(ports, "80 443");
    cluster.note();
    as_a_list(&cluster);
    as_printed(&cluster);
    let nodes = cluster.ok("get nodes --no-headers");
    assert_eq!(nodes.split_whitespace().nth(2), Some("control-plane"), "{nodes}");
    cluster.ok("delete namespace guestbook");
    cluster.until("get all -A -o name", str::is_empty);
    cluster.finish();
}

/// What the cluster itself writes into its objects has no field that is not known: whoever edits them gives it back.
fn as_printed(cluster: &Cluster) {
    let kinds = [
        "nodes",
        "pods",
        "services",
        "endpointslices",
        "jobs",
        "replicasets",
        "namespaces",
        "events",
    ];
    // The guestbook's own, which were let in.
    let odd = ["imagePullPolcy", "sessionAfinity"];
    for kind in kinds {
        let printed = cluster.ok(&format!("get {kind} -A -o json"));
        let again = cluster.feed("replace -f - --dry-run=server", &printed);
        let mut lines = again.err.lines().filter(|line| line.contains("unknown field"));
        assert!(
            lines.all(|line| odd.iter().any(|odd| line.contains(odd))),
            "{kind}: {again:?}"
        );
        assert!(!again.out.is_empty() || !again.err.is_empty(), "{kind}");
    }
}

/// What `get -o json` prints, and other tools write, is applied as it is.
fn as_a_list(cluster: &Cluster) {
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [map("one"), map("two")]});
    let applied = cluster.feed("apply -f -", &list.to_string());
    assert_eq!(
        applied.out, "configmap/one created\nconfigmap/two created\n",
        "{applied:?}"
    );
    let printed: Value = serde_json::from_str(&cluster.ok("get configmaps one two -o json")).unwrap();
    assert_eq!(printed["kind"], "List");
    let again = cluster.feed("apply -f -", &printed.to_string());
    assert_eq!(
        again.out, "configmap/one unchanged\nconfigmap/two unchanged\n",
        "{again:?}"
    );
    assert_eq!(cluster.feed("delete -f -", &list.to_string()).code, 0);
}
