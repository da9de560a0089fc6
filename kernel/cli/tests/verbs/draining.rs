//! `drain` and the budgets of the pods that it moves off.
use crate::stage::Stage;
use serde_json::json;

/// A node that is ready, as its agent would say.
fn node(stage: &Stage, name: &str) {
    let manifest = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let done = stage.feed("create -f -", &manifest.to_string());
    assert_eq!(done.code, 0, "{done:?}");
    let ready = r#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;
    let words = [
        "patch",
        "node",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        ready,
    ];
    let done = stage.run_with(&words, "", &[]);
    assert_eq!(done.code, 0, "{done:?}");
}

/// A pod that runs there, and ends at once when it is asked to.
fn pod(stage: &Stage, name: &str, node: &str) {
    let spec =
        json!({"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}]});
    let metadata = json!({"name": name, "labels": {"app": "web"}});
    let manifest = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    let done = stage.feed("create -f -", &manifest.to_string());
    assert_eq!(done.code, 0, "{done:?}");
    let running = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
    let words = [
        "patch",
        "pod",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        running,
    ];
    let done = stage.run_with(&words, "", &[]);
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn a_drain_waits_for_the_budget() {
    let stage = Stage::new();
    node(&stage, "n1");
    node(&stage, "n2");
    pod(&stage, "a", "n1");
    pod(&stage, "b", "n1");
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}});
    let budget =
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec});
    let done = stage.feed("apply -f -", &budget.to_string());
    assert_eq!(done.out, "poddisruptionbudget.policy/web created\n", "{done:?}");
    stage.until("get pdb web --no-headers", |out| {
        out.split_whitespace().nth(3) == Some("1")
    });
    let drained = std::thread::scope(|scope| {
        let drain = scope.spawn(|| stage.run("drain n1 --force --timeout=60s"));
        stage.until("get pods -o name", |out| out.lines().count() == 1);
        assert_eq!(stage.ok("get pdb web -o jsonpath={.status.disruptionsAllowed}"), "0");
        pod(&stage, "c", "n2");
        drain.join().unwrap()
    });
    assert_eq!(drained.code, 0, "{drained:?}");
    let retried = "(will retry after 5s): Cannot evict pod as it would violate the pod's disruption budget.: DisruptionBudget: The \
                   disruption budget web needs 1 healthy pods and has ";
    assert!(drained.err.contains("error when evicting pods/"), "{drained:?}");
    assert!(drained.err.contains(retried), "{drained:?}");
    for words in ["pod/a evicted", "pod/b evicted", "node/n1 drained"] {
        assert!(drained.out.contains(words), "{drained:?}");
    }
    assert_eq!(stage.ok("get pods -o name"), "pod/c\n");
    // The last one stays until the time is over, unless budgets are not asked.
    let refused = stage.refused("drain n2 --force --timeout=1s");
    assert!(refused.contains("pods are still there after 1s"), "{refused}");
    stage.ok("drain n2 --force --disable-eviction");
    assert_eq!(stage.ok("get pods -o name"), "");
}
