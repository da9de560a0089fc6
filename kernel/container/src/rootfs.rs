//! The last step before a workload starts: every layer unpacked, once, and the lowers of its overlay in order.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{ImageError, Result, blocking};
use crate::inspect::{Content, Inspected, Layer, Module, each_item};
use crate::reference::Reference;
use crate::store::{Inner, Lease, Store, sync_dir};
use crate::unpack::{Item, UnpackLimits, is_opaque_layer, unpack_layer};

/// A module above this is refused. Bytes.
const MAX_MODULE: u64 = 1 << 30;

/// An image that is ready to run.
#[derive(Debug)]
pub enum Prepared {
    /// A root filesystem for processes.
    Container {
        /// The image's defaults.
        config: Box<ImageConfig>,
        /// Overlay lowers, topmost first; at least one.
        lowers: Vec<PathBuf>,
        /// The manifest: what to name as used when images are removed.
        digest: Digest,
        /// Keep it until the digest is among the used ones.
        lease: Lease,
    },
    /// A module or component.
    Wasm {
        /// The file.
        module_path: PathBuf,
        /// The manifest: what to name as used when images are removed.
        digest: Digest,
        /// Keep it until the digest is among the used ones.
        lease: Lease,
    },
}

impl Prepared {
    /// The manifest.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Container { digest, .. } | Self::Wasm { digest, .. } => *digest,
        }
    }
}

impl Store {
    /// Makes a present image ready to run: unpacks the layers that are not yet. Needs root for a container image that
    /// is not unpacked.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] if it is not present, [`ImageError::DigestMismatch`] if a layer is not what its config
    /// says, and those of [`crate::unpack_layer`].
    pub async fn prepare(&self, reference: &Reference) -> Result<Prepared> {
        let Some(image) = self.resolve(reference) else {
            return Err(ImageError::NotFound {
                image: reference.familiar(),
                place: "on this node".to_owned(),
            });
        };
        let digest = image.manifest;
        let mut lease = self.lease();
        lease.add(digest);
        let inner = self.inner.clone();
        let inspected = blocking(move || Inspected::read(&inner.blobs, &digest)).await?;
        match inspected.content {
            Content::Container { config, layers } => {
                if layers.is_empty() {
                    return Err(ImageError::malformed(
                        format!("image {}", reference.familiar()),
                        "it has no layers",
                    ));
                }
                for layer in &layers {
                    lease.add(layer.chain_id);
                }
                let lowers = self.unpack_all(&layers).await?;
                Ok(Prepared::Container {
                    config,
                    lowers,
                    digest,
                    lease,
                })
            }
            Content::Wasm(module) => {
                let module_path = self.module(*module, digest, &mut lease).await?;
                Ok(Prepared::Wasm {
                    module_path,
                    digest,
                    lease,
                })
            }
        }
    }

    /// The file of a module, taken out of its layer if it is in one.
    async fn module(&self, module: Module, manifest: Digest, lease: &mut Lease) -> Result<PathBuf> {
        let inner = self.inner.clone();
        match module {
            Module::Blob(layer) => {
                lease.add(layer.digest);
                inner.blobs.check_present(&layer)?;
                Ok(inner.blobs.path(&layer.digest))
            }
            Module::Packed { layer, path } => {
                let module_path = inner.module_path(&manifest);
                let _flight = self.inner.flights.enter(manifest).await;
                if !module_path.is_file() {
                    let target = module_path.clone();
                    blocking(move || extract_module(&inner, &layer, &path, &target)).await?;
                }
                Ok(module_path)
            }
        }
    }

    /// Gives the lowers topmost first.
    async fn unpack_all(&self, layers: &[Layer]) -> Result<Vec<PathBuf>> {
        let mut lowers: Vec<PathBuf> = Vec::with_capacity(layers.len());
        for layer in layers {
            let path = self.inner.layer_path(&layer.chain_id);
            if !path.is_dir() {
                let _flight = self.inner.flights.enter(layer.chain_id).await;
                let (inner, layer, below) = (self.inner.clone(), layer.clone(), lowers.clone());
                blocking(move || unpack_once(&inner, &layer, &below)).await?;
            }
            lowers.insert(0, path);
        }
        // Overlay does not look at the mark on a layer's root; leaving out what is below says the same.
        if let Some(opaque) = lowers.iter().position(|lower| is_opaque_layer(lower)) {
            lowers.truncate(opaque + 1);
        }
        Ok(lowers)
    }
}

fn unpack_once(inner: &Arc<Inner>, layer: &Layer, below: &[PathBuf]) -> Result<()> {
    let path = inner.layer_path(&layer.chain_id);
    if path.is_dir() {
        return Ok(());
    }
    let aside = tempfile::Builder::new().prefix("layer-").tempdir_in(inner.tmp());
    let aside = aside.map_err(|error| ImageError::io("creating a directory in", inner.tmp(), error))?;
    let target = aside.path().join("it");
    fs::create_dir(&target).map_err(|error| ImageError::io("creating", &target, error))?;
    let what = format!("layer {}", layer.blob.digest);
    let source = inner.blobs.open_blob(&layer.blob.digest)?;
    let diff_id = unpack_layer(source, &target, below, &UnpackLimits::default(), &what)?;
    check_diff_id(layer, diff_id)?;
    fs::rename(&target, &path).map_err(|error| ImageError::io("placing", &path, error))?;
    sync_dir(path.parent().unwrap_or(&path))
}

fn check_diff_id(layer: &Layer, diff_id: Digest) -> Result<()> {
    if diff_id == layer.diff_id {
        return Ok(());
    }
    Err(ImageError::DigestMismatch {
        what: format!("the content of layer {}", layer.blob.digest),
        expected: layer.diff_id.to_string(),
        actual: diff_id.to_string(),
    })
}

fn extract_module(inner: &Arc<Inner>, layer: &Layer, path: &[u8], module_path: &Path) -> Result<()> {
    let failed = |error| ImageError::io("writing", module_path, error);
    let mut file = tempfile::Builder::new()
        .prefix("module-")
        .tempfile_in(inner.tmp())
        .map_err(failed)?;
    let mut found = false;
    let diff_id = each_item(&inner.blobs, layer, &mut |name, item| {
        if let Item::File(content) = item
            && name == path
            && !found
        {
            found = true;
            let size = std::io::copy(&mut content.take(MAX_MODULE + 1), file.as_file_mut()).map_err(failed)?;
            if size > MAX_MODULE {
                return Err(ImageError::too_large(String::from_utf8_lossy(name), "1 GiB"));
            }
        }
        Ok(true)
    })?;
    if let Some(diff_id) = diff_id {
        check_diff_id(layer, diff_id)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(module_path).map_err(|error| failed(error.error))?;
    sync_dir(module_path.parent().unwrap_or(module_path))
}
