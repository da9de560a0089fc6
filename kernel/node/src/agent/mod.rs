//! The agent: all of the node's parts put together, started and ended.
mod act;
mod admission;
mod adopt;
mod making;
mod node;
mod record;
mod sandbox;
mod start;
mod table;
mod view;
pub mod wasm;

pub use node::Node;
pub use view::{ContainerView, View};

use crate::{
    config::AgentConfig,
    control::{ControlPlane, Identity, Writer, follow, keep_certificate, keep_registered},
    host::{self, Clock},
    images::Images,
    metrics,
    net::{self, AddressPool, PodCidr},
    network::Prepared,
    serve,
    whereabouts::Whereabouts,
};
use sampan_api::rpc;
use sampan_container::{ImageError, Store};
use sampan_tls::{Asks, Credentials, CredentialsError, KeyPair, renewer};
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use table::{Input, Table};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("another agent has {}", .0.display())]
    Busy(PathBuf),
    #[error("{0}")]
    Config(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the node's image store: {0}")]
    Images(#[from] ImageError),
    #[error("the node's certificate: {0}")]
    Certificate(#[from] CredentialsError),
}

/// A running agent.
pub struct Agent {
    node: Arc<Node>,
    serves: SocketAddr,
    registered: watch::Receiver<bool>,
    tasks: Vec<JoinHandle<()>>,
    table: JoinHandle<()>,
    /// Held while the agent lives.
    _lock: fs::File,
}

impl Agent {
    /// Starts an agent: finds its pods again, serves, and from then on does what the control plane says, as soon as that
    /// can be reached. Call within a tokio runtime that a TLS provider was installed for.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: AgentConfig) -> Result<Agent, StartError> {
        let cidr = pod_range(&config)?;
        make_dirs(&config)?;
        let (lock, store) = claim(&config.data).await?;
        let (listener, serves) = listen(config.listen).await?;
        let metrics = futures::future::OptionFuture::from(config.metrics.map(listen))
            .await
            .transpose()?;
        let credentials = shown(&config)?;
        let plane = ControlPlane::new(&config.server, credentials.clone())?;
        let (renewer, asks) = renewer();
        let network = (!config.rootless).then(|| Prepared::make(&config, cidr, credentials.clone()));
        let whereabouts = Whereabouts::new(&config);
        let identity = Identity::look(&config, serves, network.as_ref());
        let (inputs, receiver) = mpsc::unbounded_channel();
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| StartError::Io { path, source }
        };
        let writer = Writer::start(plane.clone(), &config.name, host::unix_millis());
        let dns = net::ClusterDns {
            server: network.as_ref().and_then(Prepared::dns),
            ..net::ClusterDns::default()
        };
        let addresses = AddressPool::new((!config.rootless).then_some(cidr));
        let addresses = Arc::new(parking_lot::Mutex::new(addresses));
        let network = network.map(|network| network.start(&config, &plane, &writer, &whereabouts, &addresses));
        let node = Arc::new(Node {
            images: Images::new(store, &config),
            addresses,
            writer,
            records: record::Records::start().map_err(io_error(&config.data))?,
            views: view::Views::default(),
            clock: Clock::new(),
            mtu: net::mtu(),
            oom_floor: host::oom_floor(),
            gateway: if config.rootless {
                Ipv4Addr::LOCALHOST.into()
            } else {
                cidr.gateway()
            },
            dns,
            network: network.transpose().map_err(StartError::Config)?,
            kept: parking_lot::Mutex::default(),
            plane: plane.clone(),
            credentials: credentials.clone(),
            renewer,
            identity,
            whereabouts,
            inputs,
            config,
        });
        let pods = adopt::adopt(&node).await;
        if let Some(network) = &node.network {
            network.adopted();
        }
        tokio::spawn(collect(node.clone()));
        let table = tokio::spawn(Table::new(node.clone(), receiver, pods).run());
        let (ready, registered) = watch::channel(false);
        let mut tasks = converse(&node, asks, ready);
        let serving = serve::serve(node.clone(), listener)?;
        tasks.push(tokio::spawn(serving.follow(node.whereabouts.changes())));
        tasks.extend(metrics.map(|(listener, _)| tokio::spawn(metrics::serve(node.clone(), listener))));
        Ok(Agent {
            node,
            serves,
            registered,
            tasks,
            table,
            _lock: lock,
        })
    }

    /// Waits until the control plane has the node's object. For ever, if it cannot be reached.
    pub async fn registered(&self) {
        let mut registered = self.registered.clone();
        // An error says that the agent is being ended.
        let _ = registered.wait_for(|registered| *registered).await;
    }

    /// Where it serves logs and images.
    pub fn serves(&self) -> SocketAddr {
        self.serves
    }

    /// The node's images.
    pub fn images(&self) -> &Store {
        &self.node.images.store
    }

    /// Ends the agent. With `stop_pods` all pods are ended first, and nothing of them is left on the machine; their
    /// objects stay, and they are started again by the next agent. Without, they run on and the next agent finds them.
    pub async fn shutdown(mut self, stop_pods: bool) {
        for task in &self.tasks {
            task.abort();
        }
        if stop_pods {
            let grace = self.node.config.shutdown_grace;
            let (done, wait) = oneshot::channel();
            let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            let _ = self.node.inputs.send(Input::LetGo { grace: millis, done });
            if tokio::time::timeout(grace + Duration::from_secs(30), wait)
                .await
                .is_err()
            {
                tracing::warn!("some pods did not end in time; the next agent clears them away");
            }
        }
        self.node.writer.flush(Duration::from_millis(500)).await;
        self.node.records.barrier().await;
        self.table.abort();
        let _ = (&mut self.table).await;
        if let Some(network) = &self.node.network {
            network.shutdown(stop_pods);
        }
        if stop_pods {
            clear(&self.node.config);
        }
    }
}

