//! Who is who: the cluster's authority, the certificates it issues, and the identities that peers show with them.
mod authority;
mod files;
mod identity;

pub use authority::{Authority, KeyPair, PkiError};
pub use identity::{Identity, IdentityError, MASTERS, NODE_PREFIX, NODES};

pub(crate) use files::{private_dir, read_small, write_private};
