//! What an image says about how to run it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{ImageError, Result};
use crate::manifest::{check_document_size, null_is_empty};
use crate::platform::Platform;

/// The image's defaults for a container; a pod's spec overrides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Runs before `cmd`.
    pub entrypoint: Vec<String>,
    /// Arguments of the entrypoint, or the command itself.
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Empty: `/`.
    pub workdir: String,
    /// As written, for [`crate::resolve_user`]; empty is root.
    pub user: String,
    /// `80/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// A name or a number; none is SIGTERM.
    pub stop_signal: Option<String>,
    /// Paths of anonymous volumes, sorted.
    pub volumes: Vec<String>,
    /// Free text by name.
    pub labels: BTreeMap<String, String>,
}

/// The config blob. Both OCI's and Wasm's have these; what is absent is empty.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) config: RuntimeConfig,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) rootfs: RootFs,
}

/// The layers by the digests of their uncompressed tars, lowest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RuntimeConfig {
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) cmd: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) env: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) working_dir: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) user: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) exposed_ports: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_signal: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) volumes: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
}

impl ConfigFile {
    /// `what` names the document in errors.
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        check_document_size(bytes.len() as u64, what)?;
        serde_json::from_slice(bytes).map_err(|error| ImageError::malformed(what, format!("not a config: {error}")))
    }

    pub(crate) fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
        }
    }

    pub(crate) fn view(self) -> ImageConfig {
        let config = self.config;
        ImageConfig {
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env,
            workdir: config.working_dir,
            user: config.user,
            exposed_ports: config.exposed_ports.into_keys().collect(),
            stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
            volumes: config.volumes.into_keys().collect(),
            labels: config.labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_docker_writes() {
        let json = br#"{"architecture":"amd64","os":"linux","created":"2020-01-01T00:00:00Z",
            "config":{"Hostname":"","User":"www","ExposedPorts":{"80/tcp":{},"443/tcp":{}},"Env":["A=b"],"Cmd":null,
            "Entrypoint":["/x"],"Volumes":null,"WorkingDir":"/srv","Labels":null,"StopSignal":"SIGQUIT","OnBuild":null},
            "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let file = ConfigFile::parse(json, "config").unwrap();
        assert_eq!(file.platform().to_string(), "linux/amd64");
        let view = file.view();
        assert_eq!(view.entrypoint, ["/x"]);
        assert_eq!(view.exposed_ports, ["443/tcp", "80/tcp"]);
        assert_eq!((view.user.as_str(), view.workdir.as_str()), ("www", "/srv"));
        assert_eq!(view.stop_signal.as_deref(), Some("SIGQUIT"));
        assert!(view.cmd.is_empty() && view.volumes.is_empty());
        assert!(ConfigFile::parse(b"7", "config").is_err());
    }
}