/// As if it had been killed: its pods run on.
impl Drop for Agent {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.table.abort();
        if let Some(network) = &self.node.network {
            network.shutdown(false);
        }
    }
}

fn make_dirs(config: &AgentConfig) -> Result<(), StartError> {
    for dir in [&config.data, &config.pods_dir(), &config.cache] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| StartError::Io {
            path: dir.clone(),
            source,
        })?;
    }
    Ok(())
}

/// The range of its pods' addresses.
fn pod_range(config: &AgentConfig) -> Result<PodCidr, StartError> {
    let range = config.cidr().map_err(StartError::Config)?;
    config.ranges.admits(range.ranges()).map_err(StartError::Config)?;
    if !config.rootless {
        if range.ranges().is_dual() {
            net::has_ipv6().map_err(StartError::Config)?;
        }
        net::apart_from_host(range, config.ranges.services).map_err(StartError::Config)?;
    }
    Ok(range)
}

/// What is done with the control plane all the time.
fn converse(node: &Arc<Node>, asks: Asks, ready: watch::Sender<bool>) -> Vec<JoinHandle<()>> {
    let (plane, config) = (node.plane.clone(), node.config.clone());
    let whereabouts = &node.whereabouts;
    vec![
        tokio::spawn(follow_pods(plane.clone(), config.name.clone(), node.inputs.clone())),
        tokio::spawn(keep_registered(
            plane.clone(),
            node.identity.clone(),
            whereabouts.clone(),
            ready,
        )),
        tokio::spawn(whereabouts.clone().follow(plane.clone())),
        tokio::spawn(keep_certificate(plane, node.credentials.clone(), config, asks)),
    ]
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let serves = listener.local_addr().map_err(failed)?;
    Ok((listener, serves))
}

/// What the node shows at first.
fn shown(config: &AgentConfig) -> Result<Arc<Credentials>, CredentialsError> {
    let own = KeyPair {
        cert_pem: config.cert_pem.clone(),
        key_pem: config.key_pem.clone(),
    };
    Credentials::new(&config.ca_pem, &own)
}

/// Frees what pulls left that were broken off, and what no name keeps any more.
async fn collect(node: Arc<Node>) {
    match node.images.store.collect(&node.images.used()).await {
        Ok(removed) if removed.freed_bytes > 0 => {
            tracing::info!(bytes = removed.freed_bytes, "images that nothing uses were removed");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot remove images that nothing uses"),
    }
}

async fn follow_pods(plane: ControlPlane, node: String, inputs: mpsc::UnboundedSender<Input>) {
    let (changes, mut receiver) = mpsc::channel(64);
    let selection = rpc::Selection {
        resource: "pods".to_owned(),
        field_selector: format!("spec.nodeName={node}"),
        ..rpc::Selection::default()
    };
    let pass_on = async {
        while let Some(change) = receiver.recv().await {
            if inputs.send(Input::Change(change)).is_err() {
                return;
            }
        }
    };
    tokio::join!(follow(plane, selection, changes), pass_on);
}

/// The node's directory and its image store, for this agent alone. An agent that was just ended lets go of them a moment
/// later.
async fn claim(data: &Path) -> Result<(fs::File, Store), StartError> {
    let data = data.to_owned();
    let open = move || {
        let mut tries = 0..40;
        loop {
            let claimed = lock(&data).and_then(|lock| Ok((lock, Store::open(data.join("images"))?)));
            match claimed {
                Err(StartError::Busy(_) | StartError::Images(ImageError::Busy { .. })) if tries.next().is_some() => {
                    std::thread::sleep(Duration::from_millis(25));
                }
                result => return result,
            }
        }
    };
    tokio::task::spawn_blocking(open)
        .await
        .map_err(|error| StartError::Config(error.to_string()))?
}

fn lock(data: &Path) -> Result<fs::File, StartError> {
    let path = data.join("lock");
    let open = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = open.map_err(|source| StartError::Io { path, source })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::Busy(data.to_owned())),
        Err(error) => Err(StartError::Io {
            path: data.to_owned(),
            source: error.into(),
        }),
    }
}

/// What no pod needs any more, where there is none: empty directories and empty cgroups.
fn clear(config: &AgentConfig) {
    for entry in fs::read_dir(config.pods_dir()).into_iter().flatten().flatten() {
        // Emptied by now, or about to be by the task that forgets the pod.
        let _ = fs::remove_dir_all(entry.path());
    }
    if config.rootless {
        return;
    }
    let root = Path::new("/sys/fs/cgroup");
    let _ = fs::remove_dir(root.join(&config.cgroup));
    for hierarchy in fs::read_dir(root).into_iter().flatten().flatten() {
        // The kernel lets go of empty ones only.
        let _ = fs::remove_dir(hierarchy.path().join(&config.cgroup));
    }
}
