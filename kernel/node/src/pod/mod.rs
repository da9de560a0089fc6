//! What a pod's spec means for its containers: environment, command, volumes, limits, rights.
//!
//! All of it is worked out from the pod, its image's defaults and the config maps and secrets it names; only
//! [`volumes`] touches the disk.
pub mod command;
pub mod env;
pub mod fields;
pub mod limits;
pub mod links;
pub mod security;
pub mod sources;
pub mod volumes;

pub use sources::Sources;

/// Why a container cannot be made as its pod asks for. The message is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// As Kubernetes: `CreateContainerConfigError`, `CreateContainerError`, `FailedMount`.
    pub reason: &'static str,
    pub message: String,
}

impl ConfigError {
    /// Something the pod names is missing or makes no sense.
    pub fn config(message: impl Into<String>) -> Self {
        ConfigError {
            reason: "CreateContainerConfigError",
            message: message.into(),
        }
    }

    /// A volume cannot be had.
    pub fn mount(volume: &str, message: impl std::fmt::Display) -> Self {
        let message = format!("MountVolume.SetUp failed for volume \"{volume}\": {message}");
        ConfigError {
            reason: "FailedMount",
            message,
        }
    }
}

/// What the node adds to a pod's own facts.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The primary one first.
    pub pod_ips: Vec<String>,
    pub host_ips: Vec<String>,
    /// What the node can give: the limits of a container that has none. Thousandths of a core, and bytes.
    pub node_milli_cpu: u64,
    pub node_memory: u64,
}
