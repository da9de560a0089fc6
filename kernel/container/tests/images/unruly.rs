//! Registries that fail, stall, ask for tokens or mean harm.

use std::sync::Arc;
use std::sync::Mutex;

use sampan_container::{Auth, Digest, ImageError, Kind, PullOptions};

use crate::fake::{Reply, Request, Server};
use crate::support::{Scratch, name, options, quiet};

/// A Wasm artifact, small enough to answer with.
struct Artifact {
    module: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Artifact {
    fn new() -> Self {
        let module = [b"\0asm\x0d\0\x01\0".to_vec(), vec![0; 40_000]].concat();
        let config = br#"{"architecture":"wasm","os":"wasip2","layerDigests":[]}"#.to_vec();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"{}","size":{}}},
            "layers":[{{"mediaType":"application/wasm","digest":"{}","size":{}}}]}}"#,
            Digest::of(&config),
            config.len(),
            Digest::of(&module),
            module.len()
        );
        Self {
            module,
            config,
            manifest: manifest.into_bytes(),
        }
    }

    fn answer(&self, request: &Request) -> Reply {
        let is = |bytes: &[u8]| request.path.ends_with(&Digest::of(bytes).to_string());
        if request.path.contains("/manifests/") {
            return Reply::new("200 OK", self.manifest.clone());
        }
        if is(&self.config) {
            return Reply::new("200 OK", self.config.clone());
        }
        if is(&self.module) {
            return Reply::new("200 OK", self.module.clone());
        }
        Reply::new("200 OK", "{}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_again_and_resumes() {
    let artifact = Arc::new(Artifact::new());
    let served = artifact.clone();
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let asked = ranges.clone();
    let server = Server::start(move |request| {
        // The first of everything fails, and the module comes in two pieces.
        let is_module = request.path.ends_with(&Digest::of(&served.module).to_string());
        if request.path.contains("/manifests/") && request.number < 3 {
            return Reply::new("503 Service Unavailable", "").with("Retry-After", "0");
        }
        if !is_module {
            return served.answer(request);
        }
        let range = request.header("range").map(str::to_owned);
        asked.lock().unwrap().push(range.clone());
        match range
            .as_deref()
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'))
        {
            Some(start) => Reply::new("206 Partial Content", &served.module[start.parse::<usize>().unwrap()..]),
            None => {
                let mut reply = Reply::new("200 OK", &served.module[..30_000]);
                reply.claims = Some(served.module.len());
                reply
            }
        }
    });
    let scratch = Scratch::new();
    let reference = name(&format!("{}/wasm/app:1", server.address));
    let image = scratch
        .store
        .pull(&reference, &PullOptions::default(), quiet)
        .await
        .unwrap();
    assert_eq!((image.kind, image.platform.as_str()), (Kind::Wasm, "wasip2/wasm"));
    let ranges = ranges.lock().unwrap();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert_eq!(
        (ranges[0].as_deref(), ranges[1].as_deref()),
        (None, Some("bytes=30000-"))
    );
    scratch.assert_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens() {
    let artifact = Artifact::new();
    let server = Server::start(move |request| {
        if request.path.starts_with("/token") {
            let known = request.header("authorization") == Some("Basic dXNlcjpzZWNyZXQ=");
            let scoped =
                request.path.contains("service=here") && request.path.contains("repository%3Awasm%2Fapp%3Apull");
            return match known && scoped {
                true => Reply::new("200 OK", r#"{"token":"good","expires_in":60}"#),
                false => Reply::new(
                    "401 Unauthorized",
                    r#"{"errors":[{"code":"DENIED","message":"who are you"}]}"#,
                ),
            };
        }
        if request.path == "/v2/" || request.header("authorization") == Some("Bearer good") {
            return artifact.answer(request);
        }
        let realm = format!(
            r#"Bearer realm="http://{}/token",service="here""#,
            request.header("host").unwrap()
        );
        Reply::new("401 Unauthorized", "").with("WWW-Authenticate", realm)
    });
    let scratch = Scratch::new();
    let reference = name(&format!("{}/wasm/app:1", server.address));
    let error = scratch
        .store
        .pull(&reference, &PullOptions::default(), quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::Unauthorized { .. }), "{error:?}");
    assert!(error.to_string().contains("who are you"), "{error}");
    let auth = Auth::Entry("dXNlcjpzZWNyZXQ=".to_owned());
    scratch.store.pull(&reference, &options(auth), quiet).await.unwrap();
}

async fn refused(answer: impl Fn(&Request) -> Reply + Send + 'static) -> ImageError {
    let server = Server::start(answer);
    let scratch = Scratch::new();
    let reference = name(&format!("{}/wasm/app:1", server.address));
    let error = scratch
        .store
        .pull(&reference, &PullOptions::default(), quiet)
        .await
        .unwrap_err();
    scratch.assert_tidy();
    assert!(scratch.store.list().is_empty());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_while_they_come() {
    let endless = |request: &Request, part: &str, artifact: &Artifact| {
        let mut reply = artifact.answer(request);
        if request.path.contains(part) {
            reply.endless = true;
        }
        reply
    };
    let artifact = Artifact::new();
    let error = refused(move |request| endless(request, "/manifests/", &artifact)).await;
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error:?}");
    let artifact = Artifact::new();
    let error = refused(move |request| endless(request, "/blobs/", &artifact)).await;
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_an_error() {
    let error = refused(|_| Reply::new("200 OK", "<html>")).await;
    assert!(matches!(error, ImageError::Malformed { .. }), "{error:?}");
    let error = refused(|_| Reply::new("500 Internal Server Error", "")).await;
    assert!(error.to_string().contains("it answered 500"), "{error}");
    // A token that would smuggle a header, and a token service without TLS are no way in.
    let error = refused(|request| match request.path.starts_with("/token") {
        true => Reply::new("200 OK", "{\"token\":\"a\\r\\nX-Evil: 1\"}"),
        false if request.path == "/v2/" => Reply::new("200 OK", "{}"),
        false => {
            let realm = format!(r#"Bearer realm="http://{}/token""#, request.header("host").unwrap());
            Reply::new("401 Unauthorized", "").with("WWW-Authenticate", realm)
        }
    });
    let error = error.await;
    assert!(error.to_string().contains("its token is not text"), "{error}");
    let artifact = Artifact::new();
    let error = refused(move |request| match request.path.contains("/manifests/") {
        true => artifact
            .answer(request)
            .with("Docker-Content-Digest", Digest::of(b"other").to_string()),
        false => artifact.answer(request),
    });
    let error = error.await;
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error:?}");
}
