//! Floor 3: the control plane: Raft driver, log on disk, gRPC services, authentication, the scheduling loop, running
//! plugins.
mod address;
pub mod backup;
mod bootstrap;
mod builtins;
mod certificate;
mod clock;
mod disk;
pub mod enroll;
mod error;
mod expiry;
mod farewell;
pub mod features;
pub mod front;
mod ingresses;
mod membership;
pub mod metrics;
pub mod peers;
pub mod pki;
pub mod policies;
mod presence;
pub mod ranges;
pub mod replica;
pub mod schedule;
mod server;
mod standing;
pub mod token;

pub use builtins::{BUILTIN, BuiltinPlugin};
pub use error::StartError;
pub use pki::{Authority, KeyPair};
pub use sampan_tls::Lifetimes;
pub use server::{NODE_GRACE, QUOTA, Server, ServerConfig};

/// A new object of a resource that belongs to no namespace.
pub(crate) fn new_object(resource: &str, name: &str) -> Result<sampan_api::Object, sampan_api::ApiError> {
    let kind = sampan_api::kinds::of_resource(resource)
        .ok_or_else(|| sampan_api::ApiError::internal(format!("{resource} are no kind")))?;
    Ok(sampan_api::Object::new(kind, "", name))
}

/// The namespace of what the cluster runs for itself.
pub const SYSTEM_NAMESPACE: &str = "sampan-system";
