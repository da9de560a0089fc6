//! Verbs that change something.
use crate::stage::{NGINX, Stage};

#[test]
fn apply_creates_configures_and_leaves_alone() {
    let stage = Stage::new();
    let file = stage.file("nginx.yaml", NGINX);
    assert_eq!(
        stage.ok(&format!("apply -f {file} --dry-run=client")),
        "deployment.apps/nginx-deployment created (dry run)\n"
    );
    assert_eq!(
        stage.ok(&format!("apply -f {file} --dry-run=server")),
        "deployment.apps/nginx-deployment created (server dry run)\n"
    );
    assert_eq!(stage.ok("get deploy -o name"), "");
    assert_eq!(
        stage.ok(&format!("apply -f {file}")),
        "deployment.apps/nginx-deployment created\n"
    );
    assert_eq!(
        stage.ok(&format!("apply -f {file}")),
        "deployment.apps/nginx-deployment unchanged\n"
    );
    let done = stage.feed("apply -f -", &NGINX.replace("replicas: 3", "replicas: 2"));
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "deployment.apps/nginx-deployment configured\n"),
        "{done:?}"
    );
    assert_eq!(
        stage.ok("get deploy nginx-deployment -o jsonpath={.spec.replicas}"),
        "2"
    );
    // What the server defaults and what others set is not taken for a change.
    stage.ok("scale deploy/nginx-deployment --replicas=5");
    stage.until("get pods -o name", |out| out.lines().count() == 5);
    stage.ok(&format!("delete -f {file}"));
    stage.until("get pods,rs,deploy -o name", str::is_empty);
}

#[test]
fn create_by_hand_and_from_files() {
    let stage = Stage::new();
    assert_eq!(stage.ok("create namespace team"), "namespace/team created\n");
    assert_eq!(
        stage.ok("create configmap settings --from-literal=mode=fast -n team"),
        "configmap/settings created\n"
    );
    assert_eq!(
        stage.ok("create secret generic login --from-literal=user=anna"),
        "secret/login created\n"
    );
    assert_eq!(stage.ok("get secret login -o jsonpath={.data.user}"), "YW5uYQ==");
    assert_eq!(stage.ok("get cm -n team -o jsonpath={.items[*].data.mode}"), "fast");
    let refused = stage.refused("create namespace team");
    assert_eq!(
        refused,
        "Error from server (AlreadyExists): namespaces \"team\" already exists\n"
    );
    let yaml = stage.ok("create deployment web --image=web:1 --replicas=2 --dry-run=client -o yaml");
    let file = stage.file("web.yaml", &yaml);
    assert_eq!(
        stage.ok(&format!("create -f {file} -n team")),
        "deployment.apps/web created\n"
    );
    assert_eq!(stage.ok("get deploy -A -o name"), "deployment.apps/web\n");
    assert_eq!(stage.ok("delete namespace team"), "namespace \"team\" deleted\n");
    stage.until("get deploy,cm -n team -o name", str::is_empty);
}

