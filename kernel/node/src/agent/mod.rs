//! The agent: all of the node's parts put together, started and ended.
mod act;
mod admission;
mod adopt;
mod directory;
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
use parking_lot::Mutex;
use record::Records;
use sampan_api::rpc;
use sampan_container::{ImageError, Store};
use sampan_tls::{Asks, Credentials, CredentialsError, KeyPair, renewer};
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
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
        directory::make(&config)?;
        let (lock, store) = directory::claim(&config.data).await?;
        let (listener, serves) = listen(config.listen).await?;
        let metrics = futures::future::OptionFuture::from(config.metrics.map(listen))
            .await
            .transpose()?;
        let credentials = shown(&config)?;
        let plane = ControlPlane::new(&config.server, credentials.clone())?;
        let (renewer, asks) = renewer();
        // Without root pods are on the loopback.
        let own = (!config.rootless).then_some(cidr);
        let network = own.map(|cidr| Prepared::make(&config, cidr, credentials.clone()));
        let whereabouts = Whereabouts::new(&config);
        let identity = Identity::look(&config, serves, network.as_ref());
        let (inputs, receiver) = mpsc::unbounded_channel();
        let writer = Writer::start(plane.clone(), &config.name, host::unix_millis());
        let dns = net::ClusterDns {
            server: network.as_ref().and_then(Prepared::dns),
            ..net::ClusterDns::default()
        };
        let addresses = Arc::new(Mutex::new(AddressPool::new(own)));
        let network = network.map(|network| network.start(&config, &plane, &writer, &whereabouts, &addresses));
        let node = Arc::new(Node {
            images: Images::new(store, &config),
            addresses,
            writer,
            records: records(&config)?,
            views: view::Views::default(),
            clock: Clock::new(),
            mtu: net::mtu(),
            oom_floor: host::oom_floor(),
            gateway: own.map_or_else(|| Ipv4Addr::LOCALHOST.into(), PodCidr::gateway),
            dns,
            network: network.transpose().map_err(StartError::Config)?,
            kept: Mutex::default(),
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
            directory::clear(&self.node.config);
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

fn records(config: &AgentConfig) -> Result<Records, StartError> {
    Records::start().map_err(|source| StartError::Io {
        path: config.data.clone(),
        source,
    })
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
