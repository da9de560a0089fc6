//! Loads images from archives: OCI layouts and what `docker save` writes, as a tar (gzip or zstd if need be) or, for a
//! layout, a directory. Nothing in an archive is believed but its digests.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::{ImageError, Result, blocking};
use crate::manifest::{
    Descriptor, Document, Index, MAX_DOCUMENT, Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP,
    OCI_MANIFEST, null_is_empty,
};
use crate::platform;
use crate::reference::Reference;
use crate::store::{Image, Lease, Store};
use crate::unpack::{self, Item};

/// What containerd calls the image of a layout.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// A tag, or a whole name, depending on who wrote it.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Links are followed so often at most.
const MAX_LINKS: usize = 8;

impl Store {
    /// Loads every image of an archive, or of an OCI layout directory. `name` is for an archive that has one image, and
    /// goes before the name that it has there; an archive without names is called by its file name.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] if it is neither kind of archive, [`ImageError::DigestMismatch`] for corrupt content,
    /// [`ImageError::WrongPlatform`].
    pub async fn load(&self, archive: impl AsRef<Path>, name: Option<&Reference>) -> Result<Vec<Image>> {
        let (store, path, name) = (self.clone(), archive.as_ref().to_owned(), name.cloned());
        blocking(move || {
            let mut load = Load::new(store, path);
            load.gather()?;
            load.adopt_all(name)
        })
        .await
    }
}

/// One archive on its way into the store.
struct Load {
    store: Store,
    path: PathBuf,
    what: String,
    lease: Lease,
    /// Files by path, stored as blobs of their own digests.
    files: HashMap<Vec<u8>, (Digest, u64)>,
    links: HashMap<Vec<u8>, Vec<u8>>,
    /// `index.json` and `manifest.json`.
    documents: HashMap<Vec<u8>, Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    layers: Vec<String>,
}

impl Load {
    fn new(store: Store, path: PathBuf) -> Self {
        let what = format!("image archive {}", path.display());
        let lease = store.lease();
        Self {
            store,
            path,
            what,
            lease,
            files: HashMap::new(),
            links: HashMap::new(),
            documents: HashMap::new(),
        }
    }

    fn malformed(&self, reason: impl ToString) -> ImageError {
        ImageError::malformed(self.what.clone(), reason)
    }

