//! Manifests and indexes, OCI's and Docker's: the same shape under different media types.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::error::{ImageError, Result};

/// Manifests, indexes and configs larger than this are refused unread. Bytes.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;
/// Layers of an image. Overlay itself takes 500 lowers at most.
const MAX_LAYERS: usize = 500;
/// Entries of an index.
const MAX_ENTRIES: usize = 1_000;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The config of a Wasm artifact.
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The one layer of a Wasm artifact.
pub(crate) const WASM_LAYER: &str = "application/wasm";
/// Layers of Wasm artifacts from before the layout was agreed on.
const WASM_LAYERS_OF_OLD: [&str; 2] = [
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

/// A layer that is a Wasm module or component as it stands.
pub(crate) fn is_wasm_layer(media_type: &str) -> bool {
    media_type == WASM_LAYER || WASM_LAYERS_OF_OLD.contains(&media_type)
}

fn is_index_type(media_type: &str) -> bool {
    media_type == OCI_INDEX || media_type == DOCKER_INDEX
}

/// Names content by type, digest and size.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<DescribedPlatform>,
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    pub(crate) fn is_index(&self) -> bool {
        is_index_type(&self.media_type)
    }
}

/// The platform as an index writes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DescribedPlatform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

/// One image: a config and layers, lowest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) layers: Vec<Descriptor>,
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An OCI manifest over these.
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        Self {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config,
            layers,
            annotations,
        }
    }

    /// The config and the layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// `what` names the document in errors.
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        match Document::parse(bytes, what)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(ImageError::malformed(
                what,
                "it is an index where a manifest was expected",
            )),
        }
    }
}

/// The same image for several platforms.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) manifests: Vec<Descriptor>,
}

/// What a name leads to.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sketch {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// `what` names the document in errors.
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        check_document_size(bytes.len() as u64, what)?;
        let malformed = |reason: String| ImageError::malformed(what, reason);
        let sketch: Sketch = serde_json::from_slice(bytes).map_err(|error| malformed(not_json(&error)))?;
        if sketch.schema_version != 2 {
            let version = sketch.schema_version;
            return Err(ImageError::unsupported(
                format!("{what} with schema version {version}"),
                "push the image again with a tool that writes OCI or Docker schema 2 manifests",
            ));
        }
        if is_index_type(&sketch.media_type) || (sketch.media_type.is_empty() && sketch.manifests.is_some()) {
            let index: Index = serde_json::from_slice(bytes).map_err(|error| malformed(not_json(&error)))?;
            if index.manifests.len() > MAX_ENTRIES {
                return Err(ImageError::too_large(
                    format!("{what} (an index)"),
                    format!("{MAX_ENTRIES} entries"),
                ));
            }
            return Ok(Self::Index(index));
        }
        let known = ["", OCI_MANIFEST, DOCKER_MANIFEST];
        if !known.contains(&sketch.media_type.as_str()) {
            return Err(malformed(format!(
                "its media type {:?} is not that of an image",
                sketch.media_type
            )));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| malformed(not_json(&error)))?;
        if manifest.layers.len() > MAX_LAYERS {
            return Err(ImageError::too_large(
                format!("{what} (an image)"),
                format!("{MAX_LAYERS} layers"),
            ));
        }
        check_document_size(manifest.config.size, &format!("the config of {what}"))?;
        Ok(Self::Manifest(manifest))
    }
}

/// Refuses what no honest image needs.
pub(crate) fn check_document_size(size: u64, what: &str) -> Result<()> {
    if size > MAX_DOCUMENT {
        return Err(ImageError::too_large(what, format!("{} MiB", MAX_DOCUMENT >> 20)));
    }
    Ok(())
}

fn not_json(error: &serde_json::Error) -> String {
    format!("not the expected JSON: {error}")
}

/// Go writes an empty list or map as `null`.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn error(json: &str) -> String {
        Document::parse(json.as_bytes(), "manifest of x")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn tells_manifest_from_index() {
        let config = format!(r#"{{"mediaType":"{OCI_CONFIG}","digest":"{DIGEST}","size":2}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":null,"annotations":null}}"#);
        assert!(matches!(
            Document::parse(manifest.as_bytes(), "m"),
            Ok(Document::Manifest(_))
        ));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{config}]}}"#);
        assert!(matches!(Document::parse(index.as_bytes(), "m"), Ok(Document::Index(_))));
    }

    #[test]
    fn refuses_with_the_reason() {
        assert!(error("{").contains("not the expected JSON"));
        assert!(error(r#"{"schemaVersion":1}"#).contains("schema version 1"));
        assert!(error(r#"{"schemaVersion":2,"mediaType":"text/plain"}"#).contains("text/plain"));
        let traversal = r#"{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1}}"#;
        assert!(error(traversal).contains("invalid digest"));
        let large = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{DIGEST}","size":99999999}}}}"#);
        assert!(error(&large).contains("4 MiB"));
        let deep = format!("{}{}", r#"{"schemaVersion":2,"x":"#, "[".repeat(100_000));
        assert!(error(&deep).contains("not the expected JSON"));
        assert!(error(&" ".repeat(5 << 20)).contains("larger than the limit"));
    }
}
