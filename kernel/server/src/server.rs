//! The control plane as a whole: what starts after what, and how it ends.
use crate::{
    BuiltinPlugin, StartError,
    address::{advertised, bind, duplicate, listen_error},
    backup,
    bootstrap::{self, bootstrap},
    builtins,
    certificate::OwnCertificate,
    enroll::Enrolled,
    error::cannot_write,
    expiry,
    farewell::{self, stand_down_when_lost},
    features::Build,
    front::{Front, Listening, NodeClients, NodeLiveness, serve},
    ingresses, membership,
    peers::{Book, Own, Peers, members},
    pki::{Authority, PkiError, private_dir, read_small, write_private},
    policies::{Narrator, Policies},
    presence, ranges,
    replica::{OpenError, ReplicaConfig, ReplicaHandle, holds_state},
    schedule::{Schedule, keep_taking},
    standing,
};
use sampan_api::{ApiError, dual::ClusterRanges};
use sampan_sandbox::{Compiler, PluginEngine};
use sampan_tls::{Credentials, Lifetimes};
use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Connections that have not ended by then are broken off.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// How many bytes the state may take where nobody says.
pub const QUOTA: u64 = 8 << 30;

/// The silence after which a node counts as lost where nobody says; Kubernetes' default was the same for long.
pub const NODE_GRACE: Duration = Duration::from_secs(40);

/// The server that a cluster begins with.
pub(crate) const FIRST_MEMBER: u64 = 1;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Its directory: the authority, the log, checkpoints.
    pub data: PathBuf,
    /// Where compiled plugins are kept; may be emptied at any time while it does not run.
    pub cache: PathBuf,
    pub listen: SocketAddr,
    /// The server's own name among the servers.
    pub name: String,
    /// Where other machines reach it, `HOST:PORT`; empty: as it listens.
    pub advertise: String,
    /// What it was told when it joined a cluster; none: the cluster is its own.
    pub enrolled: Option<Enrolled>,
    /// It goes on alone with what it has on disk: the other servers are lost.
    pub alone: bool,
    /// The range of the addresses of pods on this machine; empty: none run here.
    pub pod_cidr: String,
    /// The ranges that a new cluster is made with, and an old one must have. None: the usual ones for a new one, any for an old.
    pub ranges: Option<ClusterRanges>,
    /// Further names and addresses that clients call it by.
    pub names: Vec<String>,
    pub cluster_name: String,
    pub builtin_plugins: Vec<BuiltinPlugin>,
    /// How many bytes the state may take.
    pub quota_bytes: u64,
    /// The silence after which a node is written down as unknown.
    pub node_grace: Duration,
    /// How long events are kept.
    pub event_ttl: Duration,
    /// When snapshots are taken; none: only when somebody asks.
    pub snapshots: Option<Schedule>,
    /// What this program is.
    pub build: Build,
    /// How long the certificates live that it issues, its own among them.
    pub lifetimes: Lifetimes,
    /// Who compiles plugins.
    pub compiler: Compiler,
}

impl ServerConfig {
    /// With what is usual.
    pub fn new(data: PathBuf, cache: PathBuf, listen: SocketAddr) -> Self {
        ServerConfig {
            data,
            cache,
            listen,
            name: "server".to_owned(),
            advertise: String::new(),
            enrolled: None,
            alone: false,
            pod_cidr: String::new(),
            ranges: None,
            names: Vec::new(),
            cluster_name: "sampan".to_owned(),
            builtin_plugins: Vec::new(),
            quota_bytes: QUOTA,
            node_grace: NODE_GRACE,
            event_ttl: Duration::from_secs(60 * 60),
            snapshots: None,
            build: Build::this(),
            lifetimes: Lifetimes::default(),
            compiler: Compiler::default(),
        }
    }
}

