//! Builds images without Docker: a folder becomes a layer, a Wasm file an artifact. The same input gives the same digest.

mod folder;
mod wasm;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::config::{ConfigFile, RootFs, RuntimeConfig};
use crate::digest::Digest;
use crate::error::{ImageError, Result, blocking};
use crate::load::{CONTAINERD_NAME, REF_NAME};
use crate::manifest::{Descriptor, Index, Manifest, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, WASM_CONFIG, WASM_LAYER};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Blobs, Image, Store, sync_dir};

/// The time of everything that is built, or no two builds would be the same.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// How the image of a folder is run. All of it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, which a pod replaces with `args`.
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Where it starts.
    pub workdir: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// `80/tcp`, or `80`.
    pub exposed_ports: Vec<String>,
    /// Free text by name.
    pub labels: BTreeMap<String, String>,
    /// Sent to end it.
    pub stop_signal: Option<String>,
    /// Paths of anonymous volumes.
    pub volumes: Vec<String>,
}

/// What to build from.
#[derive(Clone, Debug)]
pub enum BuildSource {
    /// A root filesystem. Owners become root, times the epoch.
    Folder {
        /// The directory.
        path: PathBuf,
        /// How it is run.
        config: Box<BuildConfig>,
    },
    /// A component, or a core module.
    Wasm {
        /// The file.
        path: PathBuf,
    },
}

impl Store {
    /// Builds an image into the store.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] for what cannot be in an image, [`ImageError::Io`], [`ImageError::NoSpace`].
    pub async fn build(&self, reference: &Reference, source: BuildSource) -> Result<Image> {
        let (store, reference) = (self.clone(), reference.clone());
        blocking(move || {
            let mut lease = store.lease();
            let manifest = assemble(&store.inner.blobs, &source, &mut |digest| lease.add(digest))?;
            store.adopt(&reference, manifest.digest, &manifest)
        })
        .await
    }
}

/// Builds an image into an OCI archive, a tar file, which appears when it is whole. Needs no store.
///
/// # Errors
/// As [`Store::build`].
pub async fn build_archive(reference: &Reference, source: BuildSource, output: impl AsRef<Path>) -> Result<Digest> {
    let (reference, output) = (reference.clone(), output.as_ref().to_owned());
    blocking(move || {
        let parent = output
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let failed = |error| ImageError::io("writing", &output, error);
        let gathered = tempfile::Builder::new()
            .prefix(".sampan-build-")
            .tempdir_in(parent)
            .map_err(failed)?;
        let blobs = Blobs::open(gathered.path())?;
        let manifest = assemble(&blobs, &source, &mut |_| {})?;
        let file = tempfile::Builder::new()
            .prefix(".sampan-build-")
            .tempfile_in(parent)
            .map_err(failed)?;
        write_archive(&file, &blobs, &reference, &manifest).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        rustix::fs::fchmod(file.as_file(), rustix::fs::Mode::from_raw_mode(0o644)).map_err(|e| failed(e.into()))?;
        file.persist(&output).map_err(|error| failed(error.error))?;
        sync_dir(parent)?;
        Ok(manifest.digest)
    })
    .await
}

/// Stores layer, config and manifest; `lease` hears of each before it is there.
fn assemble(blobs: &Blobs, source: &BuildSource, lease: &mut dyn FnMut(Digest)) -> Result<Descriptor> {
    let (config, config_type, layer) = match source {
        BuildSource::Folder { path, config } => {
            let (layer, diff_id) = folder::pack(blobs, path, lease)?;
            (to_json(&config_file(config, diff_id)?)?, OCI_CONFIG, layer)
        }
        BuildSource::Wasm { path } => {
            let bytes = wasm::read(path)?;
            let outline = wasm::outline(&bytes, path)?;
            let digest = Digest::of(&bytes);
            lease(digest);
            blobs.put(&bytes)?;
            let layer = Descriptor::new(WASM_LAYER, digest, bytes.len() as u64);
            (to_json(&outline.config(EPOCH, digest))?, WASM_CONFIG, layer)
        }
    };
    let mut put = |bytes: &[u8], media_type: &str| {
        lease(Digest::of(bytes));
        let digest = blobs.put(bytes)?;
        Ok::<_, ImageError>(Descriptor::new(media_type, digest, bytes.len() as u64))
    };
    let config = put(&config, config_type)?;
    let manifest = Manifest::new(config, vec![layer], BTreeMap::new());
    put(&to_json(&manifest)?, OCI_MANIFEST)
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| ImageError::malformed("image", error))
}

