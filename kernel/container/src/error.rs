//! What can go wrong with an image, typed by what the user has to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// The result of everything that this crate does.
pub type Result<T, E = ImageError> = std::result::Result<T, E>;

/// Each says what, where and, where it is not plain, what to do.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// An image name that does not parse.
    #[error("invalid image name {name:?}: {reason}")]
    InvalidReference {
        /// As it was given.
        name: String,
        /// What is wrong with it, and what is expected.
        reason: String,
    },
    /// A digest that does not parse.
    #[error("invalid digest {text:?}: expected sha256: and 64 lower-case hexadecimal digits")]
    InvalidDigest {
        /// As it was given.
        text: String,
    },
    /// The registry or the store does not have the image.
    #[error("image {image} not found {place}")]
    NotFound {
        /// Name with tag or digest.
        image: String,
        /// `in registry X`, `on this node`.
        place: String,
    },
    /// The registry wants credentials, or others than these.
    #[error("registry {registry} refused access to {image}: {detail}")]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// Name with tag or digest.
        image: String,
        /// Which credentials were used and where they were looked for.
        detail: String,
    },
    /// Content is not what its digest says.
    #[error("{what} is corrupt: expected {expected}, got {actual}")]
    DigestMismatch {
        /// What was read, and where from.
        what: String,
        /// The digest (or size) that was promised.
        expected: String,
        /// The digest (or size) that came.
        actual: String,
    },
    /// No variant of the image runs here.
    #[error("image {image} is for {available}, this node is {node}")]
    WrongPlatform {
        /// Name with tag or digest.
        image: String,
        /// The platforms there are, separated by commas.
        available: String,
        /// The platform of this node.
        node: String,
    },
    /// The registry does not answer, or not sensibly, after the retries.
    #[error("cannot reach registry {registry}: {reason}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// The innermost cause.
        reason: String,
    },
    /// Bytes that are not what they should be.
    #[error("{what}: {reason}")]
    Malformed {
        /// What was read, and where from.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry of a layer or archive that would reach outside of it, or that cannot be represented.
    #[error("refusing archive entry {entry:?}: {reason}")]
    UnsafeEntry {
        /// The path in the archive.
        entry: String,
        /// What it attempts.
        reason: String,
    },
    /// More than this node accepts.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The disk, or a quota, is full.
    #[error("no space left for images while {action} {}: free some with `sampan image rm`", path.display())]
    NoSpace {
        /// What was being done.
        action: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// Removing what runs.
    #[error("image {image} ({digest}) is in use; remove the pods that use it first")]
    InUse {
        /// The name that was to be removed.
        image: String,
        /// Its manifest.
        digest: Digest,
    },
    /// Another process has this store.
    #[error("the image store {} is in use by another process", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// Something an image may ask for and this crate does not do.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// The feature.
        what: String,
        /// What to do instead.
        reason: String,
    },
    /// The disk refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl ImageError {
    /// An error of the disk; a full one is told apart.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let path = path.as_ref().to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { action, path },
            _ => Self::Io { action, path, source },
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed {
            what: what.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn unsafe_entry(entry: &[u8], reason: impl Into<String>) -> Self {
        Self::UnsafeEntry {
            entry: String::from_utf8_lossy(entry).into_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn too_large(what: impl Into<String>, limit: impl ToString) -> Self {
        Self::TooLarge {
            what: what.into(),
            limit: limit.to_string(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            what: what.into(),
            reason: reason.into(),
        }
    }
}

/// Runs what blocks aside from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failure) => Err(ImageError::malformed("image work did not finish", failure)),
    }
}