/// A control plane that runs.
pub struct Server {
    address: SocketAddr,
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
        standing::check(&config.data, &config.build)?;
        if let Some(schedule) = &config.snapshots {
            private_dir(&schedule.dir).map_err(|source| StartError::NotWritable {
                path: schedule.dir.clone(),
                source,
            })?;
        }
        if config.alone && !holds_state(&config.data) {
            return Err(OpenError::NothingLeft(config.data).into());
        }
        // Whoever has the lock of the directory may write in it: the replica comes first.
        let joined = config.enrolled.as_ref();
        let cluster = match joined {
            Some(enrolled) => enrolled.cluster.clone(),
            None => cluster_id(&config.data, &config.cluster_name)?,
        };
        let post: Arc<OnceLock<Arc<Peers>>> = Arc::default();
        let posting = post.clone();
        let replica = ReplicaHandle::open_in_group(
            &ReplicaConfig {
                dir: config.data.clone(),
                cluster: cluster.clone(),
                member: joined.map_or(FIRST_MEMBER, |enrolled| enrolled.member),
                joins: joined.is_some(),
                alone: config.alone,
                quota_bytes: config.quota_bytes,
            },
            Box::new(move |message| {
                if let Some(peers) = posting.get() {
                    peers.post(message);
                }
            }),
        )?;
        match Self::start_on(config, cluster, replica.clone(), &post).await {
            Ok(server) => {
                bootstrap::arrived(&replica).await;
                Ok(server)
            }
            Err(error) => {
                replica.shutdown().await;
                Err(error)
            }
        }
    }

    async fn start_on(
        config: ServerConfig,
        cluster: String,
        replica: ReplicaHandle,
        post: &OnceLock<Arc<Peers>>,
    ) -> Result<Self, StartError> {
        let refused = |error: ApiError| StartError::TooOld(error.message);
        config.build.check(&replica.snapshot()).map_err(refused)?;
        let (listener, address) = bind(config.listen).await?;
        let authority = Authority::open(&config.data, &config.cluster_name)?.with_lifetimes(config.lifetimes);
        let authority = Arc::new(authority);
        let advertised = advertised(&config, address);
        let certificate = OwnCertificate::issue(&authority, &config.name, names(&config, address, &advertised))?;
        let credentials = certificate.credentials().clone();
        let peers = meet(&config, cluster, advertised, credentials.clone(), &replica);
        let _ = post.set(peers.clone());
        let closing = CancellationToken::new();
        let members = membership::keep(replica.clone(), peers.clone(), closing.clone());
        let renewer = certificate.renewer().clone();
        let mut tasks = vec![tokio::spawn(members), tokio::spawn(certificate.keep(closing.clone()))];
        // A group of many has a leader only when others are there, too: what it begins with is then written by who leads.
        if (config.enrolled.is_none() || config.alone) && replica.status().voters.len() == 1 {
            bootstrap(&replica, &config, peers.own())
                .await
                .map_err(StartError::Bootstrap)?;
            ranges::check_given(config.ranges, &replica.snapshot()).map_err(StartError::Ranges)?;
        }
        let engine = PluginEngine::compiled_by(config.compiler.clone(), Some(config.cache.join("wasm")))
            .map_err(|error| StartError::Engine(format!("{error:#}")))?;
        let narrator = Narrator::start(replica.clone(), "control-plane");
        let policies = Arc::new(Policies::start(replica.clone(), engine.clone(), &narrator));
        let front = Arc::new(Front {
            cluster_name: config.cluster_name.clone(),
            narrator,
            liveness: Arc::new(NodeLiveness::new(config.node_grace)),
            nodes: NodeClients::new(credentials.clone()),
            authority,
            credentials,
            renewer,
            peers,
            pages: Default::default(),
            serving: closing.child_token(),
            calls: Default::default(),
            closing: closing.clone(),
            data: config.data.clone(),
            build: config.build.clone(),
            replica: replica.clone(),
            policies,
            engine,
        });
        let again = duplicate(&listener).map_err(listen_error(address))?;
        let listening = match serve(front.clone(), listener).await {
            Ok(listening) => listening,
            Err(error) => {
                closing.cancel();
                tokio::join!(stop_policies(&front.policies), replica.shutdown());
                return Err(error.into());
            }
        };
        tasks.extend(watch_over(&front, &config));
        tasks.push(tokio::spawn(presence::say(
            replica.clone(),
            front.peers.clone(),
            config.build.clone(),
            closing.clone(),
        )));
        tasks.push(tokio::spawn(stand_down_when_lost(front.clone(), again)));
        tracing::info!(%address, cluster = config.cluster_name, "the control plane is ready");
        Ok(Server {
            address,
            front,
            listening,
            tasks,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The ranges of the cluster's addresses.
    pub fn ranges(&self) -> ClusterRanges {
        ranges::of(&self.front.replica.snapshot())
    }

    pub fn authority(&self) -> &Authority {
        &self.front.authority
    }

    /// Where other machines reach it, `HOST:PORT`.
    pub fn advertised(&self) -> &str {
        &self.front.peers.own().address
    }

    /// The replica behind it.
    pub fn replica(&self) -> &ReplicaHandle {
        &self.front.replica
    }

    /// Hands leadership over, says good-bye to clients, stops the policies, and closes the log after what it was asked to write.
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
        farewell::hand_over(&front.replica).await;
        farewell::answer_the_last(&front).await;
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

/// The way to the other servers.
fn meet(
    config: &ServerConfig,
    cluster: String,
    advertised: String,
    credentials: Arc<Credentials>,
    replica: &ReplicaHandle,
) -> Arc<Peers> {
    let own = Own {
        cluster,
        name: config.name.clone(),
        member: replica.status().member,
        address: advertised,
    };
    // What was said at the join counts until the state names somebody: who is no longer named must not be heard.
    let mut known = members(&replica.snapshot());
    if known.is_empty() && !config.alone {
        known = config
            .enrolled
            .iter()
            .flat_map(|enrolled| enrolled.peers.clone())
            .collect();
    }
    let peers = Peers::new(own, credentials, Book::new(known));
    peers.serve(replica.clone());
    peers
}

/// What goes on beside everything else until the server closes.
fn watch_over(front: &Arc<Front>, config: &ServerConfig) -> Vec<JoinHandle<()>> {
    let parts = || (front.liveness.clone(), front.replica.clone(), front.closing.clone());
    let (liveness, replica, closing) = parts();
    let watching = async move { liveness.watch_over(replica, closing).await };
    let ((liveness, replica, closing), peers) = (parts(), front.peers.clone());
    let telling = async move { liveness.hand_on(replica, peers, closing).await };
    let (_, replica, closing) = parts();
    let mut tasks = vec![
        tokio::spawn(watching),
        tokio::spawn(telling),
        tokio::spawn(expiry::forget_events(replica, config.event_ttl, closing)),
    ];
    let (_, replica, closing) = parts();
    tasks.push(tokio::spawn(builtins::keep(
        replica,
        config.builtin_plugins.clone(),
        config.build.clone(),
        closing,
    )));
    let (_, replica, closing) = parts();
    let narrator = front.narrator.of("ingress");
    tasks.push(tokio::spawn(ingresses::tell(replica, narrator, closing)));
    if let Some(schedule) = config.snapshots.clone() {
        let (_, replica, closing) = parts();
        let taking = keep_taking(replica, schedule, config.cluster_name.clone(), closing);
        tasks.push(tokio::spawn(taking));
    }
    tasks
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
            let id = backup::new_cluster(name);
            write_private(&path, id.as_bytes()).map_err(failed)?;
            Ok(id)
        }
    }
}

/// All that clients may call the server by.
fn names(config: &ServerConfig, address: SocketAddr, advertised: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(config.names.iter().cloned());
    if let Some((host, _)) = advertised.rsplit_once(':') {
        names.insert(host.trim_matches(['[', ']']).to_owned());
    }
    if !address.ip().is_unspecified() {
        names.insert(address.ip().to_string());
    }
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    if sampan_api::validate::is_name(&host) {
        names.insert(host);
    }
    names
}
