//! Each rule, kept and broken.
use crate::{Cause, validate::manifest};
use serde_json::{Value, json};

/// The fields that are wrong.
fn wrong(kind: &str, spec: &Value, annotations: &Value) -> Vec<String> {
    let metadata = json!({"name": "web", "annotations": annotations});
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": spec});
    let causes: Vec<Cause> = manifest(object.to_string().as_bytes())
        .map(|(_, warnings)| assert!(warnings.is_empty(), "{warnings:?}"))
        .map_or_else(|error| error.causes, |()| Vec::new());
    causes.into_iter().map(|cause| cause.field).collect()
}

fn ingress(spec: &Value) -> Vec<String> {
    wrong("Ingress", spec, &json!({}))
}

fn class(spec: &Value) -> Vec<String> {
    wrong("IngressClass", spec, &json!({}))
}

fn web() -> Value {
    json!({"service": {"name": "web", "port": {"number": 80}}})
}

/// One rule with one path.
fn with(host: &str, kind: &str, path: &str, backend: &Value) -> Value {
    json!({"rules": [{"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}]})
}

fn path(kind: &str, path: &str) -> Vec<String> {
    ingress(&with("a.example", kind, path, &web()))
}

fn host(name: &str) -> Vec<String> {
    ingress(&with(name, "Prefix", "/", &web()))
}

fn backend(backend: &Value) -> Vec<String> {
    let of_path = ingress(&with("a.example", "Prefix", "/", backend));
    let of_all = ingress(&json!({"defaultBackend": backend}));
    let relative = |fields: Vec<String>, at: &str| -> Vec<String> {
        fields.iter().map(|field| field.replace(at, "backend")).collect()
    };
    let fields = relative(of_all, "spec.defaultBackend");
    assert_eq!(relative(of_path, "spec.rules[0].http.paths[0].backend"), fields);
    fields
}

#[test]
fn something_is_said() {
    assert_eq!(ingress(&json!({})), ["spec"]);
    assert_eq!(ingress(&json!({"rules": []})), ["spec"]);
    assert!(ingress(&json!({"defaultBackend": web()})).is_empty());
    assert!(ingress(&json!({"rules": [{"host": "a.example"}]})).is_empty());
    assert_eq!(
        ingress(&json!({"rules": [{"http": {"paths": []}}]})),
        ["spec.rules[0].http.paths"]
    );
}

#[test]
fn hosts_are_names_and_wildcards_stand_first() {
    for good in ["", "a.example", "*.example.com", "a"] {
        assert!(host(good).is_empty(), "{good}");
    }
    for bad in [
        "10.0.0.1",
        "fd00::1",
        "*",
        "*example",
        "a.*.example",
        "*.*.example",
        "A.example",
        "a.example:80",
        "a_b",
    ] {
        assert_eq!(host(bad), ["spec.rules[0].host"], "{bad}");
        let mut tls = with("", "Prefix", "/", &web());
        tls["tls"] = json!([{"hosts": ["a.example"], "secretName": "tls"}, {"hosts": ["b.example", bad]}]);
        assert_eq!(ingress(&tls), ["spec.tls[1].hosts[1]"], "{bad}");
    }
    let mut tls = with("", "Prefix", "/", &web());
    tls["tls"] = json!([{"secretName": "Not_A_Name"}, {}]);
    assert_eq!(ingress(&tls), ["spec.tls[0].secretName"]);
}

#[test]
fn paths_are_absolute_and_plain() {
    for kind in ["Exact", "Prefix"] {
        for good in ["/", "/a/b", "/a/", "/.a", "/a..b", "/%20"] {
            assert!(path(kind, good).is_empty(), "{good}");
        }
        for bad in [
            "", "a", "//", "/a//b", "/./a", "/a/../b", "/a%2fb", "/a%2F", "/a/..", "/a/.",
        ] {
            assert_eq!(path(kind, bad)[0], "spec.rules[0].http.paths[0].path", "{bad}");
        }
    }
    assert!(path("ImplementationSpecific", "").is_empty());
    assert!(path("ImplementationSpecific", "/a//b").is_empty());
    assert_eq!(
        path("ImplementationSpecific", "a"),
        ["spec.rules[0].http.paths[0].path"]
    );
    for kind in ["", "prefix", "Regex"] {
        assert_eq!(path(kind, "/"), ["spec.rules[0].http.paths[0].pathType"], "{kind}");
    }
}

#[test]
fn a_backend_is_a_service_or_a_resource() {
    let service = |name: &str, port: Value| backend(&json!({"service": {"name": name, "port": port}}));
    assert!(service("web", json!({"number": 65_535})).is_empty());
    assert!(service("web", json!({"name": "http"})).is_empty());
    assert!(backend(&json!({"resource": {"apiGroup": "x.example", "kind": "Bucket", "name": "b"}})).is_empty());
    assert_eq!(backend(&json!({})), ["backend"]);
    let mut both = web();
    both["resource"] = json!({"kind": "Bucket", "name": "b"});
    assert_eq!(backend(&both), ["backend"]);
    assert_eq!(
        backend(&json!({"resource": {"kind": "Bucket"}})),
        ["backend.resource.name"]
    );
    assert_eq!(service("", json!({"number": 1})), ["backend.service.name"]);
    assert_eq!(service("a.b", json!({"number": 1})), ["backend.service.name"]);
    assert_eq!(service("web", json!({})), ["backend.service.port"]);
    assert_eq!(
        service("web", json!({"name": "http", "number": 80})),
        ["backend.service.port"]
    );
    for number in [-1, 65_536] {
        assert_eq!(
            service("web", json!({"number": number})),
            ["backend.service.port.number"]
        );
    }
    for name in ["-a", "a-", "80", "a--b", "HTTP", "sixteen-letters-"] {
        assert_eq!(
            service("web", json!({"name": name})),
            ["backend.service.port.name"],
            "{name}"
        );
    }
}

#[test]
fn a_class_is_named_once() {
    let mut spec = with("", "Prefix", "/", &web());
    let annotation = json!({"kubernetes.io/ingress.class": "sampan"});
    assert!(wrong("Ingress", &spec, &annotation).is_empty());
    spec["ingressClassName"] = json!("sampan");
    assert!(ingress(&spec).is_empty());
    assert_eq!(
        wrong("Ingress", &spec, &annotation),
        ["metadata.annotations.kubernetes.io/ingress.class"]
    );
    spec["ingressClassName"] = json!("Not_A_Name");
    assert_eq!(ingress(&spec), ["spec.ingressClassName"]);
}

#[test]
fn a_class_has_a_controller() {
    assert!(class(&json!({"controller": "sampan.dev/ingress"})).is_empty());
    for bad in [
        "",
        "nginx",
        "/nginx",
        "example.com/",
        "example.com/a b",
        &format!("a.example/{}", "x".repeat(241)),
    ] {
        assert_eq!(class(&json!({"controller": bad})), ["spec.controller"], "{bad}");
    }
    let with = |parameters: Value| class(&json!({"controller": "a.example/b", "parameters": parameters}));
    assert!(with(json!({"kind": "Config", "name": "c"})).is_empty());
    assert!(with(json!({"kind": "Config", "name": "c", "scope": "Namespace", "namespace": "d"})).is_empty());
    assert_eq!(with(json!({"name": "c"})), ["spec.parameters.kind"]);
    assert_eq!(
        with(json!({"kind": "Config", "name": "c", "namespace": "d"})),
        ["spec.parameters.namespace"]
    );
    assert_eq!(
        with(json!({"kind": "Config", "name": "c", "scope": "Namespace"})),
        ["spec.parameters.namespace"]
    );
    assert_eq!(
        with(json!({"kind": "Config", "name": "c", "scope": "Planet"})),
        ["spec.parameters.scope"]
    );
}

#[test]
fn types_are_checked_and_unknown_fields_named() {
    let spec = json!({"defaultBackend": {"service": {"name": "web", "port": {"number": "80"}}}});
    assert_eq!(ingress(&spec), ["spec.defaultBackend.service.port.number"]);
}
