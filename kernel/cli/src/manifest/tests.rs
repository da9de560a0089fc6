//! Manifests as found in the wild, and what is said of malformed ones.
use super::*;
use serde_json::json;

fn read(text: &str) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    take("f.yaml", text, &mut manifests)?;
    Ok(manifests)
}

fn names(text: &str) -> Vec<String> {
    let manifests = read(text).unwrap();
    manifests
        .iter()
        .map(|m| super::text(&m.value, "/metadata/name").to_owned())
        .collect()
}

fn wrong(text: &str) -> String {
    format!("{:#}", read(text).unwrap_err())
}

#[test]
fn documents_of_all_sorts() {
    let text = "# a comment\n\n---\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n--- # next\n\n# nothing here\n---\n\
                {\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"b\"}}\n...\n---\n";
    assert_eq!(names(text), ["a", "b"]);
    assert_eq!(
        names("\u{FEFF}---\r\napiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: a\r\n"),
        ["a"]
    );
    assert_eq!(
        names("{\n\t\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n\t\"metadata\": {\"name\": \"t\"}\n}\n"),
        ["t"]
    );
    assert!(names("").is_empty() && names("---\n").is_empty() && names("# only\n").is_empty());
}

#[test]
fn lists_are_unfolded_with_their_places() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\n\
                - apiVersion: v1\n  kind: Pod\n  metadata:\n    name: b\n";
    let manifests = read(text).unwrap();
    assert_eq!(manifests.len(), 2);
    assert_eq!(manifests[1].place("metadata.name"), "f.yaml:11:11");
    assert_eq!(manifests[1].place("metadata.labels.x"), "f.yaml:11:5");
}

#[test]
fn anchors_aliases_and_merges() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: &l {app: web}\n\
                data:\n  <<: *l\n  x: 'yes'\n  on: \"1\"\n";
    let manifests = read(text).unwrap();
    assert_eq!(manifests[0].value["data"], json!({"app": "web", "x": "yes", "on": "1"}));
}

#[test]
fn scalars_are_what_they_look_like() {
    let text = "apiVersion: v1\nkind: X\nn: 1\nf: 1.5\nb: true\ns: \"1\"\nz: ~\nm: |\n  a\n  b\nt: 2026-01-01\n80: x\nmode: 0400\nyes: on\n";
    let value = &read(text).unwrap()[0].value;
    assert_eq!(value["n"], 1);
    assert_eq!(value["f"], 1.5);
    assert_eq!((&value["mode"], &value["yes"]), (&json!(256), &json!(true)));
    assert_eq!(
        (&value["b"], &value["s"], &value["z"]),
        (&json!(true), &json!("1"), &json!(null))
    );
    assert_eq!(
        (&value["m"], &value["t"], &value["80"]),
        (&json!("a\nb\n"), &json!("2026-01-01"), &json!("x"))
    );
}

#[test]
fn malformed_text_says_where() {
    let error = wrong("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n b: c\n");
    assert!(error.starts_with("f.yaml:5:"), "{error}");
    let error = wrong("apiVersion: v1\nkind: [Pod\n");
    assert!(error.starts_with("f.yaml:"), "{error}");
    let error = wrong("a: 1\na: 2\n");
    assert!(
        error.starts_with("f.yaml:2:1: ") && error.contains("duplicate"),
        "{error}"
    );
    assert!(
        wrong("a: *nowhere\n").starts_with("f.yaml:1:4: "),
        "{}",
        wrong("a: *nowhere\n")
    );
    assert!(
        wrong("\tkind: Pod\n").starts_with("f.yaml:1:"),
        "{}",
        wrong("\tkind: Pod\n")
    );
}

#[test]
fn what_is_no_object_says_so() {
    assert_eq!(
        wrong("hello\n"),
        "f.yaml:1:1: expected an object with apiVersion, kind and metadata, found a text"
    );
    assert_eq!(wrong("---\nkind: Pod\n"), "f.yaml:2:1: apiVersion is not set");
    assert_eq!(
        wrong("apiVersion: v1\nkind: 5\n"),
        "f.yaml:2:7: kind must be a text, found 5"
    );
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (now, before) in ["b", "c", "d", "e", "f", "g", "h", "i"]
        .iter()
        .zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        bomb.push_str(&format!(
            "{now}: &{now} [{}]\n",
            vec![format!("*{before}"); 10].join(",")
        ));
    }
    assert!(read(&bomb).is_err());
    assert!(read(&"[".repeat(5000)).is_err());
    assert!(read(&format!("a: {}", "- ".repeat(5000))).is_err());
    assert!(read(&"{\t\"a\":".repeat(5000)).is_err());
}

#[test]
fn errors_of_the_server_get_places() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: -1\n";
    let manifest = &read(text).unwrap()[0];
    let cause = sampan_api::Cause {
        field: "spec.replicas".into(),
        message: "-1 is negative".into(),
    };
    let error = manifest.locate(ApiError::invalid("Deployment \"web\" is invalid", vec![cause]));
    assert_eq!(
        error.to_string(),
        "Deployment \"web\" is invalid: f.yaml:6:13: spec.replicas: -1 is negative"
    );
    let mut odd = manifest.clone();
    odd.value["kind"] = "Deploymnet".into();
    let error = format!("{:#}", odd.doc().unwrap_err());
    assert!(error.starts_with("f.yaml:2:7: no kind \"Deploymnet\""), "{error}");
}

#[test]
fn directories_are_walked_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
    std::fs::create_dir(dir.path().join("deep")).unwrap();
    for (file, name) in [
        ("2.yml", "b"),
        ("1.yaml", "a"),
        ("deep/3.yaml", "c"),
        ("notes.txt", "no"),
    ] {
        std::fs::write(dir.path().join(file), pod(name)).unwrap();
    }
    let here = dir.path().display().to_string();
    let read = |recursive, filename: &str| {
        Files {
            filename: vec![filename.to_owned()],
            recursive,
        }
        .read()
    };
    assert_eq!(read(false, &here).unwrap().len(), 2);
    assert_eq!(read(true, &here).unwrap().len(), 3);
    let missing = format!("{:#}", read(false, "/nonexistent.yaml").unwrap_err());
    assert_eq!(missing, "the path \"/nonexistent.yaml\" does not exist");
    std::fs::write(dir.path().join("bad.txt"), b"a: 1\nb: \xff\n").unwrap();
    let bad = format!("{:#}", read(false, &format!("{here}/bad.txt")).unwrap_err());
    assert!(bad.ends_with("bad.txt:2:4: not UTF-8"), "{bad}");
}
