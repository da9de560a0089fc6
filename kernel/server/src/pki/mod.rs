//! Who is who: the cluster's authority, the certificates it issues, and the identities that peers show with them.
mod authority;
mod files;
mod identity;

pub use authority::{Authority, KeyPair, PkiError, fingerprint, pem_of, request_for_key};
pub use identity::{Identity, IdentityError, MASTERS, NODE_PREFIX, NODES, SERVER_PREFIX, member_host};

pub(crate) use files::{private_dir, read_small, write_private};
