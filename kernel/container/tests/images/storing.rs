//! The store through failures: killed processes, a second process, damaged files, images in use.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use sampan_container::{BuildSource, Digest, ImageError, Store};

use crate::support::{Scratch, name, unused};

/// An image with one file beside its command.
async fn build(scratch: &Scratch, image: &str, content: &str) -> Digest {
    let path = scratch.dir.path().join("source");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), content).unwrap();
    let source = BuildSource::Folder {
        path,
        config: Box::default(),
    };
    scratch.store.build(&name(image), source).await.unwrap().manifest
}

#[tokio::test]
async fn leftovers_of_a_killed_process_are_swept() {
    let scratch = Scratch::new();
    build(&scratch, "app:1", "x").await;
    let root = scratch.path("");
    let listed = scratch.store.list();
    let Scratch { dir, store } = scratch;
    drop(store);
    fs::write(root.join("tmp/blob-half"), "half").unwrap();
    fs::create_dir_all(root.join("tmp/layer-half/it/etc")).unwrap();
    fs::write(root.join("tmp/layer-half/it/etc/passwd"), "half").unwrap();
    fs::write(root.join("tmp/index-half"), "{").unwrap();
    let scratch = Scratch {
        store: Store::open(&root).unwrap(),
        dir,
    };
    scratch.assert_tidy();
    assert_eq!(scratch.store.list(), listed);
}

#[tokio::test]
async fn one_process_at_a_time_and_nobody_looks_in() {
    let scratch = Scratch::new();
    let error = Store::open(scratch.path("")).err().unwrap();
    assert!(matches!(error, ImageError::Busy { .. }), "{error:?}");
    for inner in ["", "blobs", "blobs/sha256", "layers", "tmp"] {
        let mode = fs::metadata(scratch.path(inner)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{inner}");
    }
}

#[tokio::test]
async fn a_damaged_index_is_not_thrown_away() {
    let scratch = Scratch::new();
    build(&scratch, "app:1", "x").await;
    let root = scratch.path("");
    let Scratch { dir, store } = scratch;
    drop(store);
    fs::write(root.join("index.json"), "{\"version\":1,\"ima").unwrap();
    let error = Store::open(&root).err().unwrap().to_string();
    assert!(
        error.contains("index.json") && error.contains("move the file aside"),
        "{error}"
    );
    assert!(fs::read_dir(root.join("blobs/sha256")).unwrap().count() > 0);
    drop(dir);
}

#[tokio::test]
async fn removing_keeps_what_is_needed() {
    let scratch = Scratch::new();
    let one = build(&scratch, "app:1", "one").await;
    assert_eq!(build(&scratch, "app:same", "one").await, one);
    let two = build(&scratch, "app:2", "two").await;
    let blobs = scratch.count("blobs/sha256");
    let used = HashSet::from([one]);
    // Another name keeps it.
    let removed = scratch.store.remove(&name("app:same"), &used).await.unwrap();
    assert_eq!(
        (removed.names, removed.manifests, removed.freed_bytes),
        (vec![name("app:same").to_string()], vec![], 0)
    );
    let error = scratch.store.remove(&name("app:1"), &used).await.unwrap_err();
    assert!(matches!(error, ImageError::InUse { .. }), "{error:?}");
    // Retagged while it runs: its name leads elsewhere, and it stays as long as it is used.
    build(&scratch, "app:1", "three").await;
    scratch.store.collect(&used).await.unwrap();
    assert!(scratch.path(&format!("blobs/sha256/{}", one.hex())).exists());
    let removed = scratch.store.collect(&unused()).await.unwrap();
    assert_eq!(removed.manifests, [one]);
    assert!(removed.freed_bytes > 0);
    scratch.store.remove(&name("app:1"), &unused()).await.unwrap();
    assert_eq!(
        scratch
            .store
            .list()
            .iter()
            .map(|image| image.manifest)
            .collect::<Vec<_>>(),
        [two]
    );
    assert_eq!(scratch.count("blobs/sha256"), blobs / 2);
    let error = scratch.store.remove(&name("app:1"), &unused()).await.unwrap_err();
    assert_eq!(error.to_string(), "image app:1 not found on this node");
}

#[tokio::test]
async fn a_rotten_blob_is_noticed() {
    let scratch = Scratch::new();
    let manifest = build(&scratch, "app:1", "x").await;
    let path = scratch.path(&format!("blobs/sha256/{}", manifest.hex()));
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = scratch.store.prepare(&name("app:1")).await.unwrap_err();
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error:?}");
    fs::remove_file(&path).unwrap();
    let error = scratch.store.prepare(&name("app:1")).await.unwrap_err().to_string();
    assert!(error.contains("missing from the store; pull or load"), "{error}");
}

/// A layer that is not what the config says is not kept, though its blob is what the manifest says.
#[tokio::test]
async fn layers_are_checked_while_they_are_unpacked() {
    if !crate::support::is_root() {
        return;
    }
    let scratch = Scratch::new();
    build(&scratch, "app:1", "x").await;
    let layout = scratch.dir.path().join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8]| {
        fs::write(layout.join("blobs/sha256").join(Digest::of(bytes).hex()), bytes).unwrap();
        format!(r#""digest":"{}","size":{}"#, Digest::of(bytes), bytes.len())
    };
    let layer = put(&crate::unpacking::Tar::new().file("a", b"b").bytes());
    let platform = sampan_container::Platform::here();
    let config = put(format!(
        r#"{{"os":"linux","architecture":"{}","config":{{"Cmd":["/a"]}},"rootfs":{{"diff_ids":["{}"]}}}}"#,
        platform.architecture,
        Digest::of(b"something else")
    )
    .as_bytes());
    let manifest = put(format!(r#"{{"schemaVersion":2,"config":{{{config}}},"layers":[{{{layer}}}]}}"#).as_bytes());
    fs::write(
        layout.join("index.json"),
        format!(r#"{{"schemaVersion":2,"manifests":[{{{manifest}}}]}}"#),
    )
    .unwrap();
    scratch.store.load(&layout, Some(&name("odd:1"))).await.unwrap();
    let error = scratch.store.prepare(&name("odd:1")).await.unwrap_err();
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error:?}");
    assert_eq!(scratch.count("layers"), 0);
    scratch.assert_tidy();
}