fn config_file(config: &BuildConfig, diff_id: Digest) -> Result<ConfigFile> {
    let invalid = |field: &str, reason: &str| Err(ImageError::malformed(format!("build config {field}"), reason));
    if let Some(entry) = config
        .env
        .iter()
        .find(|entry| entry.split_once('=').is_none_or(|(name, _)| name.is_empty()))
    {
        return invalid("env", &format!("{entry:?} is not NAME=value"));
    }
    if !config.workdir.is_empty() && !config.workdir.starts_with('/') {
        return invalid("workdir", &format!("{:?} is not an absolute path", config.workdir));
    }
    let mut exposed_ports = BTreeMap::new();
    for port in &config.exposed_ports {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        if number.parse::<u16>().is_err() || !matches!(protocol, "tcp" | "udp" | "sctp") {
            return invalid("exposedPorts", &format!("{port:?} is not a port like 80 or 53/udp"));
        }
        exposed_ports.insert(format!("{number}/{protocol}"), Value::Object(Map::new()));
    }
    let platform = Platform::here();
    Ok(ConfigFile {
        created: Some(EPOCH.to_owned()),
        architecture: platform.architecture,
        os: platform.os,
        config: RuntimeConfig {
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            env: config.env.clone(),
            working_dir: config.workdir.clone(),
            user: config.user.clone(),
            exposed_ports,
            stop_signal: config.stop_signal.clone(),
            volumes: config
                .volumes
                .iter()
                .map(|path| (path.clone(), Value::Object(Map::new())))
                .collect(),
            labels: config.labels.clone(),
        },
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: vec![diff_id],
        },
    })
}

fn write_archive(
    file: &NamedTempFile,
    blobs: &Blobs,
    reference: &Reference,
    manifest: &Descriptor,
) -> std::io::Result<()> {
    let mut described = manifest.clone();
    described
        .annotations
        .insert(CONTAINERD_NAME.to_owned(), reference.to_string());
    described
        .annotations
        .insert(REF_NAME.to_owned(), reference.tag().unwrap_or("latest").to_owned());
    let index = Index {
        schema_version: 2,
        media_type: OCI_INDEX.to_owned(),
        manifests: vec![described],
    };
    let mut tar = tar::Builder::new(file.as_file());
    let mut add = |name: &str, size: u64, content: &mut dyn std::io::Read| {
        let mut header = folder::header(tar::EntryType::Regular, 0o644, size);
        tar.append_data(&mut header, name, content)
    };
    let layout = serde_json::to_vec(&json!({ "imageLayoutVersion": "1.0.0" }))?;
    add("oci-layout", layout.len() as u64, &mut layout.as_slice())?;
    let index = serde_json::to_vec(&index)?;
    add("index.json", index.len() as u64, &mut index.as_slice())?;
    let document = blobs.document(&manifest.digest).map_err(std::io::Error::other)?;
    let parsed = Manifest::parse(&document, "manifest").map_err(std::io::Error::other)?;
    let mut all: Vec<&Descriptor> = parsed.blobs().chain([manifest]).collect();
    all.sort_by_key(|blob| blob.digest);
    for blob in all {
        let mut content = File::open(blobs.path(&blob.digest))?;
        add(&format!("blobs/sha256/{}", blob.digest.hex()), blob.size, &mut content)?;
    }
    tar.finish()
}
