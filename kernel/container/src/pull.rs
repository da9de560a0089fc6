//! Pulls an image: what the name leads to, the one for this node, then the blobs that are not here yet.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::auth::Auth;
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::{ImageError, Result, blocking};
use crate::manifest::{Descriptor, Document, Manifest, OCI_MANIFEST, WASM_CONFIG, is_wasm_layer};
use crate::platform;
use crate::reference::Reference;
use crate::registry::{Backoff, Failure, Registry};
use crate::store::{BlobWriter, Image, Store};

/// Slower than this is given up. Bytes a second.
const SLOWEST: u64 = 16 << 10;

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Credentials.
    pub auth: Auth,
    /// PEM files of authorities that are trusted besides the system's.
    pub extra_ca: Vec<PathBuf>,
    /// Registries, `host:port`, that are spoken to without TLS. One on the loopback is, if it answers so.
    pub plain_http: Vec<String>,
    /// Blobs at a time.
    pub parallel: usize,
    /// The largest blob that is accepted. Bytes.
    pub max_blob: u64,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            auth: Auth::Anonymous,
            extra_ca: Vec::new(),
            plain_http: Vec::new(),
            parallel: 3,
            max_blob: 32 << 30,
        }
    }
}

/// How far a pull is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The registry is asked what the name leads to.
    Resolving,
    /// A blob is under way, or complete: then the bytes done are the total.
    Blob {
        /// Which.
        digest: Digest,
        /// Bytes that are here.
        done: u64,
        /// Bytes there are.
        total: u64,
    },
    /// The image is here.
    Done {
        /// What the name led to.
        digest: Digest,
    },
}

type Report<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl Store {
    /// Pulls an image and gives it its name; blobs that are here are not fetched again, and one that another pull is
    /// fetching is waited for. The name is asked of the registry each time: whether to pull at all is the caller's
    /// choice, with [`Store::resolve`]. Dropping the future stops it and leaves nothing behind.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Unauthorized`], [`ImageError::DigestMismatch`],
    /// [`ImageError::WrongPlatform`], [`ImageError::Unreachable`], [`ImageError::Malformed`], [`ImageError::NoSpace`].
    pub async fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Image> {
        let report: Report<'_> = &progress;
        report(Progress::Resolving);
        let registry = Registry::connect(reference, options).await?;
        let wanted = reference.digest().map(|digest| digest.to_string());
        let wanted = wanted.as_deref().or(reference.tag()).unwrap_or("latest");
        let (mut bytes, top) = document(&registry, wanted).await?;
        let mut digest = top;
        let what = format!("manifest of {}", reference.familiar());
        let manifest = match Document::parse(&bytes, &what)? {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                let chosen = platform::select(&index, reference)?;
                (bytes, digest) = document(&registry, &chosen.digest.to_string()).await?;
                Manifest::parse(&bytes, &what)?
            }
        };
        let mut lease = self.lease();
        lease.add(digest);
        for blob in manifest.blobs() {
            if blob.size > options.max_blob {
                let limit = format!("{} bytes", options.max_blob);
                return Err(ImageError::too_large(
                    format!("blob {} of {}", blob.digest, reference.familiar()),
                    limit,
                ));
            }
            lease.add(blob.digest);
        }
        self.fetch(&registry, &manifest.config, report).await?;
        self.check_platform(reference, &manifest).await?;
        // Boxed, or the compiler cannot see that the whole may move between threads.
        let fetches: Vec<_> = manifest
            .layers
            .iter()
            .map(|layer| self.fetch(&registry, layer, report).boxed())
            .collect();
        stream::iter(fetches)
            .buffer_unordered(options.parallel.max(1))
            .try_collect::<()>()
            .await?;
        let descriptor = Descriptor::new(OCI_MANIFEST, digest, bytes.len() as u64);
        let (store, name) = (self.clone(), reference.clone());
        let image = blocking(move || {
            store.inner.blobs.put(&bytes)?;
            store.adopt(&name, top, &descriptor)
        });
        let image = image.await?;
        drop(lease);
        report(Progress::Done { digest: top });
        Ok(image)
    }

    /// Before gigabytes of layers are fetched that do not run here.
    async fn check_platform(&self, reference: &Reference, manifest: &Manifest) -> Result<()> {
        let is_wasm = manifest.layers.iter().any(|layer| is_wasm_layer(&layer.media_type));
        if is_wasm || manifest.config.media_type == WASM_CONFIG {
            return Ok(());
        }
        let (blobs, digest) = (self.inner.blobs.clone(), manifest.config.digest);
        let what = format!("config of {}", reference.familiar());
        let platform = blocking(move || Ok(ConfigFile::parse(&blobs.document(&digest)?, &what)?.platform())).await?;
        if platform.runs_here() {
            Ok(())
        } else {
            Err(platform::wrong(reference, platform.to_string()))
        }
    }

    /// Makes sure that a blob is here.
    async fn fetch(&self, registry: &Registry, blob: &Descriptor, report: Report<'_>) -> Result<()> {
        let done = |done| {
            report(Progress::Blob {
                digest: blob.digest,
                done,
                total: blob.size,
            })
        };
        let _flight = self.inner.flights.enter(blob.digest).await;
        if !self.inner.blobs.has(blob) {
            done(0);
            let mut writer = Some(self.inner.blobs.writer()?);
            let mut backoff = Backoff::new();
            // Each try goes on where the one before it broke off, if the registry can.
            let deadline = Instant::now() + Duration::from_secs(60 + blob.size / SLOWEST);
            let writer = loop {
                let attempt = Attempt {
                    registry,
                    blob,
                    done: &done,
                    deadline,
                };
                let before = writer.as_ref().map_or(0, BlobWriter::written);
                match attempt.run(&mut writer).await {
                    Ok(writer) => break writer,
                    Err(failure) => {
                        if writer.as_ref().is_some_and(|writer| writer.written() > before) {
                            backoff.reset();
                        }
                        backoff.pause(failure).await?;
                    }
                }
            };
            let blob = blob.clone();
            let what = format!("blob {} in registry {}", blob.digest, registry.name());
            blocking(move || writer.commit_as(&blob, &what)).await?;
        }
        done(blob.size);
        Ok(())
    }
}

