//! Volumes on a real disk.
use super::*;
use serde_json::{Value, json};

struct Bench {
    dir: tempfile::TempDir,
}

fn sources() -> Sources {
    let map = serde_json::from_value(json!({"data": {"app.conf": "x=1", "other": "y"}})).unwrap();
    let secret = serde_json::from_value(json!({"data": {"key": "c2VjcmV0"}})).unwrap();
    Sources {
        namespace: "default".into(),
        config_maps: [("conf".to_owned(), map)].into(),
        secrets: [("tls".to_owned(), secret)].into(),
        services: Vec::new(),
    }
}

impl Bench {
    fn new() -> Self {
        Bench {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn set_up(&self, volume: Value) -> Result<PathBuf, String> {
        let pod = json!({"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {"containers": [], "volumes": [volume]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let places = set_up(&pod, &Facts::default(), &sources(), self.dir.path()).map_err(|error| error.message)?;
        Ok(places.into_values().next().unwrap())
    }

    fn mounts(&self, mount: Value) -> Result<Vec<Mount>, String> {
        let container = serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]})).unwrap();
        let places = Places::from([("v".to_owned(), self.dir.path().to_owned())]);
        mounts(
            &container,
            &places,
            &BTreeMap::from([("N".to_owned(), "n1".to_owned())]),
        )
        .map_err(|error| error.message)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn config_maps_and_secrets_become_files() {
    let bench = Bench::new();
    let place = bench
        .set_up(json!({"name": "v", "configMap": {"name": "conf"}}))
        .unwrap();
    assert_eq!(fs::read_to_string(place.join("app.conf")).unwrap(), "x=1");
    assert_eq!(mode(&place.join("app.conf")), 0o644);
    let items = json!([{"key": "key", "path": "a/b.pem", "mode": 0o400}]);
    let place = bench
        .set_up(json!({"name": "s", "secret": {"secretName": "tls", "items": items}}))
        .unwrap();
    assert_eq!(fs::read_to_string(place.join("a/b.pem")).unwrap(), "secret");
    assert_eq!(mode(&place.join("a/b.pem")), 0o400);
    let none = bench
        .set_up(json!({"name": "n", "configMap": {"name": "none", "optional": true}}))
        .unwrap();
    assert_eq!(fs::read_dir(none).unwrap().count(), 0);
}

#[test]
fn the_downward_api_and_projections() {
    let bench = Bench::new();
    let name = json!({"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]});
    let place = bench.set_up(json!({"name": "d", "downwardAPI": name})).unwrap();
    assert_eq!(fs::read_to_string(place.join("name")).unwrap(), "web");
    let all = json!([{"configMap": {"name": "conf"}}, {"secret": {"name": "tls"}}, {"downwardAPI": name}]);
    let place = bench
        .set_up(json!({"name": "p", "projected": {"sources": all}}))
        .unwrap();
    assert_eq!(fs::read_dir(place).unwrap().count(), 4);
}

#[test]
fn what_is_wrong_is_said() {
    let bench = Bench::new();
    let error = |volume: Value| bench.set_up(volume).unwrap_err();
    let missing = error(json!({"name": "v", "configMap": {"name": "none"}}));
    assert_eq!(
        missing,
        "MountVolume.SetUp failed for volume \"v\": configmap \"none\" not found"
    );
    assert!(
        error(json!({"name": "v", "configMap": {"name": "conf", "items": [{"key": "k", "path": "p"}]}}))
            .contains("key: k")
    );
    let climbs = json!([{"key": "app.conf", "path": "../../etc/passwd"}]);
    assert!(error(json!({"name": "v", "configMap": {"name": "conf", "items": climbs}})).contains("without \"..\""));
    let claim = error(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}));
    assert!(
        claim.contains("type persistentVolumeClaim are not supported: use emptyDir"),
        "{claim}"
    );
    assert!(error(json!({"name": "v", "hostPath": {"path": "/nope", "type": "Directory"}})).contains("/nope"));
    assert!(
        error(json!({"name": "v", "hostPath": {"path": "/etc/passwd", "type": "Directory"}}))
            .contains("not a Directory")
    );
    assert!(error(json!({"name": "../v", "emptyDir": {}})).contains("DNS label"));
}

#[test]
fn empty_dirs_are_kept_until_removed() {
    let bench = Bench::new();
    let volume = || json!({"name": "v", "emptyDir": {}});
    let place = bench.set_up(volume()).unwrap();
    assert_eq!(mode(&place), 0o777);
    fs::write(place.join("x"), "kept").unwrap();
    bench.set_up(volume()).unwrap();
    assert_eq!(fs::read_to_string(place.join("x")).unwrap(), "kept");
    remove(bench.dir.path()).unwrap();
    assert!(!bench.dir.path().exists());
}

#[test]
fn memory_volumes_are_mounted_and_unmounted() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root");
    }
    let bench = Bench::new();
    let place = bench
        .set_up(json!({"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}))
        .unwrap();
    let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(mounts().contains(place.to_str().unwrap()));
    assert!(fs::write(place.join("big"), vec![0; 2 << 20]).is_err());
    remove(bench.dir.path()).unwrap();
    assert!(!mounts().contains(place.to_str().unwrap()));
}

#[test]
fn mounts_stay_in_their_volume() {
    let bench = Bench::new();
    let mount = bench
        .mounts(json!({"name": "v", "mountPath": "/data", "subPath": "a/b", "readOnly": true}))
        .unwrap();
    assert_eq!(mount[0].source, bench.dir.path().join("a/b"));
    assert!(mount[0].source.is_dir() && mount[0].read_only);
    let mount = bench
        .mounts(json!({"name": "v", "mountPath": "/data", "subPathExpr": "logs-$(N)"}))
        .unwrap();
    assert!(mount[0].source.ends_with("logs-n1"));
    std::os::unix::fs::symlink("/etc", bench.dir.path().join("evil")).unwrap();
    for sub in ["evil", "evil/ssl", "../x", "/etc"] {
        assert!(
            bench
                .mounts(json!({"name": "v", "mountPath": "/data", "subPath": sub}))
                .is_err(),
            "{sub}"
        );
    }
    assert!(
        bench
            .mounts(json!({"name": "w", "mountPath": "/data"}))
            .unwrap_err()
            .contains("\"w\"")
    );
    assert!(
        bench
            .mounts(json!({"name": "v", "mountPath": "data"}))
            .unwrap_err()
            .contains("absolute")
    );
}
