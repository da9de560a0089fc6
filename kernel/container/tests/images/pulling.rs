//! Pulling from Debian's registry what skopeo pushed there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sampan_container::{
    Auth, Digest, ImageError, Kind, Platform, Prepared, Progress, PullOptions, Reference, resolve_user,
};
use serde_json::Value;

use crate::support::{LOGIN, Registry, Scratch, Setup, have, is_root, make_layout, options, quiet, run, unused};

const TOOLS: [&str; 3] = ["docker-registry", "skopeo", "umoci"];

fn ready() -> bool {
    have(&TOOLS) && is_root()
}

fn manifest(registry: &Registry, digest: &str) -> Value {
    serde_json::from_slice(&fs::read(registry.blob_file(digest)).unwrap()).unwrap()
}

/// skopeo would take the gzip layers that the registry has, so these are compressed by hand.
fn push_zstd(registry: &Registry, work: &Path, layout: &Path, rest: &str) {
    let dir = work.join("plain");
    let (from, plain) = (
        format!("oci:{}:app", layout.display()),
        format!("dir:{}", dir.display()),
    );
    run(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-decompress",
            &from,
            &plain,
        ],
    );
    let mut manifest: Value = serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    for layer in manifest["layers"].as_array_mut().unwrap() {
        let file = dir.join(&layer["digest"].as_str().unwrap()[7..]);
        let packed = zstd::encode_all(fs::read(file).unwrap().as_slice(), 3).unwrap();
        let digest = Digest::of(&packed);
        fs::write(dir.join(digest.hex()), &packed).unwrap();
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd".into();
        (layer["digest"], layer["size"]) = (digest.to_string().into(), packed.len().into());
    }
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    registry.push_from(&plain, rest, &["--preserve-digests"]);
    assert_eq!(
        registry.digest_of(rest),
        Digest::of(manifest.to_string().as_bytes()).to_string()
    );
}

/// Both manifest formats and both compressions come to the same root filesystem.
#[tokio::test(flavor = "multi_thread")]
async fn every_format_by_tag_and_digest() {
    if !ready() {
        return;
    }
    let registry = Registry::start(&Setup::default());
    let work = tempfile::tempdir().unwrap();
    let layout = make_layout(work.path());
    registry.push(&layout, "team/app:oci", &["--format", "oci"]);
    registry.push(&layout, "team/app:docker", &["--format", "v2s2"]);
    push_zstd(&registry, work.path(), &layout, "team/app:zstd");
    let scratch = Scratch::new();
    let mut seen = Vec::new();
    for tag in ["oci", "docker", "zstd"] {
        let reference = registry.image(&format!("team/app:{tag}"));
        assert!(scratch.store.resolve(&reference).is_none());
        let reports = Mutex::new(Vec::new());
        let options = PullOptions::default();
        let image = scratch
            .store
            .pull(&reference, &options, |report| reports.lock().unwrap().push(report));
        let image = image.await.unwrap();
        assert_eq!(image.digest.to_string(), registry.digest_of(&format!("team/app:{tag}")));
        assert_eq!(
            (image.kind, image.platform.clone()),
            (Kind::Container, Platform::here().to_string())
        );
        let reports = reports.into_inner().unwrap();
        assert_eq!(reports.first(), Some(&Progress::Resolving));
        assert_eq!(reports.last(), Some(&Progress::Done { digest: image.digest }));
        let complete = |r: &&Progress| matches!(r, Progress::Blob { done, total, .. } if done == total);
        assert_eq!(reports.iter().filter(complete).count(), 3, "config and two layers");
        assert_eq!(scratch.store.resolve(&reference), Some(image.clone()));

        let by_digest = registry.image(&format!("team/app@{}", image.digest));
        assert_eq!(scratch.store.resolve(&by_digest).unwrap().manifest, image.manifest);
        assert_eq!(
            scratch
                .store
                .pull(&by_digest, &PullOptions::default(), quiet)
                .await
                .unwrap()
                .digest,
            image.digest
        );
        seen.push(check_prepared(&scratch, &reference).await);
    }
    // The layers are the same whatever they were packed with: unpacked once.
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(scratch.count("layers"), 2);
    assert_eq!(scratch.store.list().len(), 6);
    scratch.assert_tidy();
}

