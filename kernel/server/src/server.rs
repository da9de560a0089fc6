//! The control plane as a whole: what starts after what, and how it ends.
use crate::{
    BuiltinPlugin, StartError,
    bootstrap::bootstrap,
    error::cannot_write,
    expiry,
    front::{Front, Listening, NodeClients, NodeLiveness, serve},
    pki::{Authority, MASTERS, PkiError, private_dir, read_small, write_private},
    policies::{Narrator, Policies},
    replica::{ReplicaConfig, ReplicaHandle},
};
use sampan_sandbox::PluginEngine;
use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Connections that have not ended by then are broken off.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Its directory: the authority, the log, checkpoints.
    pub data: PathBuf,
    /// Where compiled plugins are kept; may be emptied at any time while it does not run.
    pub cache: PathBuf,
    pub listen: SocketAddr,
    /// Further names and addresses that clients call it by.
    pub names: Vec<String>,
    pub cluster_name: String,
    pub builtin_plugins: Vec<BuiltinPlugin>,
    /// The silence after which a node is written down as unknown.
    pub node_grace: Duration,
    /// How long events are kept.
    pub event_ttl: Duration,
}

impl ServerConfig {
    /// With what is usual.
    pub fn new(data: PathBuf, cache: PathBuf, listen: SocketAddr) -> Self {
        ServerConfig {
            data,
            cache,
            listen,
            names: Vec::new(),
            cluster_name: "sampan".to_owned(),
            builtin_plugins: Vec::new(),
            node_grace: Duration::from_secs(40),
            event_ttl: Duration::from_secs(60 * 60),
        }
    }
}

/// A control plane that runs.
pub struct Server {
    address: SocketAddr,
    authority: Authority,
    front: Arc<Front>,
    listening: Listening,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts one; when it returns, clients are answered.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it.
    pub async fn start(config: ServerConfig) -> Result<Self, StartError> {
        private_dir(&config.data).map_err(|source| match cannot_write(&source) {
            true => StartError::NotWritable {
                path: config.data.clone(),
                source,
            },
            false => PkiError::Io {
                path: config.data.clone(),
                source,
            }
            .into(),
        })?;
        // Whoever has the lock of the directory may write in it: the replica comes first.
        let replica = ReplicaHandle::open(&ReplicaConfig {
            dir: config.data.clone(),
            cluster: cluster_id(&config.data, &config.cluster_name)?,
            member: 1,
        })?;
        match Self::start_on(config, replica.clone()).await {
            Ok(server) => Ok(server),
            Err(error) => {
                replica.shutdown().await;
                Err(error)
            }
        }
    }

    async fn start_on(config: ServerConfig, replica: ReplicaHandle) -> Result<Self, StartError> {
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => StartError::AddressInUse(config.listen),
                _ => StartError::Listen {
                    address: config.listen,
                    source,
                },
            })?;
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            address: config.listen,
            source,
        })?;
        let authority = Authority::open(&config.data, &config.cluster_name)?;
        let certificate = authority.issue_server(&names(&config, address))?;
        let own = authority.issue_client("system:control-plane", MASTERS)?;
        bootstrap(&replica, &config).await.map_err(StartError::Bootstrap)?;
        let engine = PluginEngine::new(Some(config.cache.join("wasm")))
            .map_err(|error| StartError::Engine(format!("{error:#}")))?;
        let narrator = Narrator::start(replica.clone(), "control-plane");
        let policies = Arc::new(Policies::start(replica.clone(), engine.clone(), &narrator));
        let closing = CancellationToken::new();
        let front = Arc::new(Front {
            cluster_name: config.cluster_name.clone(),
            narrator,
            liveness: Arc::new(NodeLiveness::new(config.node_grace)),
            nodes: NodeClients::new(authority.ca_pem(), own),
            pages: Default::default(),
            closing: closing.clone(),
            replica: replica.clone(),
            policies,
            engine,
        });
        let listening = match serve(front.clone(), listener, &certificate, authority.ca_pem()).await {
            Ok(listening) => listening,
            Err(error) => {
                tokio::join!(stop_policies(&front.policies), replica.shutdown());
                return Err(error.into());
            }
        };
        let liveness = front.liveness.clone();
        let watching = (replica.clone(), closing.clone());
        let tasks = vec![
            tokio::spawn(async move { liveness.watch_over(watching.0, watching.1).await }),
            tokio::spawn(expiry::forget_events(replica, config.event_ttl, closing)),
        ];
        tracing::info!(%address, cluster = config.cluster_name, "the control plane is ready");
        Ok(Server {
            address,
            authority,
            front,
            listening,
            tasks,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The replica behind it.
    pub fn replica(&self) -> &ReplicaHandle {
        &self.front.replica
    }

    /// Says good-bye to clients, stops the policies, and closes the log after what it was asked to write.
    pub async fn shutdown(self) {
        let Server {
            front,
            listening,
            tasks,
            ..
        } = self;
        listening
            .health
            .set_service_status("", tonic_health::ServingStatus::NotServing)
            .await;
        front.closing.cancel();
        for task in tasks {
            let _ = task.await;
        }
        let mut serving = listening.task;
        if tokio::time::timeout(FAREWELL, &mut serving).await.is_err() {
            serving.abort();
        }
        // Loops that wait for changes are woken by the end of the replica. What they were about to decide is decided again
        // by the next one: a policy looks at the state, not at what it meant to do.
        tokio::join!(stop_policies(&front.policies), front.replica.shutdown());
    }
}

async fn stop_policies(policies: &Arc<Policies>) {
    let policies = policies.clone();
    let _ = tokio::task::spawn_blocking(move || policies.shutdown()).await;
}

/// An id unlike any other cluster's, made at the first start.
fn cluster_id(dir: &Path, name: &str) -> Result<String, StartError> {
    let path = dir.join("cluster");
    let failed = |source: io::Error| match cannot_write(&source) {
        true => StartError::NotWritable {
            path: path.clone(),
            source,
        },
        false => PkiError::Io {
            path: path.clone(),
            source,
        }
        .into(),
    };
    match read_small(&path, 4096).map_err(failed)? {
        Some(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        _ => {
            let id = format!("{name}-{:032x}", rand::random::<u128>());
            write_private(&path, id.as_bytes()).map_err(failed)?;
            Ok(id)
        }
    }
}

/// All that clients may call the server by.
fn names(config: &ServerConfig, address: SocketAddr) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(config.names.iter().cloned());
    if !address.ip().is_unspecified() {
        names.insert(address.ip().to_string());
    }
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    if sampan_api::validate::is_name(&host) {
        names.insert(host);
    }
    names
}
