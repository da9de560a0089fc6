//! Loading what skopeo, umoci and gzip make.

use std::fs;
use std::path::Path;

use sampan_container::{Digest, ImageError, Kind, Prepared};
use serde_json::json;

use crate::support::{Scratch, have, is_root, make_layout, name, run, unused};
use crate::unpacking::Tar;

fn skopeo(from: &str, to: &str) {
    run("skopeo", &["copy", "--quiet", "--insecure-policy", from, to]);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_other_tools() {
    if !have(&["skopeo", "umoci", "gzip", "unshare"]) || !is_root() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    let layout = make_layout(work.path());
    let source = format!("oci:{}:app", layout.display());
    skopeo(
        &source,
        &format!("oci-archive:{}:registry.example/app:1", path("oci.tar")),
    );
    skopeo(&source, &format!("docker-archive:{}:app:docker", path("docker.tar")));
    run("cp", &[&path("docker.tar"), &path("zipped.tar")]);
    run("gzip", &[&path("zipped.tar")]);
    let scratch = Scratch::new();
    let mut all = Vec::new();
    for (archive, given, expected) in [
        (path("oci.tar"), None, "registry.example/app:1"),
        (path("docker.tar"), None, "app:docker"),
        (path("zipped.tar.gz"), Some("renamed:2"), "renamed:2"),
        (layout.display().to_string(), None, "layout:app"),
    ] {
        let given = given.map(name);
        let loaded = scratch.store.load(&archive, given.as_ref()).await.unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].name, name(expected).to_string());
        assert_eq!(loaded[0].kind, Kind::Container);
        let Prepared::Container { lowers, config, .. } = scratch.store.prepare(&name(expected)).await.unwrap() else {
            panic!("no container");
        };
        assert_eq!(config.user, "www");
        all.push(lowers);
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    let seen = crate::overlay::merged(work.path(), &all[0]);
    let expected = [
        "bin",
        "bin/busybox",
        "bin/cat",
        "bin/sh",
        "etc",
        "etc/passwd",
        "tmp",
        "www",
        "www/index.html",
        "www/new",
    ];
    assert_eq!(seen, expected);
    scratch.assert_tidy();
    for image in scratch.store.list() {
        scratch.store.remove(&name(&image.name), &unused()).await.unwrap();
    }
    assert_eq!((scratch.count("blobs/sha256"), scratch.count("layers")), (0, 0));
    scratch.assert_tidy();
}

async fn refuse(bytes: &[u8], reason: &str) -> ImageError {
    let scratch = Scratch::new();
    let archive = scratch.dir.path().join("bad.tar");
    fs::write(&archive, bytes).unwrap();
    let error = scratch.store.load(&archive, None).await.unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
    assert!(scratch.store.list().is_empty());
    scratch.assert_tidy();
    // What was stored on the way is of no use to anybody, and goes with the next collection.
    scratch.store.collect(&unused()).await.unwrap();
    assert_eq!(scratch.count("blobs/sha256"), 0);
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_archives() {
    refuse(b"", "neither an OCI archive").await;
    refuse(b"hello, I am no archive", "not a valid tar").await;
    refuse(&Tar::new().file("x", b"y").bytes(), "neither an OCI archive").await;
    refuse(&Tar::new().file("../x", b"y").bytes(), "contains ..").await;
    refuse(&Tar::new().file("index.json", b"{").bytes(), "not the expected JSON").await;
    refuse(&Tar::new().file("manifest.json", b"[]").bytes(), "no image in it").await;
    let blob = format!("blobs/sha256/{}", Digest::of(b"right").hex());
    let error = refuse(&Tar::new().file(&blob, b"wrong").bytes(), "is corrupt").await;
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error:?}");
    let saved = br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["../../etc/passwd"]}]"#;
    refuse(
        &Tar::new().file("manifest.json", saved).bytes(),
        "names \"c.json\", which is not in it",
    )
    .await;
}

fn docker_archive(layer: &[u8], diff_id: Digest, architecture: &str) -> Vec<u8> {
    let config = json!({ "os": "linux", "architecture": architecture,
        "rootfs": { "type": "layers", "diff_ids": [diff_id.to_string()] } });
    let config = config.to_string().into_bytes();
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let saved = json!([{ "Config": config_name, "RepoTags": ["app:1"], "Layers": ["b/layer.tar"] }]).to_string();
    // The layer is behind a link, as older Dockers write one that an image has twice.
    let tar = Tar::new().file(&config_name, &config).file("a/layer.tar", layer);
    tar.link("b/layer.tar", "../a/layer.tar")
        .file("manifest.json", saved.as_bytes())
        .bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_archives_are_checked() {
    let layer = Tar::new().file("hello", b"hi").bytes();
    refuse(&docker_archive(&layer, Digest::of(b"other"), "amd64"), "is corrupt").await;
    refuse(
        &docker_archive(&layer, Digest::of(&layer), "mips"),
        "is for linux/mips, this node is",
    )
    .await;
    let here = sampan_container::Platform::here().architecture;
    let scratch = Scratch::new();
    let archive = scratch.dir.path().join("good.tar");
    fs::write(&archive, docker_archive(&layer, Digest::of(&layer), &here)).unwrap();
    let loaded = scratch.store.load(&archive, None).await.unwrap();
    assert_eq!(loaded[0].name, name("app:1").to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_said_so() {
    let scratch = Scratch::new();
    let error = scratch
        .store
        .load(Path::new("/nonexistent.tar"), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nonexistent.tar") && error.contains("No such file"),
        "{error}"
    );
}
