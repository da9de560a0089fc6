//! Images for containers: whether to pull, with which credentials, and what runs from which.
use crate::{agent::wasm, config::AgentConfig, reconcile};
use parking_lot::Mutex;
use sampan_container::{Auth, Digest, Image, ImageError, Kind, Prepared, Progress, PullOptions, Reference, Store};
use sampan_sandbox::{Compiler, workload};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

/// The node's images. Cloning shares them.
#[derive(Clone)]
pub struct Images {
    pub store: Store,
    options: Arc<PullOptions>,
    /// Where compiled Wasm is kept.
    cache: PathBuf,
    compiler: Compiler,
    /// The manifests that were unpacked or compiled.
    ready: Arc<Mutex<HashSet<Digest>>>,
    rootless: bool,
    /// The manifests that pods run from, by the pods' uids.
    used: Arc<Mutex<HashMap<String, HashSet<Digest>>>>,
}

/// An image that is here, and what it took to bring it here: milliseconds and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    pub image: reconcile::Image,
    pub pulled: Option<(u64, u64)>,
    /// Something the user should know although it went well.
    pub warning: Option<String>,
}

/// Why an image cannot be had: Kubernetes' reason, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub reason: &'static str,
    pub message: String,
}

impl Images {
    /// Over a store, pulling as the agent is configured to.
    pub fn new(store: Store, config: &AgentConfig) -> Self {
        let options = PullOptions {
            auth: config.registry_auth.clone().map_or(Auth::Anonymous, Auth::ConfigFile),
            extra_ca: config.registry_ca.clone(),
            plain_http: config.insecure_registries.clone(),
            ..PullOptions::default()
        };
        Images {
            store,
            options: Arc::new(options),
            cache: config.cache.clone(),
            compiler: config.compiler.clone(),
            ready: Arc::default(),
            rootless: config.rootless,
            used: Arc::default(),
        }
    }

    /// Sees to it that an image is here. With the policy `Always` the registry is asked; where it cannot be reached and
    /// the image is here, that one is taken, with a warning: a node that is cut off, or an image that was only ever
    /// loaded, must not keep a pod from running. `auths` are tried before the node's own credentials. `pulling` is
    /// called when a registry is asked.
    ///
    /// # Errors
    /// With the reason to show.
    pub async fn ensure(
        &self,
        name: &str,
        policy: &str,
        auths: Vec<Auth>,
        pulling: impl FnOnce() + Send,
    ) -> Result<Ensured, Missing> {
        let reference: Reference = name.parse().map_err(|error: ImageError| Missing {
            reason: "InvalidImageName",
            message: error.to_string(),
        })?;
        let ensured = self.ensure_present(name, &reference, policy, auths, pulling).await?;
        let ready = self.make_ready(&reference).await;
        ready.map_err(|error| Missing {
            reason: "ErrImagePull",
            message: error.to_string(),
        })?;
        Ok(ensured)
    }

    async fn ensure_present(
        &self,
        name: &str,
        reference: &Reference,
        policy: &str,
        auths: Vec<Auth>,
        pulling: impl FnOnce() + Send,
    ) -> Result<Ensured, Missing> {
        let present = self.store.resolve(reference);
        match (policy, &present) {
            ("Never", None) => {
                let message = format!("Container image \"{name}\" is not present with pull policy of Never");
                return Err(Missing {
                    reason: "ErrImageNeverPull",
                    message,
                });
            }
            ("Never" | "IfNotPresent", Some(image)) => return Ok(ensured(reference, image, None)),
            _ => pulling(),
        }
        let begun = Instant::now();
        match (self.pull(reference, auths).await, &present) {
            (Ok(image), _) => {
                let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                Ok(ensured(reference, &image, Some((millis, image.size))))
            }
            (Err(error @ ImageError::Unreachable { .. }), Some(image)) => {
                let warning = format!("{error}; the image that is here is used although its pull policy is Always");
                Ok(Ensured {
                    warning: Some(warning),
                    ..ensured(reference, image, None)
                })
            }
            (Err(error), _) => Err(Missing {
                reason: "ErrImagePull",
                message: error.to_string(),
            }),
        }
    }

    /// With each of the credentials in turn, then the node's own.
    async fn pull(&self, reference: &Reference, auths: Vec<Auth>) -> Result<Image, ImageError> {
        let mut refused = None;
        for auth in auths {
            let options = PullOptions {
                auth,
                ..(*self.options).clone()
            };
            match self.store.pull(reference, &options, |_| {}).await {
                Err(error @ (ImageError::Unauthorized { .. } | ImageError::NotFound { .. })) => refused = Some(error),
                result => return result,
            }
        }
        match self.store.pull(reference, &self.options, |_| {}).await {
            Err(error @ ImageError::Unauthorized { .. }) => Err(refused.unwrap_or(error)),
            result => result,
        }
    }