/// What was made is what is run. Gives the lowers.
async fn check_prepared(scratch: &Scratch, reference: &Reference) -> Vec<PathBuf> {
    let Prepared::Container { config, lowers, .. } = scratch.store.prepare(reference).await.unwrap() else {
        panic!("no container");
    };
    assert_eq!(
        (config.entrypoint.as_slice(), config.cmd.as_slice()),
        (&["/bin/busybox".into()][..], &["httpd".into()][..])
    );
    assert_eq!(
        (config.workdir.as_str(), config.exposed_ports.as_slice()),
        ("/www", &["80/tcp".into()][..])
    );
    assert!(config.env.contains(&"A=b".to_owned()));
    assert_eq!(resolve_user(&config.user, &lowers).unwrap().uid, 33);
    assert_eq!(
        fs::read(lowers[1].join("bin/busybox")).unwrap(),
        fs::read("/bin/busybox").unwrap()
    );
    lowers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_leads_to_this_platform() {
    if !ready() {
        return;
    }
    let registry = Registry::start(&Setup::default());
    let work = tempfile::tempdir().unwrap();
    let layout = make_layout(work.path());
    registry.push(&layout, "app:here", &["--format", "oci"]);
    let image = format!("{}:app", layout.display());
    run("umoci", &["config", "--image", &image, "--architecture", "riscv64"]);
    registry.push(&layout, "app:other", &["--format", "oci"]);
    let (here, other) = (registry.digest_of("app:here"), registry.digest_of("app:other"));
    let entry = |digest: &str, architecture: &str| {
        let size = fs::metadata(registry.blob_file(digest)).unwrap().len();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size},
                "platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
        )
    };
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = |entries: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{entries}]}}"#);
    let platform = Platform::here();
    let both = format!("{},{}", entry(&other, "riscv64"), entry(&here, &platform.architecture));
    registry.put_manifest("app", "both", media_type, &index(&both));
    registry.put_manifest("app", "foreign", media_type, &index(&entry(&other, "riscv64")));

    let scratch = Scratch::new();
    let image = scratch
        .store
        .pull(&registry.image("app:both"), &PullOptions::default(), quiet)
        .await
        .unwrap();
    assert_eq!(image.manifest.to_string(), here);
    assert_ne!(image.digest, image.manifest);
    let by_index = registry.image(&format!("app@{}", image.digest));
    assert_eq!(scratch.store.resolve(&by_index).unwrap().manifest, image.manifest);
    for tag in ["foreign", "other"] {
        let reference = registry.image(&format!("app:{tag}"));
        let error = scratch
            .store
            .pull(&reference, &PullOptions::default(), quiet)
            .await
            .unwrap_err();
        assert!(matches!(error, ImageError::WrongPlatform { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("image {reference} is for linux/riscv64, this node is {platform}")
        );
        assert!(scratch.store.resolve(&reference).is_none());
    }
    scratch.assert_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_unreachable() {
    if !ready() {
        return;
    }
    let registry = Registry::start(&Setup::default());
    let work = tempfile::tempdir().unwrap();
    registry.push(&make_layout(work.path()), "app:1", &[]);
    let scratch = Scratch::new();
    for rest in ["app:2", "none:1", &format!("app@sha256:{}", "0".repeat(64))] {
        let reference = registry.image(rest);
        let error = scratch
            .store
            .pull(&reference, &PullOptions::default(), quiet)
            .await
            .unwrap_err();
        assert!(matches!(error, ImageError::NotFound { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("image {reference} not found in registry {}", registry.host)
        );
    }
    let image = registry.image("app:1");
    drop(registry);
    let error = scratch
        .store
        .pull(&image, &PullOptions::default(), quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(matches!(
        scratch.store.prepare(&image).await,
        Err(ImageError::NotFound { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords() {
    if !ready() {
        return;
    }
    let registry = Registry::start(&Setup {
        password: true,
        tls: None,
    });
    let work = tempfile::tempdir().unwrap();
    registry.push(&make_layout(work.path()), "secret/app:1", &["--dest-creds", LOGIN]);
    let image = registry.image("secret/app:1");
    let config = |name: &str, json: String| {
        let path = work.path().join(name);
        fs::write(&path, json).unwrap();
        Auth::ConfigFile(path)
    };
    // base64 of user:secret, of user:wrong.
    let (good, bad) = ("dXNlcjpzZWNyZXQ=", "dXNlcjp3cm9uZw==");
    let auths = |auth: &str| format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.host);
    let scratch = Scratch::new();
    for (auth, expected) in [
        (Auth::Anonymous, "no credentials were given"),
        (config("wrong.json", auths(bad)), "wrong.json"),
        (config("empty.json", "{}".into()), "has no entry for 127.0.0.1"),
        (
            Auth::ConfigFile(work.path().join("absent.json")),
            "absent.json does not exist",
        ),
        (
            config("helper.json", r#"{"credsStore":"desktop"}"#.into()),
            "credential helper \"desktop\"",
        ),
    ] {
        let error = scratch.store.pull(&image, &options(auth), quiet).await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    for auth in [config("right.json", auths(good)), Auth::Entry(good.to_owned())] {
        scratch.store.pull(&image, &options(auth), quiet).await.unwrap();
        scratch.store.remove(&image, &unused()).await.unwrap();
    }
    assert_eq!(scratch.count("blobs/sha256"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_authority_of_our_own() {
    if !ready() {
        return;
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "test authority");
    let authority = parameters.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = server.signed_by(&server_key, &issuer).unwrap();
    let tls = Some((certificate.pem(), server_key.serialize_pem()));
    let registry = Registry::start(&Setup { password: false, tls });
    let work = tempfile::tempdir().unwrap();
    registry.push(&make_layout(work.path()), "app:1", &[]);
    let image = registry.image("app:1");

    let scratch = Scratch::new();
    let error = scratch
        .store
        .pull(&image, &PullOptions::default(), quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("its certificate is not trusted"), "{error}");
    let ca = work.path().join("ca.pem");
    fs::write(&ca, "no certificate").unwrap();
    let with_ca = PullOptions {
        extra_ca: vec![ca.clone()],
        ..PullOptions::default()
    };
    let error = scratch
        .store
        .pull(&image, &with_ca, quiet)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("ca.pem"), "{error}");
    fs::write(&ca, authority.pem()).unwrap();
    scratch.store.pull(&image, &with_ca, quiet).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn corruption_in_the_registry() {
    if !ready() {
        return;
    }
    let registry = Registry::start(&Setup::default());
    let work = tempfile::tempdir().unwrap();
    registry.push(&make_layout(work.path()), "app:1", &["--format", "oci"]);
    let image = registry.image("app:1");
    let digest = registry.digest_of("app:1");
    let layer = manifest(&registry, &digest)["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let scratch = Scratch::new();
    for (blob, flip) in [(&layer, true), (&layer, false), (&digest, true)] {
        let file = registry.blob_file(blob);
        let whole = fs::read(&file).unwrap();
        let mut broken = whole.clone();
        let middle = broken.len() / 2;
        if flip {
            broken[middle] ^= 1;
        } else {
            broken.extend_from_slice(b"more");
        }
        fs::write(&file, broken).unwrap();
        let error = scratch
            .store
            .pull(&image, &PullOptions::default(), quiet)
            .await
            .unwrap_err();
        assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error:?}");
        assert!(error.to_string().contains("is corrupt: expected"), "{error}");
        assert!(!scratch.path(&format!("blobs/sha256/{}", &blob[7..])).exists());
        assert!(scratch.store.list().is_empty());
        scratch.assert_tidy();
        fs::write(&file, whole).unwrap();
    }
    scratch
        .store
        .pull(&image, &PullOptions::default(), quiet)
        .await
        .unwrap();
}

/// Eight pulls at once of one image come to one download of each blob.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pulls_share() {
    if !ready() {
        return;
    }
    let registry = Registry::start(&Setup::default());
    let work = tempfile::tempdir().unwrap();
    registry.push(&make_layout(work.path()), "app:1", &[]);
    let image = registry.image("app:1");
    let scratch = Scratch::new();
    let begun = Mutex::new(0);
    let options = PullOptions::default();
    let report = |report: Progress| {
        if matches!(report, Progress::Blob { done: 0, .. }) {
            *begun.lock().unwrap() += 1;
        }
    };
    let pulls = (0..8).map(|_| async {
        scratch.store.pull(&image, &options, report).await.unwrap();
        scratch.store.prepare(&image).await.unwrap().digest()
    });
    let digests = futures::future::join_all(pulls).await;
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(*begun.lock().unwrap(), 3, "downloads begun");
    assert_eq!((scratch.count("layers"), scratch.count("blobs/sha256")), (2, 4));
    scratch.assert_tidy();
}
