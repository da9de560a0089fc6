//! Images built here, taken by ourselves and by others.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sampan_container::{BuildConfig, BuildSource, Kind, Prepared, build_archive};
use serde_json::{Value, json};

use crate::support::{Registry, Scratch, Setup, have, is_root, name, quiet, run};

fn folder(dir: &Path) -> BuildSource {
    let path = dir.join("root");
    fs::create_dir_all(path.join("srv/empty")).unwrap();
    fs::write(path.join("server"), "#!/bin/true\n").unwrap();
    fs::set_permissions(path.join("server"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(path.join("srv").join("n".repeat(200)), "long").unwrap();
    symlink("/server", path.join("link")).unwrap();
    let config = json!({ "entrypoint": ["/server"], "env": ["A=b"], "exposedPorts": ["80"], "workdir": "/srv" });
    BuildSource::Folder {
        path,
        config: Box::new(serde_json::from_value(config).unwrap()),
    }
}

/// Empty but for an import and an export: `(component (import "a:b/c" (instance)) (export "d:e/f" (instance 0)))`.
fn component() -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.extend(b"\x07\x03\x01\x42\x00"); // type section: an instance type without members
    bytes.extend(b"\x0a\x0a\x01\x00\x05a:b/c\x05\x00"); // import section
    bytes.extend(b"\x0b\x0b\x01\x00\x05d:e/f\x05\x00\x00"); // export section
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder() {
    let scratch = Scratch::new();
    let source = folder(scratch.dir.path());
    let image = scratch.store.build(&name("app:1"), source.clone()).await.unwrap();
    assert_eq!(image.kind, Kind::Container);
    // Whenever it is built, it is the same image.
    run(
        "touch",
        &[&scratch.dir.path().join("root/server").display().to_string()],
    );
    let archive = scratch.dir.path().join("app.tar");
    assert_eq!(
        build_archive(&name("app:1"), source.clone(), &archive).await.unwrap(),
        image.manifest
    );
    let first = fs::read(&archive).unwrap();
    build_archive(&name("app:1"), source, &archive).await.unwrap();
    assert_eq!(fs::read(&archive).unwrap(), first);
    let left: Vec<_> = fs::read_dir(scratch.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");

    let other = Scratch::new();
    let loaded = other.store.load(&archive, None).await.unwrap();
    assert_eq!(
        (loaded[0].name.clone(), loaded[0].manifest),
        (name("app:1").to_string(), image.manifest)
    );
    if !is_root() {
        let error = other.store.prepare(&name("app:1")).await.unwrap_err().to_string();
        assert!(error.contains("without root is not supported"), "{error}");
        return;
    }
    let Prepared::Container { config, lowers, .. } = other.store.prepare(&name("app:1")).await.unwrap() else {
        panic!("no container");
    };
    assert_eq!(
        (config.entrypoint.as_slice(), config.exposed_ports.as_slice()),
        (&["/server".into()][..], &["80/tcp".into()][..])
    );
    assert_eq!(
        fs::metadata(lowers[0].join("server")).unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert!(lowers[0].join("srv/empty").is_dir() && lowers[0].join("srv").join("n".repeat(200)).is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_through_a_registry() {
    let scratch = Scratch::new();
    let path = scratch.dir.path().join("x.wasm");
    fs::write(&path, component()).unwrap();
    let image = scratch
        .store
        .build(&name("wasm:1"), BuildSource::Wasm { path: path.clone() })
        .await
        .unwrap();
    assert_eq!((image.kind, image.platform.as_str()), (Kind::Wasm, "wasip2/wasm"));
    let blob = |digest: &str| fs::read(scratch.path(&format!("blobs/sha256/{}", &digest[7..]))).unwrap();
    let manifest: Value = serde_json::from_slice(&blob(&image.manifest.to_string())).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    let config: Value = serde_json::from_slice(&blob(manifest["config"]["digest"].as_str().unwrap())).unwrap();
    assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
    assert_eq!(
        config["component"],
        json!({ "imports": ["a:b/c"], "exports": ["d:e/f"], "target": null })
    );
    let Prepared::Wasm { module_path, .. } = scratch.store.prepare(&name("wasm:1")).await.unwrap() else {
        panic!("no Wasm");
    };
    assert_eq!(fs::read(module_path).unwrap(), component());
    if !have(&["docker-registry", "skopeo"]) {
        return;
    }
    let archive = scratch.dir.path().join("wasm.tar");
    build_archive(&name("wasm:1"), BuildSource::Wasm { path }, &archive)
        .await
        .unwrap();
    let registry = Registry::start(&Setup::default());
    registry.push_from(&format!("oci-archive:{}", archive.display()), "wasm:1", &[]);
    let other = Scratch::new();
    let pulled = other
        .store
        .pull(&registry.image("wasm:1"), &Default::default(), quiet)
        .await
        .unwrap();
    assert_eq!((pulled.manifest, pulled.kind), (image.manifest, Kind::Wasm));
}

/// A module in a tar layer, as Docker's Wasm images have it: told by the platform, or by there being nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn modules_in_layers() {
    let scratch = Scratch::new();
    let path = scratch.dir.path().join("lone");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("app.wasm"), component()).unwrap();
    let source = BuildSource::Folder {
        path: path.clone(),
        config: Box::default(),
    };
    let image = scratch.store.build(&name("lone:1"), source).await.unwrap();
    assert_eq!((image.kind, image.platform.as_str()), (Kind::Wasm, "wasi/wasm"));
    let Prepared::Wasm { module_path, lease, .. } = scratch.store.prepare(&name("lone:1")).await.unwrap() else {
        panic!("no Wasm");
    };
    assert_eq!(fs::read(&module_path).unwrap(), component());
    scratch
        .store
        .remove(&name("lone:1"), &crate::support::unused())
        .await
        .unwrap();
    assert!(module_path.is_file(), "leased");
    drop(lease);
    scratch.store.collect(&crate::support::unused()).await.unwrap();
    assert!(!module_path.exists());
    // With anything beside it, or a command that is no module, it is a container.
    fs::write(path.join("data"), "x").unwrap();
    let source = BuildSource::Folder {
        path,
        config: Box::default(),
    };
    assert_eq!(
        scratch.store.build(&name("lone:2"), source).await.unwrap().kind,
        Kind::Container
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_sources() {
    let scratch = Scratch::new();
    let dir = scratch.dir.path();
    let fails = async |source: BuildSource, reason: &str| {
        let error = scratch.store.build(&name("x"), source).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(scratch.store.list().is_empty());
        scratch.assert_tidy();
    };
    let folder = |path: &Path, config: Value| BuildSource::Folder {
        path: path.to_owned(),
        config: Box::new(serde_json::from_value(config).unwrap()),
    };
    fails(folder(&dir.join("none"), json!({})), "No such file").await;
    fs::write(dir.join("file"), "x").unwrap();
    fails(folder(&dir.join("file"), json!({})), "not a folder").await;
    fails(
        BuildSource::Wasm { path: dir.join("file") },
        "neither a WebAssembly component nor a module",
    )
    .await;
    let root = dir.join("root");
    fs::create_dir(&root).unwrap();
    for (config, reason) in [
        (json!({ "env": ["NOVALUE"] }), "\"NOVALUE\" is not NAME=value"),
        (json!({ "exposedPorts": ["http"] }), "\"http\" is not a port"),
        (json!({ "workdir": "srv" }), "not an absolute path"),
    ] {
        fails(folder(&root, config), reason).await;
    }
    assert!(serde_json::from_value::<BuildConfig>(json!({ "entryPoint": [] })).is_err());
    fs::write(root.join(".wh.x"), "").unwrap();
    fails(folder(&root, json!({})), "would delete a file").await;
    fs::remove_file(root.join(".wh.x")).unwrap();
    run("mkfifo", &[&root.join("pipe").display().to_string()]);
    fails(folder(&root, json!({})), "only files, folders and symbolic links").await;
}
