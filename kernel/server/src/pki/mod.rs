//! Who is who: the cluster's authority, the certificates it issues, and the identities that peers show with them.
mod authority;
mod identity;

pub use authority::{Authority, PkiError, fingerprint, pem_of};
pub use identity::{Identity, IdentityError, MASTERS, NODE_PREFIX, NODES, SERVER_PREFIX, member_host};

pub use sampan_tls::KeyPair;
pub(crate) use sampan_tls::files::{private_dir, read_small, write_private};