    /// Stores all files of the archive; those that turn out to be of no use are collected later.
    fn gather(&mut self) -> Result<()> {
        let failed = |error, path: &Path| ImageError::io("reading image archive", path, error);
        let path = self.path.clone();
        if !fs::metadata(&path).map_err(|error| failed(error, &path))?.is_dir() {
            let file = File::open(&path).map_err(|error| failed(error, &path))?;
            let what = self.what.clone();
            unpack::each_item(file, &what, &mut |name, item| {
                match item {
                    Item::File(content) => self.take(name, content)?,
                    Item::Link(target) => drop(self.links.insert(name.to_vec(), target)),
                }
                Ok(true)
            })?;
            return Ok(());
        }
        let index = path.join("index.json");
        let file =
            File::open(&index).map_err(|_| self.malformed("the directory has no index.json of an OCI layout"))?;
        self.take(b"index.json", &mut &file)?;
        let blobs = path.join("blobs/sha256");
        for entry in fs::read_dir(&blobs).map_err(|error| failed(error, &blobs))? {
            let entry = entry.map_err(|error| failed(error, &blobs))?;
            if entry.file_type().map_err(|error| failed(error, &blobs))?.is_file() {
                let file = File::open(entry.path()).map_err(|error| failed(error, &entry.path()))?;
                let name = format!("blobs/sha256/{}", entry.file_name().to_string_lossy());
                self.take(name.as_bytes(), &mut &file)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &[u8], content: &mut dyn Read) -> Result<()> {
        let broken = |error: std::io::Error| ImageError::malformed(self.what.clone(), error);
        if matches!(name, b"index.json" | b"manifest.json") {
            let mut bytes = Vec::new();
            content.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(broken)?;
            self.documents.insert(name.to_vec(), bytes);
            return Ok(());
        }
        let mut writer = self.store.inner.blobs.writer()?;
        let mut buffer = vec![0; 128 << 10];
        loop {
            match content.read(&mut buffer).map_err(broken)? {
                0 => break,
                count => writer.append(&buffer[..count])?,
            }
        }
        let lease = &mut self.lease;
        let promised = digest_in(name);
        let (actual, size) = match promised {
            Some(digest) => {
                lease.add(digest);
                let (shown, size) = (String::from_utf8_lossy(name), writer.written());
                let expected = Descriptor::new("", digest, size);
                writer.commit_as(&expected, &format!("{shown} of {}", self.what))?;
                (digest, size)
            }
            None => writer.commit(&mut |digest| lease.add(digest))?,
        };
        self.files.insert(name.to_vec(), (actual, size));
        Ok(())
    }

    fn adopt_all(&mut self, name: Option<Reference>) -> Result<Vec<Image>> {
        let mut document = |name: &[u8]| self.documents.remove(name);
        let found = match (document(b"index.json"), document(b"manifest.json")) {
            (Some(index), _) => self.layout(&index)?,
            (None, Some(saved)) => self.saved(&saved)?,
            (None, None) => {
                let reason = "neither an OCI archive (index.json) nor a Docker archive (manifest.json)";
                return Err(self.malformed(reason));
            }
        };
        if found.is_empty() {
            return Err(self.malformed("there is no image in it"));
        }
        if name.is_some() && found.len() > 1 {
            return Err(self.malformed("there are several images in it, so they cannot be given one name"));
        }
        let mut images = Vec::new();
        for (own, candidates) in found {
            let reference = match (&name, own) {
                (Some(name), _) => name.clone(),
                (None, Some(own)) => own,
                (None, None) => self.name_of_file("latest")?,
            };
            let (top, manifest) = self.choose(candidates, &reference)?;
            self.lease.add(manifest.digest);
            let image = self.store.adopt(&reference, top, &manifest)?;
            images.push(image);
        }
        Ok(images)
    }

    /// The images of a layout by name. Several of one name are one image for several platforms, and so are several
    /// without any.
    fn layout(&self, index: &[u8]) -> Result<Found> {
        let what = format!("index.json of {}", self.what);
        let Document::Index(index) = Document::parse(index, &what)? else {
            return Err(ImageError::malformed(what, "it is not an index"));
        };
        let mut found: Found = Vec::new();
        for descriptor in index.manifests {
            let name = self.name_of(&descriptor)?;
            match found.iter_mut().find(|(other, _)| *other == name) {
                Some((_, candidates)) => candidates.push(descriptor),
                None => found.push((name, vec![descriptor])),
            }
        }
        Ok(found)
    }

    fn name_of(&self, descriptor: &Descriptor) -> Result<Option<Reference>> {
        if let Some(name) = descriptor.annotations.get(CONTAINERD_NAME) {
            return name.parse().map(Some);
        }
        match descriptor.annotations.get(REF_NAME) {
            Some(name) if name.contains(['/', ':']) => name.parse().map(Some),
            Some(tag) => self.name_of_file(tag).map(Some),
            None => Ok(None),
        }
    }

    fn name_of_file(&self, tag: &str) -> Result<Reference> {
        let file = self
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let stem = [".gz", ".tgz", ".zst", ".tar", ".oci"]
            .iter()
            .fold(file.as_str(), |name, suffix| name.strip_suffix(suffix).unwrap_or(name));
        format!("{stem}:{tag}")
            .parse()
            .map_err(|_| self.malformed("the image in it has no name; give it one"))
    }

    /// The digest that the name leads to, and the manifest for this node.
    fn choose(&self, mut candidates: Vec<Descriptor>, name: &Reference) -> Result<(Digest, Descriptor)> {
        let mut top = None;
        for _ in 0..2 {
            let one = match candidates.as_slice() {
                [only] => only.clone(),
                _ => {
                    let index = Index {
                        schema_version: 2,
                        media_type: OCI_INDEX.to_owned(),
                        manifests: candidates,
                    };
                    platform::select(&index, name)?.clone()
                }
            };
            let top = *top.get_or_insert(one.digest);
            if !one.is_index() {
                return Ok((top, one));
            }
            self.store.inner.blobs.check_present(&one)?;
            let what = format!("index {} of {}", one.digest, self.what);
            let Document::Index(nested) = Document::parse(&self.store.inner.blobs.document(&one.digest)?, &what)?
            else {
                return Err(ImageError::malformed(what, "it is not an index"));
            };
            // Always selected from, also when it has but one entry for another platform.
            candidates = vec![platform::select(&nested, name)?.clone()];
        }
        Err(self.malformed("its indexes are nested too deep"))
    }

    /// The images of a Docker archive, each given an OCI manifest.
    fn saved(&mut self, bytes: &[u8]) -> Result<Found> {
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(ImageError::too_large(
                format!("manifest.json of {}", self.what),
                "4 MiB",
            ));
        }
        let list: Vec<Saved> = serde_json::from_slice(bytes)
            .map_err(|error| self.malformed(format!("its manifest.json is not that of a Docker archive: {error}")))?;
        let mut found: Found = Vec::new();
        for saved in list {
            let manifest = self.manifest_of(&saved)?;
            if saved.repo_tags.is_empty() {
                found.push((None, vec![manifest.clone()]));
            }
            for name in &saved.repo_tags {
                found.push((Some(name.parse()?), vec![manifest.clone()]));
            }
        }
        Ok(found)
    }

    fn manifest_of(&mut self, saved: &Saved) -> Result<Descriptor> {
        let blobs = &self.store.inner.blobs;
        let (config_digest, config_size) = self.file(&saved.config)?;
        let what = format!("{} of {}", saved.config, self.what);
        let config = ConfigFile::parse(&blobs.document(&config_digest)?, &what)?;
        let mut layers = Vec::new();
        for (index, path) in saved.layers.iter().enumerate() {
            let (digest, size) = self.file(path)?;
            let mut magic = [0; 2];
            let gzip = blobs
                .open_blob(&digest)?
                .read(&mut magic)
                .is_ok_and(|_| magic == [0x1f, 0x8b]);
            if let Some(diff_id) = config.rootfs.diff_ids.get(index)
                && !gzip
                && *diff_id != digest
            {
                return Err(ImageError::DigestMismatch {
                    what: format!("{path} of {}", self.what),
                    expected: diff_id.to_string(),
                    actual: digest.to_string(),
                });
            }
            layers.push(Descriptor::new(
                if gzip { OCI_LAYER_GZIP } else { OCI_LAYER },
                digest,
                size,
            ));
        }
        let config = Descriptor::new(OCI_CONFIG, config_digest, config_size);
        let manifest = Manifest::new(config, layers, BTreeMap::new());
        let bytes = serde_json::to_vec(&manifest).map_err(|error| self.malformed(error))?;
        self.lease.add(Digest::of(&bytes));
        let digest = self.store.inner.blobs.put(&bytes)?;
        Ok(Descriptor::new(OCI_MANIFEST, digest, bytes.len() as u64))
    }

    /// A file that the archive's manifest names.
    fn file(&self, path: &str) -> Result<(Digest, u64)> {
        let mut name = path.strip_prefix("./").unwrap_or(path).as_bytes();
        for _ in 0..MAX_LINKS {
            if let Some(found) = self.files.get(name) {
                return Ok(*found);
            }
            match self.links.get(name) {
                Some(target) => name = target,
                None => break,
            }
        }
        Err(self.malformed(format!("its manifest.json names {path:?}, which is not in it")))
    }
}

/// Candidates for each image, with the name it has in the archive.
type Found = Vec<(Option<Reference>, Vec<Descriptor>)>;

/// Files are named by their digest in a layout, and configs in a Docker archive.
fn digest_in(name: &[u8]) -> Option<Digest> {
    let name = std::str::from_utf8(name).ok()?;
    Digest::from_hex(
        name.strip_prefix("blobs/sha256/")
            .or_else(|| name.strip_suffix(".json"))?,
    )
}
