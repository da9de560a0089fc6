//! Floor 3: the control plane: Raft driver, log on disk, gRPC services, authentication, the scheduling loop, running
//! plugins.
pub mod backup;
mod bootstrap;
mod certificate;
mod clock;
pub mod enroll;
mod error;
mod expiry;
pub mod front;
mod membership;
pub mod metrics;
pub mod peers;
pub mod pki;
pub mod policies;
pub mod replica;
mod server;
pub mod token;

pub use bootstrap::{BUILTIN, BuiltinPlugin};
pub use error::StartError;
pub use pki::{Authority, KeyPair};
pub use sampan_tls::Lifetimes;
pub use server::{Server, ServerConfig};

/// The namespace of what the cluster runs for itself.
pub const SYSTEM_NAMESPACE: &str = "sampan-system";
