//! Reads what a stored image is: a container with layers, or Wasm in one of the ways that it is packed.

use crate::config::{ConfigFile, ImageConfig};
use crate::digest::Digest;
use crate::error::{ImageError, Result};
use crate::manifest::{Descriptor, Manifest, WASM_CONFIG, is_wasm_layer};
use crate::platform::Platform;
use crate::store::Blobs;
use crate::unpack::{self, ItemVisitor};

/// A layer above this is not searched for a lone module. Bytes, compressed.
const MAX_PACKED_MODULE: u64 = 256 << 20;

/// A stored manifest with its config, understood.
pub(crate) struct Inspected {
    pub(crate) manifest: Manifest,
    pub(crate) platform: Platform,
    pub(crate) created: Option<String>,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Container {
        config: Box<ImageConfig>,
        /// Lowest first.
        layers: Vec<Layer>,
    },
    Wasm(Box<Module>),
}

/// Where a module is.
pub(crate) enum Module {
    /// A blob as it stands.
    Blob(Descriptor),
    /// The file of this path in the tar of a layer.
    Packed { layer: Layer, path: Vec<u8> },
}

#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) blob: Descriptor,
    /// Of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Of this layer and all below it.
    pub(crate) chain_id: Digest,
}

impl Inspected {
    pub(crate) fn manifest_of(bytes: &[u8]) -> Result<Manifest> {
        Manifest::parse(bytes, "manifest")
    }

    /// From the blobs of manifest and config; looks into a layer only where a module may be packed in it.
    pub(crate) fn read(blobs: &Blobs, digest: &Digest) -> Result<Self> {
        let manifest = Manifest::parse(&blobs.document(digest)?, &format!("manifest {digest}"))?;
        let what = format!("config {}", manifest.config.digest);
        let config = ConfigFile::parse(&blobs.document(&manifest.config.digest)?, &what)?;
        let created = config.created.clone();
        let mut platform = config.platform();
        let bare = manifest
            .layers
            .iter()
            .find(|layer| is_wasm_layer(&layer.media_type))
            .cloned();
        if manifest.config.media_type == WASM_CONFIG || bare.is_some() {
            if !platform.is_wasm() {
                platform = Platform {
                    os: "wasi".to_owned(),
                    architecture: "wasm".to_owned(),
                };
            }
            let Some(layer) = bare else {
                let reason = "it is a Wasm artifact without a layer of type application/wasm";
                return Err(ImageError::malformed(format!("manifest {digest}"), reason));
            };
            return Ok(Self {
                manifest,
                platform,
                created,
                content: Content::Wasm(Box::new(Module::Blob(layer))),
            });
        }
        let layers = layers(&manifest, &config, digest)?;
        let content = match packed_module(blobs, &platform, &config, &layers)? {
            Some(module) => Content::Wasm(Box::new(module)),
            None => Content::Container {
                config: Box::new(config.view()),
                layers,
            },
        };
        if matches!(content, Content::Wasm(_)) && !platform.is_wasm() {
            platform = Platform {
                os: "wasi".to_owned(),
                architecture: "wasm".to_owned(),
            };
        }
        Ok(Self {
            manifest,
            platform,
            created,
            content,
        })
    }

    /// The unpacked layers of a manifest. None for an artifact whose layers are no tars.
    pub(crate) fn chain_ids(blobs: &Blobs, manifest: &Manifest, digest: &Digest) -> Result<Vec<Digest>> {
        let config = ConfigFile::parse(&blobs.document(&manifest.config.digest)?, "config")?;
        Ok(layers(manifest, &config, digest)?
            .iter()
            .map(|layer| layer.chain_id)
            .collect())
    }
}

/// Pairs the layers with the digests of their contents.
fn layers(manifest: &Manifest, config: &ConfigFile, digest: &Digest) -> Result<Vec<Layer>> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        let reason = format!(
            "it has {} layers, but its config lists {} diff_ids",
            manifest.layers.len(),
            diff_ids.len()
        );
        return Err(ImageError::malformed(format!("manifest {digest}"), reason));
    }
    let mut below: Option<Digest> = None;
    let pairs = manifest.layers.iter().zip(diff_ids);
    Ok(pairs
        .map(|(blob, diff_id)| {
            let chain_id = match below {
                Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
                None => *diff_id,
            };
            below = Some(chain_id);
            Layer {
                blob: blob.clone(),
                diff_id: *diff_id,
                chain_id,
            }
        })
        .collect())
}

/// Images for Wasm runtimes that know only tar layers: the platform says so, or a lone layer holds a lone module.
fn packed_module(blobs: &Blobs, platform: &Platform, config: &ConfigFile, layers: &[Layer]) -> Result<Option<Module>> {
    let command = config
        .config
        .entrypoint
        .first()
        .or(config.config.cmd.first())
        .map(String::as_str);
    let names_module = command.is_none_or(|command| command.ends_with(".wasm"));
    let lone = match layers {
        [layer] if layer.blob.size <= MAX_PACKED_MODULE => Some(layer),
        _ => None,
    };
    if !platform.is_wasm() && (lone.is_none() || !names_module) {
        return Ok(None);
    }
    let wanted = command.map(|command| {
        command
            .trim_start_matches("./")
            .trim_start_matches('/')
            .as_bytes()
            .to_vec()
    });
    for layer in layers.iter().rev() {
        let mut modules = Vec::new();
        let mut others = 0;
        each_item(blobs, layer, &mut |path, _| {
            if path.ends_with(b".wasm") {
                modules.push(path.to_vec())
            } else {
                others += 1
            }
            Ok(if platform.is_wasm() {
                modules.len() < 64
            } else {
                others == 0
            })
        })?;
        let chosen = match modules.as_slice() {
            [only] if platform.is_wasm() || others == 0 => Some(only.clone()),
            several if platform.is_wasm() => several.iter().find(|path| Some(*path) == wanted.as_ref()).cloned(),
            _ => None,
        };
        if let Some(path) = chosen {
            return Ok(Some(Module::Packed {
                layer: layer.clone(),
                path,
            }));
        }
    }
    if platform.is_wasm() {
        let reason = format!("it is for {platform}, but none of its layers holds one .wasm file");
        return Err(ImageError::malformed("image", reason));
    }
    Ok(None)
}

/// Walks the files of a layer without unpacking it; gives the digest of its contents if it came to the end.
pub(crate) fn each_item(blobs: &Blobs, layer: &Layer, visit: ItemVisitor<'_>) -> Result<Option<Digest>> {
    unpack::each_item(
        blobs.open_blob(&layer.blob.digest)?,
        &format!("layer {}", layer.blob.digest),
        visit,
    )
}