#[test]
fn label_annotate_patch_and_edit() {
    let stage = Stage::new();
    stage.ok("create configmap m --from-literal=a=1");
    assert_eq!(stage.ok("label cm m tier=db"), "configmap/m labeled\n");
    assert_eq!(stage.ok("label cm/m tier=db"), "configmap/m not labeled\n");
    let refused = stage.refused("label cm m tier=web");
    assert_eq!(
        refused,
        "error: 'tier' already has a value (db), and --overwrite is false\n"
    );
    assert_eq!(stage.ok("label cm m tier=web --overwrite"), "configmap/m labeled\n");
    assert_eq!(stage.ok("get cm -l tier=web -o name"), "configmap/m\n");
    assert_eq!(stage.ok("label cm m tier-"), "configmap/m unlabeled\n");
    assert_eq!(stage.ok("annotate cm m note=x"), "configmap/m annotated\n");
    assert_eq!(
        stage.ok(r#"patch cm m --type=merge -p {"data":{"a":"2"}}"#),
        "configmap/m patched\n"
    );
    assert_eq!(
        stage.ok(r#"patch cm m --type=merge -p {"data":{"a":"2"}}"#),
        "configmap/m patched (no change)\n"
    );
    let json = r#"[{"op":"replace","path":"/data/a","value":"3"}]"#;
    assert_eq!(
        stage.ok(&format!("patch cm m --type=json -p {json}")),
        "configmap/m patched\n"
    );
    assert_eq!(stage.ok("get cm m -o jsonpath={.data.a}"), "3");
    let edit = |editor: &str| stage.run_with(&["edit", "cm", "m"], "", &[("KUBE_EDITOR", editor)]);
    assert_eq!(edit("true").out, "Edit cancelled, no changes made.\n");
    assert_eq!(edit("truncate -s 0").out, "Edit cancelled, saved file was empty.\n");
    assert_eq!(edit("sed -i s/\\\"3\\\"/\\\"4\\\"/").out, "configmap/m edited\n");
    assert_eq!(stage.ok("get cm m -o jsonpath={.data.a}"), "4");
    // The same slip twice: the second time nothing new is said, and the copy is kept.
    let slip = edit("sed -i s/^kind:.*/kind:\\ Oops/");
    assert_eq!(slip.code, 1, "{slip:?}");
    assert!(slip.err.contains("a copy of your changes is in "), "{slip:?}");
    let kept = slip.err.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    std::fs::remove_file(kept).unwrap();
    assert!(edit("false").err.contains("nothing was changed"));
}

#[test]
fn rollouts_go_on_and_back() {
    let stage = Stage::new();
    let file = stage.file("nginx.yaml", NGINX);
    stage.ok(&format!("apply -f {file}"));
    let deploy = "deploy/nginx-deployment";
    stage.until(&format!("rollout history {deploy}"), |out| out.contains("\n1 "));
    stage.ok(&format!("annotate {deploy} kubernetes.io/change-cause=newer"));
    let container = r#"{"spec":{"template":{"spec":{"containers":[{"name":"nginx","image":"nginx:1.16.1"}]}}}}"#;
    assert_eq!(
        stage.ok(&format!("patch {deploy} -p {container}")),
        "deployment.apps/nginx-deployment patched\n"
    );
    let history = stage.until(&format!("rollout history {deploy}"), |out| out.contains("\n2 "));
    assert!(
        history.starts_with("deployment.apps/nginx-deployment \nREVISION   CHANGE-CAUSE\n1 "),
        "{history}"
    );
    let second = stage.ok(&format!("rollout history {deploy} --revision=2"));
    assert!(
        second.contains("with revision #2\nPod Template:\n") && second.contains("nginx:1.16.1"),
        "{second}"
    );
    let status = stage.run(&format!("rollout status {deploy} --timeout=1s"));
    assert_eq!(status.code, 1, "{status:?}");
    assert!(
        status
            .out
            .contains("Waiting for deployment \"nginx-deployment\" rollout to finish"),
        "{status:?}"
    );
    assert_eq!(
        stage.ok(&format!("rollout undo {deploy}")),
        "deployment.apps/nginx-deployment rolled back\n"
    );
    assert_eq!(
        stage.ok(&format!("get {deploy} -o jsonpath={{..image}}")),
        "nginx:1.14.2"
    );
    stage.until(&format!("rollout history {deploy}"), |out| {
        out.contains("\n3 ") && !out.contains("\n1 ")
    });
    assert_eq!(
        stage.ok(&format!("rollout undo {deploy} --to-revision=2")),
        "deployment.apps/nginx-deployment rolled back\n"
    );
    assert!(
        stage
            .refused(&format!("rollout undo {deploy} --to-revision=77"))
            .contains("77")
    );
    assert_eq!(
        stage.ok(&format!("rollout restart {deploy}")),
        "deployment.apps/nginx-deployment restarted\n"
    );
    assert_eq!(
        stage.ok(&format!("rollout pause {deploy}")),
        "deployment.apps/nginx-deployment paused\n"
    );
    assert!(
        stage
            .refused(&format!("rollout pause {deploy}"))
            .contains("already paused")
    );
    assert!(stage.refused(&format!("rollout undo {deploy}")).contains("resume"));
    assert_eq!(
        stage.ok(&format!("rollout resume {deploy}")),
        "deployment.apps/nginx-deployment resumed\n"
    );
}

#[test]
fn delete_waits_and_forgives() {
    let stage = Stage::new();
    for name in ["a", "b", "c"] {
        stage.ok(&format!("create configmap {name} --from-literal=x=1"));
    }
    assert_eq!(stage.ok("delete cm a --dry-run"), "configmap \"a\" deleted (dry run)\n");
    assert_eq!(stage.ok("delete cm a"), "configmap \"a\" deleted\n");
    assert_eq!(
        stage.refused("delete cm a"),
        "Error from server (NotFound): configmaps \"a\" not found\n"
    );
    assert_eq!(stage.ok("delete cm a --ignore-not-found"), "");
    assert!(stage.refused("delete cm").contains("--all"));
    assert_eq!(stage.ok("delete cm --all -o name"), "configmap/b\nconfigmap/c\n");
    assert_eq!(stage.ok("wait --for=delete cm/b"), "configmap/b condition met\n");
}
