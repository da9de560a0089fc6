//! Work that is cut short: by kill -9 at any moment, by a dropped future, by a full disk. The victim is this test binary,
//! started again with a directory to work in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sampan_container::{BuildSource, Digest, Prepared, PullOptions, Store};

use crate::fake::{Reply, Server};
use crate::support::{Scratch, have, is_root, name, quiet, unused};

const WORKPLACE: &str = "SAMPAN_TEST_VICTIM";

fn workplace() -> Option<PathBuf> {
    std::env::var_os(WORKPLACE).map(PathBuf::from)
}

/// This binary, to run one of the tests that do nothing without a workplace.
fn victim(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(WORKPLACE, dir);
    command
}

fn source(dir: &Path, number: usize) -> BuildSource {
    let path = dir.join("source");
    fs::create_dir_all(path.join("d")).unwrap();
    for file in 0..20 {
        fs::write(path.join(format!("d/{file}")), format!("{number}").repeat(20_000)).unwrap();
    }
    BuildSource::Folder {
        path,
        config: Box::default(),
    }
}

/// Builds, prepares and removes until it is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the victim of `kill_at_any_moment`"]
async fn works_until_it_is_killed() {
    let Some(dir) = workplace() else { return };
    let store = Store::open(dir.join("store")).unwrap();
    for number in 0.. {
        let image = name(&format!("app:{}", number % 3));
        store.build(&image, source(&dir, number)).await.unwrap();
        drop(store.prepare(&image).await.unwrap());
        if number % 2 == 1 {
            store.remove(&image, &unused()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_moment() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut images, mut leftovers) = (0, 0);
    for round in 0..12 {
        let mut child = victim("killing::works_until_it_is_killed", dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let root = dir.path().join("store");
        leftovers += fs::read_dir(root.join("tmp")).map_or(0, Iterator::count);
        let store = Store::open(&root).unwrap();
        assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
        for blob in fs::read_dir(root.join("blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            assert_eq!(
                Digest::of(&fs::read(&path).unwrap()).hex(),
                path.file_name().unwrap().to_str().unwrap()
            );
        }
        for layer in fs::read_dir(root.join("layers")).unwrap() {
            let layer = layer.unwrap().path();
            let first = fs::read(layer.join("d/0")).unwrap();
            assert!((0..20).all(|file| fs::read(layer.join(format!("d/{file}"))).unwrap() == first));
        }
        for image in store.list() {
            let prepared = store.prepare(&name(&image.name)).await.unwrap();
            assert!(matches!(prepared, Prepared::Container { .. }));
            images += 1;
        }
    }
    eprintln!("killed 12 times: {images} images found whole, {leftovers} leftovers swept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_pull_leaves_nothing() {
    let module = vec![7; 100_000];
    let digest = Digest::of(&module);
    let server = Server::start(move |request| {
        if request.path.contains("/manifests/") {
            let part = format!(
                r#"{{"mediaType":"application/wasm","digest":"{digest}","size":{}}}"#,
                module.len()
            );
            return Reply::new(
                "200 OK",
                format!(r#"{{"schemaVersion":2,"config":{part},"layers":[{part}]}}"#),
            );
        }
        if request.path == "/v2/" {
            return Reply::new("200 OK", "{}");
        }
        let mut reply = Reply::new("200 OK", &module[..50_000]);
        reply.claims = Some(module.len());
        // Half of it, and then nothing for longer than the test takes.
        reply.stalls = Some(Duration::from_secs(2));
        reply
    });
    let scratch = Scratch::new();
    let image = name(&format!("{}/app:1", server.address));
    let options = PullOptions::default();
    let pull = scratch.store.pull(&image, &options, quiet);
    assert!(tokio::time::timeout(Duration::from_millis(500), pull).await.is_err());
    for _ in 0..100 {
        if scratch.count("tmp") == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scratch.assert_tidy();
    assert_eq!(scratch.count("blobs/sha256"), 0);
}

/// Runs in a mount namespace of its own, where its workplace is a very small disk.
#[tokio::test]
#[ignore = "the victim of `a_full_disk`"]
async fn fills_the_disk() {
    let Some(dir) = workplace() else { return };
    let store = Store::open(dir.join("store")).unwrap();
    let path = dir.parent().unwrap().join("source");
    let image = name("big:1");
    let error = store
        .build(
            &image,
            BuildSource::Folder {
                path: path.clone(),
                config: Box::default(),
            },
        )
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("packing") || error.contains("no space left"), "{error}");
    // The blob has room, the layer has not.
    let small = path.join("zeros");
    store
        .build(
            &image,
            BuildSource::Folder {
                path: small,
                config: Box::default(),
            },
        )
        .await
        .unwrap();
    let error = store.prepare(&image).await.unwrap_err();
    assert!(
        matches!(error, sampan_container::ImageError::NoSpace { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("free some with `sampan image rm`"),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.join("store/tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.join("store/layers")).unwrap().count(), 0);
    store.remove(&image, &unused()).await.unwrap();
    println!("the disk was full");
}

#[test]
fn a_full_disk() {
    if !is_root() || !have(&["unshare"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (disk, source) = (dir.path().join("disk"), dir.path().join("source"));
    fs::create_dir_all(source.join("zeros")).unwrap();
    fs::create_dir(&disk).unwrap();
    fs::write(source.join("zeros/zeros"), vec![0; 8 << 20]).unwrap();
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| {
            *Digest::of(&n.to_le_bytes())
                .hex()
                .as_bytes()
                .first_chunk::<16>()
                .unwrap()
        })
        .collect();
    fs::write(source.join("noise"), noise.repeat(3)).unwrap();
    let command = victim("killing::fills_the_disk", &disk);
    let script = format!("mount -t tmpfs -o size=1m tmpfs {} && exec \"$@\"", disk.display());
    let mut outer = Command::new("unshare");
    outer
        .args(["-m", "sh", "-ec", &script, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    let output = outer.env(WORKPLACE, &disk).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("the disk was full"),
        "{text}{:?}",
        output.stderr
    );
}
