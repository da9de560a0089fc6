//! `snapshot`: saved while the cluster works, looked into, restored as a new cluster; and what is refused.
use crate::stage::{Done, NGINX, Stage, sampan, up};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// Runs a command that needs no server.
fn offline(dir: &Path, args: &[&str]) -> Done {
    let output = sampan(dir).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn items(stage: &Stage, what: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(&stage.ok(&format!("get {what} -A -o json"))).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Saves a snapshot while somebody writes; how many were written.
fn save_under_writes(stage: &Stage, file: &str) -> usize {
    let writing = AtomicBool::new(true);
    let (saved, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while writing.load(Ordering::Relaxed) {
                let made = stage.run(&format!(
                    "create configmap during-{written:04} --from-literal=a={written}"
                ));
                written += usize::from(made.code == 0);
            }
            written
        });
        let saved: Vec<Done> = (0..4)
            .map(|_| stage.run(&format!("snapshot save --force {file}")))
            .collect();
        writing.store(false, Ordering::Relaxed);
        (saved, writer.join().unwrap())
    });
    for done in saved {
        assert!(done.code == 0 && done.out.contains("revision "), "{done:?}");
    }
    written
}

#[test]
fn a_snapshot_saved_under_writes_is_restored_as_a_new_cluster() {
    let stage = Stage::new();
    stage.ok("create configmap before --from-literal=a=1");
    stage.feed("apply -f -", NGINX);
    stage.ok("token create");
    let file = stage.dir.path().join("saved.snap").display().to_string();
    let written = save_under_writes(&stage, &file);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let old = items(&stage, "configmaps");

    let seen = offline(stage.dir.path(), &["snapshot", "inspect", &file, "-o", "json"]);
    let seen: Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!((&seen["checksum"], &seen["cluster"]), (&"ok".into(), &"sampan".into()));
    assert_eq!(seen["objects"]["tokens.sampan.dev"], 1, "{seen}");
    assert!(seen["blobs"]["count"].as_u64() > Some(0), "{seen}");
    let text = offline(stage.dir.path(), &["snapshot", "inspect", &file]).out;
    assert!(text.contains("checksum ok") && text.contains("configmaps"), "{text}");

    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let named = ["--name", "s9", "--cluster-name", "drill"];
    let restore = [&["snapshot", "restore", &file, "--data-dir", &data][..], &named].concat();
    let done = offline(dir.path(), &restore);
    assert!(done.code == 0 && done.out.contains("sampan up --data-dir"), "{done:?}");
    let new = Stage::with(dir, &["--no-agent"]);
    assert_eq!(new.ok("status -o jsonpath={.cluster}"), "drill");
    assert!(new.ok("member list").contains("s9"));
    assert_eq!(new.ok("token list"), "", "tokens named the old authority");
    let restored = items(&new, "configmaps");
    let during = restored.iter().filter(|map| {
        let name = map["metadata"]["name"].as_str().unwrap();
        name.starts_with("during-")
    });
    let during = during.count();
    assert!(
        during > 0 && during <= written && restored.len() > during,
        "{during} of {written}"
    );
    for map in &restored {
        assert!(old.contains(map), "to the letter: {map}");
    }
    for number in 0..during {
        new.ok(&format!("get cm during-{number:04}"));
    }
    assert_eq!(new.ok("get deploy -o name"), "deployment.apps/nginx-deployment\n");
    new.ok("create configmap after --from-literal=a=1");
    // The old cluster is as it was.
    assert_eq!(items(&stage, "configmaps"), old);
}

#[test]
fn what_is_no_snapshot_or_no_place_for_one_is_refused() {
    let mut stage = Stage::new();
    stage.ok("create configmap kept --from-literal=a=1");
    let path = |name: &str| stage.dir.path().join(name).display().to_string();
    let file = path("good.snap");
    stage.ok(&format!("snapshot save {file}"));
    let taken = stage.refused(&format!("snapshot save {file}"));
    assert!(
        taken.contains("is there already") && taken.contains("--force"),
        "{taken}"
    );
    let nowhere = stage.refused(&format!("snapshot save {}", path("no/such/x.snap")));
    assert!(nowhere.contains("cannot write in"), "{nowhere}");
    let directory = stage.refused(&format!("snapshot save {}", stage.dir.path().display()));
    assert!(directory.contains("is a directory"), "{directory}");
    let piped = sampan(stage.dir.path())
        .args(["snapshot", "save", "-"])
        .output()
        .unwrap();
    fs::write(path("piped.snap"), &piped.stdout).unwrap();
    stage.ok(&format!("snapshot inspect {}", path("piped.snap")));

    let good = fs::read(&file).unwrap();
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    let data = path("restored");
    for (name, bytes, words) in [
        ("short", &good[..good.len() - 9], "it is cut short"),
        ("changed", &changed, "it is damaged"),
        ("other", b"PK\x03\x04 an archive", "it is no checkpoint"),
    ] {
        let bad = path(name);
        fs::write(&bad, bytes).unwrap();
        let refused = stage.refused(&format!("snapshot restore {bad} --data-dir {data}"));
        assert!(
            refused.starts_with("error: nothing is restored: ") && refused.contains(words),
            "{refused}"
        );
        assert!(!Path::new(&data).exists(), "{name}");
        assert!(stage.refused(&format!("snapshot inspect {bad}")).contains(words));
    }
    let full = stage.refused(&format!("snapshot restore {file} --data-dir {}", path("data")));
    assert!(full.contains("is not empty") && full.contains("--data-dir"), "{full}");
    assert!(stage.refused("snapshot inspect /no/such").contains("/no/such"));
    let left: Vec<_> = fs::read_dir(stage.dir.path()).unwrap().flatten().collect();
    assert!(
        left.iter()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with(".snapshot-"))
    );
    // Who is alone has nobody to be without, and who has nothing cannot go on with it.
    stage.stop();
    let away = stage.refused("snapshot save --request-timeout=2s /tmp/never-written.snap");
    assert!(away.contains("was refused"), "{away}");
    let alone = up(stage.dir.path()).arg("--force-new-cluster").output().unwrap();
    let alone = String::from_utf8(alone.stderr).unwrap();
    assert!(alone.contains("start it without --force-new-cluster"), "{alone}");
    let empty = tempfile::tempdir().unwrap();
    let nothing = up(empty.path()).arg("--force-new-cluster").output().unwrap();
    let nothing = String::from_utf8(nothing.stderr).unwrap();
    assert!(
        nothing.contains("has no state that this server could go on with"),
        "{nothing}"
    );
    assert!(!empty.path().join("data/server/cluster").exists());
    stage.again();
    assert_eq!(stage.ok("get cm kept -o jsonpath={.data.a}"), "1");
}
