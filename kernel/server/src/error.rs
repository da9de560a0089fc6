//! Why a server cannot start.
use crate::{pki::PkiError, replica::OpenError};
use sampan_api::ApiError;
use sampan_tls::CredentialsError;
use std::{io, net::SocketAddr, path::PathBuf};

/// What stands in the way, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{} cannot be written ({source}): give this user the right to, or choose another --data-dir", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    /// The directory is another process's, or what is in it is damaged.
    #[error(transparent)]
    Replica(OpenError),
    #[error("the address {0} is in use by another process: stop that, or choose another address with --listen")]
    AddressInUse(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("this machine cannot run the plugins' engine: {0}")]
    Engine(String),
    #[error("the cluster's first objects cannot be written: {0}")]
    Bootstrap(ApiError),
    #[error("{0}")]
    TooOld(String),
    /// The cluster has other ranges than it is asked to have.
    #[error("{0}")]
    Ranges(String),
    #[error(transparent)]
    Tls(#[from] CredentialsError),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io { path, source } if cannot_write(&source) => StartError::NotWritable { path, source },
            other => StartError::Replica(other),
        }
    }
}

/// Whether a directory is not this user's to write.
pub fn cannot_write(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory
    )
}
