//! What is to be run, as the agent writes it down for the process that runs it.
use super::host::{Settings, Stdio};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// A workload. Only `module` has to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// The component's file.
    pub module: PathBuf,
    /// The file's `sha256:` digest, where it is known and was verified: then the file is not even read if the cache
    /// has it compiled.
    pub digest: Option<String>,
    /// Where compiled components are kept. None: it is compiled at each start.
    pub cache: Option<PathBuf>,
    /// What follows the program's name.
    pub args: Vec<String>,
    /// `NAME=value`; nothing is added or inherited.
    pub env: Vec<String>,
    /// Directories it sees. Without any it sees no file.
    pub mounts: Vec<Mount>,
    /// Bytes of linear memory of an instance. None: what 32 bits can address.
    pub memory_limit: Option<u64>,
    /// Milliseconds that a command may run (none: as long as it wants), or a server may take for a request (none: 30 s).
    pub deadline_ms: Option<u64>,
    /// Where a server listens. None given: port 8080 on all addresses.
    pub listen: Vec<SocketAddr>,
    /// Requests that a server works on at a time; others wait. 0: 32.
    pub concurrency: u32,
}

/// A directory that a workload sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Of the node.
    pub host: PathBuf,
    /// Where the workload sees it.
    pub guest: String,
    #[serde(default)]
    pub readonly: bool,
}

impl WorkloadSpec {
    pub(crate) fn settings(&self) -> Settings {
        let name = self
            .module
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let env = self.env.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Settings {
            args: std::iter::once(name).chain(self.args.iter().cloned()).collect(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            mounts: self.mounts.clone(),
            memory: self
                .memory_limit
                .map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            deadline: self.deadline_ms.map(Duration::from_millis),
            stdio: Stdio::Inherited,
            alone: false,
        }
    }
}