async fn document(registry: &Registry, of: &str) -> Result<(Vec<u8>, Digest)> {
    let mut backoff = Backoff::new();
    loop {
        match registry.document(of).await {
            Ok(found) => return Ok(found),
            Err(failure) => backoff.pause(failure).await?,
        }
    }
}

/// One try at a blob.
struct Attempt<'a, F> {
    registry: &'a Registry,
    blob: &'a Descriptor,
    done: &'a F,
    deadline: Instant,
}

impl<F: Fn(u64)> Attempt<'_, F> {
    /// Gives the writer when the blob is complete; leaves it with what came when it is not.
    async fn run(&self, writer: &mut Option<BlobWriter>) -> Result<BlobWriter, Failure> {
        let offset = writer.as_ref().map_or(0, BlobWriter::written);
        let late = || self.registry.unreachable("it sends too slowly");
        let answer = timeout_at(self.deadline, self.registry.blob(self.blob, offset)).await;
        let (mut response, begins) = answer.map_err(|_| late())??;
        let Some(mut taken) = writer.take() else {
            return Err(ImageError::malformed("download", "an earlier write failed").into());
        };
        if begins != offset {
            taken.restart()?;
        }
        let mut seen = begins;
        let (chunks, pump) = Pump::start(taken);
        let broken = loop {
            let chunk = match timeout_at(self.deadline, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => break None,
                Ok(Err(error)) => break Some(self.registry.interrupted(&error)),
                Err(_) => break Some(late().into()),
            };
            seen += chunk.len() as u64;
            if seen > self.blob.size {
                break Some(self.longer().into());
            }
            if chunks.send(chunk).await.is_err() {
                // The pump stopped; why, it says itself.
                break None;
            }
            // Complete is only what was checked, too.
            if seen < self.blob.size {
                (self.done)(seen);
            }
        };
        drop(chunks);
        let written = pump.finish().await?;
        match broken {
            None if seen < self.blob.size => {
                *writer = Some(written);
                Err(self
                    .registry
                    .unreachable("it broke off in the middle of a blob")
                    .transient())
            }
            None => Ok(written),
            Some(_) if seen == self.blob.size => Ok(written),
            Some(failure) => {
                *writer = Some(written);
                Err(failure)
            }
        }
    }

    fn longer(&self) -> ImageError {
        ImageError::DigestMismatch {
            what: format!("blob {} in registry {}", self.blob.digest, self.registry.name()),
            expected: format!("{} bytes", self.blob.size),
            actual: "more".to_owned(),
        }
    }
}

/// Writes and hashes on a thread that may block.
struct Pump(JoinHandle<Result<BlobWriter>>);

impl Pump {
    fn start(mut writer: BlobWriter) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, mut chunks) = mpsc::channel::<Bytes>(32);
        let pump = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = chunks.blocking_recv() {
                writer.append(&chunk)?;
            }
            Ok(writer)
        });
        (sender, Self(pump))
    }

    async fn finish(self) -> Result<BlobWriter> {
        self.0
            .await
            .unwrap_or_else(|failure| Err(ImageError::malformed("download did not finish", failure)))
    }
}
