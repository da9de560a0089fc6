//! The images of a node: blobs by digest, layers unpacked once and shared, and names for them.
//!
//! ```text
//! <dir>/lock                     held while a process has the store
//! <dir>/index.json               names -> manifests; replaced whole
//! <dir>/blobs/sha256/<digest>    manifests, configs, compressed layers, Wasm modules
//! <dir>/layers/<chain id>/       overlay lowers; a chain id names a layer and all below it
//! <dir>/modules/<manifest>.wasm  modules taken out of layers
//! <dir>/tmp/                     what is not finished; swept at open
//! ```

mod blobs;
mod flights;
mod lease;
mod names;
mod sweep;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{ImageError, Result, blocking};
use crate::inspect::{Content, Inspected};
use crate::manifest::Descriptor;
use crate::platform;
use crate::reference::Reference;

pub(crate) use blobs::{BlobWriter, Blobs};
use flights::Flights;
pub use lease::Lease;
use names::Names;
pub use sweep::Removed;

/// How an image runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A root filesystem for processes.
    Container,
    /// A module or component.
    Wasm,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Wasm => "wasm",
        })
    }
}

/// An image that is present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The whole name, as [`Reference`] prints it.
    pub name: String,
    /// What the name led to: the manifest, or the index that it was chosen from.
    pub digest: Digest,
    /// The manifest of the image for this node.
    pub manifest: Digest,
    /// Bytes of manifest, config and compressed layers.
    pub size: u64,
    /// When it was built, RFC 3339, if it says so.
    pub created: Option<String>,
    /// `linux/amd64`, `wasip2/wasm`.
    pub platform: String,
    /// How it runs.
    pub kind: Kind,
}

/// The image store. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) blobs: Blobs,
    pub(crate) flights: Flights,
    names: Mutex<Names>,
    /// What is being pulled, loaded, built or run, by digest and how often. Locked after `names`.
    pins: Mutex<HashMap<Digest, usize>>,
    /// The file lock goes with the store.
    _lock: File,
}

impl Store {
    /// Opens the store at `dir`, made with mode 0700 if it is not there, and sweeps what a killed process left behind.
    /// Blocks.
    ///
    /// # Errors
    /// [`ImageError::Busy`] if another process has it, [`ImageError::Malformed`] if its index is damaged.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let root = dir.as_ref().to_owned();
        make_private_dir(&root)?;
        fs::set_permissions(&root, Permissions::from_mode(0o700))
            .map_err(|error| ImageError::io("making private", &root, error))?;
        let lock = lock(&root)?;
        for name in ["tmp", "layers", "modules"] {
            make_private_dir(&root.join(name))?;
        }
        let blobs = Blobs::open(&root)?;
        let names = Names::read(root.join("index.json"), root.join("tmp"))?;
        let inner = Inner {
            blobs,
            flights: Flights::default(),
            names: Mutex::new(names),
            pins: Mutex::default(),
            _lock: lock,
            root,
        };
        let store = Self { inner: Arc::new(inner) };
        store.inner.sweep_unfinished()?;
        Ok(store)
    }

    /// The image of this name, if it is present. A name with a digest finds whatever of its repository has that digest.
    pub fn resolve(&self, reference: &Reference) -> Option<Image> {
        self.inner.names.lock().find(reference).cloned()
    }

    /// Every name with its image, sorted by name.
    pub fn list(&self) -> Vec<Image> {
        self.inner.names.lock().all().cloned().collect()
    }

    /// Forgets the name, and frees what no other name and none of the manifests in `used` needs. A name whose manifest
    /// is in `used` goes only while another name keeps it.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::InUse`].
    pub async fn remove(&self, reference: &Reference, used: &HashSet<Digest>) -> Result<Removed> {
        let (inner, reference, used) = (self.inner.clone(), reference.clone(), used.clone());
        blocking(move || inner.remove(&reference, &used)).await
    }

    /// Frees what neither a name nor any of the manifests in `used` needs: what a retagged image leaves behind, or an
    /// interrupted pull.
    pub async fn collect(&self, used: &HashSet<Digest>) -> Result<Removed> {
        let (inner, used) = (self.inner.clone(), used.clone());
        blocking(move || inner.collect(&used)).await
    }

    /// Keeps these from being collected while the lease lives.
    pub(crate) fn lease(&self) -> Lease {
        Lease::new(self.inner.clone())
    }

    /// Gives a manifest whose blobs are all here a name. Blocks.
    pub(crate) fn adopt(&self, reference: &Reference, top: Digest, manifest: &Descriptor) -> Result<Image> {
        let inspected = Inspected::read(&self.inner.blobs, &manifest.digest)?;
        if !inspected.platform.runs_here() {
            return Err(platform::wrong(reference, inspected.platform.to_string()));
        }
        for blob in inspected.manifest.blobs() {
            self.inner.blobs.check_present(blob)?;
        }
        let size = manifest.size + inspected.manifest.blobs().map(|blob| blob.size).sum::<u64>();
        let image = Image {
            name: reference.to_string(),
            digest: top,
            manifest: manifest.digest,
            size,
            created: inspected.created,
            platform: inspected.platform.to_string(),
            kind: match inspected.content {
                Content::Container { .. } => Kind::Container,
                Content::Wasm { .. } => Kind::Wasm,
            },
        };
        self.inner.names.lock().put(image.clone())?;
        Ok(image)
    }
}

impl Inner {
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn layer_path(&self, chain_id: &Digest) -> PathBuf {
        self.root.join("layers").join(chain_id.hex())
    }

    pub(crate) fn module_path(&self, manifest: &Digest) -> PathBuf {
        self.root.join("modules").join(format!("{}.wasm", manifest.hex()))
    }
}

fn make_private_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|error| ImageError::io("creating", path, error))
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(|error| ImageError::io("opening", &path, error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ImageError::Busy { path: root.to_owned() }),
        Err(error) => Err(ImageError::io("locking", &path, error)),
    }
}

/// Makes a rename in this directory survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(|error| ImageError::io("syncing", path, error))
}