    /// Pulls for a user who asked for it; `progress` hears how far it is.
    ///
    /// # Errors
    /// As the store's.
    pub async fn pull_for(
        &self,
        reference: &Reference,
        auth: Option<Auth>,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Image, ImageError> {
        let mut options = (*self.options).clone();
        if let Some(auth) = auth {
            options.auth = auth;
        }
        self.store.pull(reference, &options, progress).await
    }

    /// How an image runs; none where it is not here.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        Some(self.store.resolve(&name.parse().ok()?)?.kind)
    }

    /// Unpacks or compiles a present image now, rather than when a pod waits for it.
    ///
    /// # Errors
    /// As the store's.
    pub async fn make_ready(&self, reference: &Reference) -> Result<(), ImageError> {
        let present = self.store.resolve(reference);
        if let Some(image) = &present
            && (self.ready.lock().contains(&image.manifest) || (image.kind == Kind::Container && self.rootless))
        {
            // Unpacking needs root. That containers do too is said when one is started.
            return Ok(());
        }
        let prepared = self.store.prepare(reference).await?;
        let manifest = prepared.digest();
        if let Prepared::Wasm { module_path, lease, .. } = prepared {
            self.compile(module_path).await;
            drop(lease);
        }
        self.ready.lock().insert(manifest);
        Ok(())
    }

    /// What cannot be compiled is said by the run that fails of it.
    async fn compile(&self, module: PathBuf) {
        let (compiler, cache) = (self.compiler.clone(), self.cache.clone());
        let work = move || workload::precompile(&compiler, &module, wasm::digest_of(&module).as_deref(), &cache);
        match tokio::task::spawn_blocking(work).await {
            Ok(Err(error)) => tracing::debug!(%error, "a Wasm module was not compiled ahead"),
            Err(error) => tracing::debug!(%error, "a Wasm module was not compiled ahead"),
            Ok(Ok(_)) => {}
        }
    }

    /// Makes an image ready to run in a pod, and notes that the pod uses it.
    ///
    /// # Errors
    /// As the store's.
    pub async fn prepare(&self, name: &str, uid: &str) -> Result<Prepared, ImageError> {
        let prepared = self.store.prepare(&name.parse()?).await?;
        self.used
            .lock()
            .entry(uid.to_owned())
            .or_default()
            .insert(prepared.digest());
        Ok(prepared)
    }

    /// Notes what a pod that outlived the agent runs from.
    pub fn keep(&self, uid: &str, manifests: impl IntoIterator<Item = Digest>) {
        self.used.lock().entry(uid.to_owned()).or_default().extend(manifests);
    }

    /// What a pod runs from.
    pub fn used_by(&self, uid: &str) -> Vec<Digest> {
        self.used.lock().get(uid).into_iter().flatten().copied().collect()
    }

    /// The pod is gone.
    pub fn release(&self, uid: &str) {
        self.used.lock().remove(uid);
    }

    /// Every manifest that a pod uses.
    pub fn used(&self) -> HashSet<Digest> {
        self.used.lock().values().flatten().copied().collect()
    }
}

fn ensured(reference: &Reference, image: &Image, pulled: Option<(u64, u64)>) -> Ensured {
    let id = format!("{}@{}", reference.name(), image.digest);
    Ensured {
        image: reconcile::Image {
            name: reference.familiar(),
            id,
        },
        pulled,
        warning: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> (tempfile::TempDir, Images) {
        let dir = tempfile::tempdir().unwrap();
        let config = AgentConfig::new(dir.path().to_owned(), "n1", "https://127.0.0.1:1");
        let images = Images::new(Store::open(dir.path().join("images")).unwrap(), &config);
        (dir, images)
    }

    #[tokio::test]
    async fn an_image_that_is_here_does_where_no_registry_answers() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (dir, images) = images();
        let path = dir.path().join("empty.wasm");
        std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
        let name = "localhost:1/hello:latest";
        let source = sampan_container::BuildSource::Wasm { path };
        images.store.build(&name.parse().unwrap(), source).await.unwrap();
        let present = images
            .ensure(name, "IfNotPresent", Vec::new(), || panic!("nothing is pulled"))
            .await
            .unwrap();
        assert_eq!((present.warning, present.pulled), (None, None));
        let asked = std::sync::atomic::AtomicBool::new(false);
        let pulling = || asked.store(true, std::sync::atomic::Ordering::Relaxed);
        let kept = images.ensure(name, "Always", Vec::new(), pulling).await.unwrap();
        assert!(kept.warning.unwrap().contains("cannot reach registry localhost:1"));
        assert!(asked.into_inner());
        let missing = images
            .ensure("localhost:1/none:1", "Always", Vec::new(), || {})
            .await
            .unwrap_err();
        assert_eq!(missing.reason, "ErrImagePull");
    }

    #[tokio::test]
    async fn what_cannot_be_had_says_why() {
        let (_dir, images) = images();
        let never = images
            .ensure("web:1", "Never", Vec::new(), || panic!("nothing is pulled"))
            .await
            .unwrap_err();
        assert_eq!(never.reason, "ErrImageNeverPull");
        let invalid = images.ensure("Web:1", "Always", Vec::new(), || {}).await.unwrap_err();
        assert_eq!(invalid.reason, "InvalidImageName");
        assert!(invalid.message.contains("lower case"));
    }
}
