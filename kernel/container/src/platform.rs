//! Which of an image's variants runs here.

use std::fmt;

use crate::error::{ImageError, Result};
use crate::manifest::{DescribedPlatform, Descriptor, Index};
use crate::reference::Reference;

/// An operating system and an architecture, in the names of OCI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
}

impl Platform {
    /// That of this node.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
        }
    }

    /// Wasm runs everywhere.
    pub(crate) fn is_wasm(&self) -> bool {
        self.architecture == "wasm" || self.architecture == "wasm32" || self.os.starts_with("wasi")
    }

    /// An image of this platform runs on this node.
    pub(crate) fn runs_here(&self) -> bool {
        self.is_wasm() || *self == Self::here()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

impl From<&DescribedPlatform> for Platform {
    fn from(described: &DescribedPlatform) -> Self {
        Self {
            os: described.os.clone(),
            architecture: described.architecture.clone(),
        }
    }
}

/// The image of this index to run here: the node's own platform before Wasm.
pub(crate) fn select<'a>(index: &'a Index, image: &Reference) -> Result<&'a Descriptor> {
    // Attestations are listed as images for `unknown/unknown`.
    let described = |entry: &Descriptor| {
        entry
            .platform
            .as_ref()
            .map(Platform::from)
            .filter(|p| p.os != "unknown")
    };
    let here = Platform::here();
    let native = index
        .manifests
        .iter()
        .filter(|entry| described(entry).is_some_and(|platform| platform == here));
    let native = native.min_by_key(|entry| is_special(entry));
    let wasm = || {
        index
            .manifests
            .iter()
            .find(|entry| described(entry).is_some_and(|platform| platform.is_wasm()))
    };
    if let Some(found) = native.or_else(wasm) {
        return Ok(found);
    }
    // An index that does not say: its config will.
    if let [only] = index.manifests.as_slice()
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let mut available: Vec<String> = index
        .manifests
        .iter()
        .filter_map(described)
        .map(|platform| platform.to_string())
        .collect();
    available.dedup();
    available.truncate(16);
    if available.is_empty() {
        available.push("no platform at all".to_owned());
    }
    Err(wrong(image, available.join(", ")))
}

/// Built for newer processors than the architecture has at least.
fn is_special(entry: &Descriptor) -> bool {
    let variant = entry.platform.as_ref().and_then(|platform| platform.variant.as_deref());
    !matches!(variant, None | Some("" | "v1" | "v8"))
}

/// The error for an image that does not run here.
pub(crate) fn wrong(image: &Reference, available: String) -> ImageError {
    ImageError::WrongPlatform {
        image: image.familiar(),
        available,
        node: Platform::here().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::manifest::OCI_MANIFEST;

    fn entry(os: &str, architecture: &str) -> Descriptor {
        let name = format!("{os}/{architecture}");
        let mut descriptor = Descriptor::new(OCI_MANIFEST, Digest::of(name.as_bytes()), 1);
        descriptor.platform = Some(DescribedPlatform {
            architecture: architecture.into(),
            os: os.into(),
            variant: None,
        });
        descriptor
    }

    fn index(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: String::new(),
            manifests,
        }
    }

    #[test]
    fn native_before_wasm_before_an_error_that_lists() {
        let image: Reference = "nginx".parse().unwrap();
        let here = Platform::here();
        let native = entry(&here.os, &here.architecture);
        let wasm = entry("wasip2", "wasm");
        let other = entry("linux", "s390x");
        let mut newer = entry(&here.os, &here.architecture);
        newer.digest = Digest::of(b"newer");
        newer.platform.as_mut().unwrap().variant = Some("v3".into());
        let all = index(vec![other.clone(), wasm.clone(), newer, native.clone()]);
        assert_eq!(select(&all, &image).unwrap().digest, native.digest);
        assert_eq!(
            select(&index(vec![other.clone(), wasm.clone()]), &image)
                .unwrap()
                .digest,
            wasm.digest
        );
        let error = select(&index(vec![other, entry("unknown", "unknown")]), &image)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("image nginx:latest is for linux/s390x, this node is {here}")
        );
    }
}
