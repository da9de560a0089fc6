//! Bad input gets a clear answer, and changes nothing.
use crate::stage::{NGINX, Stage};

#[test]
fn manifests_that_are_wrong_say_where() {
    let stage = Stage::new();
    let refuse = |text: &str| {
        let file = stage.file("bad.yaml", text);
        let done = stage.run(&format!("apply -f {file}"));
        assert_eq!(done.code, 1, "{text}: {done:?}");
        done.err.replace(&file, "bad.yaml")
    };
    let broken = refuse(&NGINX.replace("      app: nginx\n  template", "     app: [nginx\n  template"));
    assert!(broken.starts_with("error: bad.yaml:"), "{broken}");
    let negative = refuse(&NGINX.replace("replicas: 3", "replicas: -3"));
    assert!(negative.starts_with("Error from server (Invalid): "), "{negative}");
    assert!(
        negative.contains("bad.yaml:8:13: spec.replicas: -3 is negative"),
        "{negative}"
    );
    let wrong = refuse(&NGINX.replace("replicas: 3", "replicas: three"));
    assert!(wrong.contains("bad.yaml:8:13: spec.replicas: invalid type"), "{wrong}");
    let nested = refuse(&NGINX.replace("image: nginx:1.14.2", "image: ''"));
    assert!(
        nested.contains("bad.yaml:19:16: spec.template.spec.containers[0].image: "),
        "{nested}"
    );
    let enumerated = refuse(&NGINX.replace("      containers:", "      restartPolicy: Sometimes\n      containers:"));
    assert!(
        enumerated.contains("bad.yaml:17:22: spec.template.spec.restartPolicy: ") && enumerated.contains("Always"),
        "{enumerated}"
    );
    let unknown = refuse(&NGINX.replace("kind: Deployment", "kind: Deploymnet"));
    assert!(
        unknown.contains("bad.yaml:2:7: no kind \"Deploymnet\" is known: did you mean \"Deployment\"?"),
        "{unknown}"
    );
    let nowhere = refuse(&NGINX.replace(
        "metadata:\n  name: nginx-deployment",
        "metadata:\n  namespace: nowhere\n  name: nginx-deployment",
    ));
    assert!(nowhere.contains("namespaces \"nowhere\" not found"), "{nowhere}");
    assert_eq!(stage.ok("get all -A -o name"), "");
}

#[test]
fn unknown_fields_are_refused_with_their_place() {
    let stage = Stage::new();
    let map = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let odd = NGINX.replace("  replicas: 3", "  replicas: 3\n  replica: 3") + map;
    let refused = "Error from server (BadRequest): Deployment in version \"v1\" cannot be handled as a Deployment: \
                   strict decoding error: STDIN:9:12: unknown field \"spec.replica\"\n";
    for verb in [
        "apply -f -",
        "apply -f - --validate",
        "create -f - --validate=true",
        "apply -f - --dry-run=server",
    ] {
        let done = stage.feed(verb, &odd);
        assert_eq!((done.code, done.err.as_str()), (1, refused), "{verb}: {done:?}");
        assert!(done.out.starts_with("configmap/a "), "the others are done: {done:?}");
        stage.run("delete cm a");
    }
    assert_eq!(stage.ok("get deploy -o name"), "");

    let warned = stage.feed("apply -f - --validate=warn", &odd);
    assert_eq!(warned.code, 0, "{warned:?}");
    assert_eq!(warned.err, "Warning: STDIN:9:12: unknown field \"spec.replica\"\n");
    for verb in ["apply -f - --validate=ignore", "replace -f - --validate=false"] {
        let ignored = stage.feed(verb, &odd);
        assert_eq!((ignored.code, ignored.err.as_str()), (0, ""), "{verb}: {ignored:?}");
    }
    let refused = stage.feed("replace -f -", &odd);
    assert!(
        refused.code == 1 && refused.err.contains("STDIN:9:12: unknown field"),
        "{refused:?}"
    );
    let how = stage.feed("apply -f - --validate=maybe", &odd);
    assert!(
        how.err
            .contains("must be one of: strict (or true), warn, ignore (or false)"),
        "{how:?}"
    );

    let two = odd.replace("metadata:\n  name: nginx", "metadata:\n  lables: {}\n  name: nginx");
    let both = stage.feed("apply -f -", &two).err;
    assert!(
        both.contains("\n  * STDIN:4:11: unknown field \"metadata.lables\"\n  * STDIN:10:12: unknown field"),
        "{both}"
    );
}

#[test]
fn a_bad_third_document_stops_all() {
    let stage = Stage::new();
    let map = |name: &str| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let done = stage.feed("apply -f -", &format!("{}{}---\nkind: ConfigMap\n", map("a"), map("b")));
    assert_eq!(
        (done.code, done.err.as_str()),
        (1, "error: STDIN:10:1: apiVersion is not set\n"),
        "{done:?}"
    );
    assert_eq!(stage.ok("get cm -o name"), "");
}

#[test]
fn a_name_is_taken_once() {
    let stage = Stage::new();
    stage.ok("create configmap m --from-literal=a=1");
    assert_eq!(
        stage.refused("create configmap m --from-literal=a=2"),
        "Error from server (AlreadyExists): configmaps \"m\" already exists\n"
    );
    let both = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: n}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n";
    let done = stage.feed("create -f -", both);
    assert!(
        done.code == 1 && done.err.contains("configmaps \"m\" already exists"),
        "{done:?}"
    );
    assert_eq!(stage.ok("get cm m -o jsonpath={.data.a}"), "1");
}

#[test]
fn plugins_that_are_none_are_not_let_in() {
    let stage = Stage::new();
    let before = stage.ok("get plugins -o name");
    let file = |name: &str, bytes: &[u8]| {
        let path = stage.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let start = sampan_builtin::component(sampan_builtin::HOSTILE, "hostile-start").unwrap();
    for (name, bytes, words) in [
        ("text", b"no component".as_slice(), "no WebAssembly component"),
        ("module", b"\0asm\x01\0\0\0", "core module"),
        ("empty", b"\0asm\x0d\0\x01\0", "world"),
        ("workload", sampan_builtin::PRIMES, "but wasi:cli/run"),
        ("start", start, "it fails when it is started"),
    ] {
        let path = file(&format!("{name}.wasm"), bytes);
        let seen = stage.run(&format!("plugin inspect {path}"));
        assert!(seen.code == 1 && seen.out.contains(words), "{name}: {seen:?}");
        let refused = stage.refused(&format!("plugin load {path} --name {name}"));
        assert!(refused.contains(words), "{name}: {refused}");
    }
    assert_eq!(stage.ok("get plugins -o name"), before);
}

#[test]
fn stale_revisions_and_other_namespaces() {
    let stage = Stage::new();
    stage.ok("create configmap m --from-literal=a=1");
    let old = stage.ok("get cm m -o yaml");
    stage.ok("label cm m x=1");
    let done = stage.feed("replace -f -", &old);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.err.starts_with("Error from server (Conflict): ") && done.err.contains("has been modified"),
        "{done:?}"
    );
    let done = stage.feed("apply -n team -f -", &old);
    assert!(done.err.contains("--namespace=default"), "{done:?}");
    assert!(stage.refused("get pdos").contains("did you mean"));
    assert!(stage.refused("get pods -l a!!b").contains("label selector"));
    assert!(stage.refused("apply -f /nonexistent").contains("does not exist"));
}
