//! The node's part of the cluster's network: plugins of the world `network` decide what the datapath is to be, and this node
//! makes it so.
//!
//! One thread, `worker`, has it all: the objects that the control plane tells of (`feed`, `objects`), the bounds that they set
//! (`limits`), the plugins (`fleet`, `slots`), and what is the network's own on this machine (`ground`): the overlay with its
//! peers, and the kernel's datapath. Plugins of the world `ingress` are asked beside, for what the `door` does with requests, and
//! the one of the world `ipam` is seated, which is asked by whoever brings up a pod.
//! What was wanted last is on disk (`kept`) for when no server is there.
//!
//! Invariants:
//! - a plugin that fails, or is not there, leaves what was wanted last;
//! - who takes a plugin's place changes what differs, and nothing else: flows that stand go on;
//! - a pod's containers start when what plugins want of it holds, or the plugins are late; they are given longer until
//!   there is a network at all.
pub mod comparing;
mod door;
mod failures;
mod feed;
mod figures;
mod filters;
mod fleet;
mod ground;
mod host_ports;
mod ipam;
mod kept;
mod limits;
mod objects;
mod peers;
mod planner;
mod retry;
mod slot;
mod slots;
pub mod trace;
mod turn;
mod worker;

pub use door::Places;
pub use ground::{LocalPod, sweep};
pub use host_ports::of as host_ports;

use crate::{
    config::AgentConfig,
    control::{ControlPlane, Writer},
    dns::{Dns, DnsConfig, IpNet},
    net::{AddressPool, Addresses, PodCidr},
    whereabouts::Whereabouts,
};
use comparing::{Comparer, Comparison};
use door::Door;
use feed::{Feeds, Services, Told};
use filters::Filtering;
use fleet::Fleet;
use ground::Ground;
use ipam::Ipam;
use k8s_openapi::api::core::v1::Service;
use kept::Keeper;
use limits::Limits;
use objects::Objects;
use parking_lot::Mutex;
use sampan_api::{dual::Dual, plugin::PluginSpec};
use sampan_overlay::PeerStatus;
use sampan_sandbox::{
    PluginEngine,
    ipam::Pod,
    network::{Datapath, Identity},
};
use sampan_tls::Credentials;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};
use trace::{At, Packet, Step};
use worker::{Input, Worker};

/// How long a pod waits for what plugins want of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long pods wait until plugins have said for the first time how the network is to be. The first start on a machine
/// compiles them.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);

/// The port of the cluster's DNS.
const DNS_PORT: u16 = 53;

/// What is there of the network before the control plane is asked for anything.
pub struct Prepared {
    ground: Ground,
    dns: Option<Arc<Dns>>,
    range: PodCidr,
}

/// The running network.
pub struct Network {
    inputs: Sender<Input>,
    thread: Mutex<Option<JoinHandle<()>>>,
    comparer: Comparer,
    ipam: Arc<Ipam>,
    services: Arc<Services>,
    dns: Option<Arc<Dns>>,
    synced: watch::Receiver<bool>,
    /// Whether plugins have said how the network is to be, now or before the last start.
    established: watch::Receiver<bool>,
}

impl Prepared {
    /// Makes the overlay, the datapath and the DNS, as far as they can be had. Blocks for some milliseconds; call within a
    /// tokio runtime.
    pub fn make(config: &AgentConfig, range: PodCidr, credentials: Arc<Credentials>) -> Self {
        let ground = Ground::start(config, range, credentials);
        let listens = range.gateway().iter().map(|address| SocketAddr::new(address, DNS_PORT));
        let mut wanted = DnsConfig::new(listens.collect());
        let all = [range.ranges(), config.ranges.pods, config.ranges.services];
        wanted.ranges = all.into_iter().flat_map(Dual::iter).map(net_of).collect();
        wanted.keep = Some(config.data.join("dns.json"));
        let dns = Dns::start(wanted);
        let dns = dns.map_err(|error| tracing::error!(%error, "this node has no DNS for pods"));
        Prepared {
            ground,
            dns: dns.ok().map(Arc::new),
            range,
        }
    }

    /// Where the overlay listens, and what is lacking.
    pub fn listens(&self) -> Option<SocketAddr> {
        self.ground.listens()
    }

    pub fn problems(&self) -> &[String] {
        self.ground.problems()
    }

    /// Where pods ask for names.
    pub fn dns(&self) -> Option<IpAddr> {
        self.dns.as_ref().map(|_| self.range.gateway().v4.into())
    }

    /// Follows the control plane from now on. Nothing changes in the kernel before [`Network::adopted`].
    ///
    /// # Errors
    /// If this machine cannot run plugins.
    pub fn start(
        self,
        config: &AgentConfig,
        plane: &ControlPlane,
        writer: &Writer,
        whereabouts: &Whereabouts,
        pool: &Arc<Mutex<AddressPool>>,
    ) -> Result<Network, String> {
        let engine = PluginEngine::compiled_by(config.compiler.clone(), Some(config.cache.clone()));
        let engine = engine.map_err(|error| error.to_string())?;
        let (inputs, receiver) = channel();
        let comparer = Comparer::new(engine.clone(), plane.clone(), inputs.clone());
        let ipam = Arc::new(Ipam::new(&config.name, self.range, pool.clone(), inputs.clone()));
        let services = Arc::new(Services::default());
        let dns = self.dns.clone();
        let (synced, told) = watch::channel(false);
        let feeds = Feeds::start(
            plane.clone(),
            Told {
                inputs: inputs.clone(),
                dns: self.dns,
                services: services.clone(),
                synced,
            },
        );
        let file = config.data.join("network.json");
        let (slots, ingresses, peers) = kept::restore(&file);
        let (establishes, established) = watch::channel(slots.sums().next().is_some());
        let limits = Limits::new(&config.name, config.ranges.services);
        let filtering = Filtering::new(
            plane.clone(),
            writer.clone(),
            config.compiler.clone(),
            config.cache.clone(),
        );
        let worker = Worker {
            me: Identity {
                node: config.name.clone(),
                pod_ranges: ground::ranges_of(self.range.ranges()),
                service_ranges: limits.bounds().service_ranges.clone(),
            },
            cluster: ground::ranges_of(config.ranges.pods),
            inputs: receiver,
            objects: Objects::default(),
            limits,
            fleet: Fleet::new(engine, plane.clone(), Handle::current(), inputs.clone()),
            slots,
            ingresses,
            ipam: ipam.clone(),
            door: Door::new(&config.ingress, whereabouts, plane, filtering.filters()),
            filtering,
            resuming: true,
            host_ports: Datapath::default(),
            feeds,
            ground: self.ground,
            peers,
            keeper: Keeper::new(file),
            tell: failures::tell(writer.clone()),
            failures: BTreeMap::new(),
            waiting: Vec::new(),
            looks: Vec::new(),
            established: establishes,
            adopting: true,
        };
        tell_moves(whereabouts.changes(), inputs.clone());
        let thread = std::thread::Builder::new().name("network".to_owned());
        let thread = thread.spawn(|| worker.run()).map_err(|error| error.to_string())?;
        Ok(Network {
            inputs,
            thread: Mutex::new(Some(thread)),
            comparer,
            ipam,
            services,
            dns,
            synced: told,
            established,
        })
    }
}

/// Tells the worker of this node's new addresses.
fn tell_moves(mut address: watch::Receiver<IpAddr>, inputs: Sender<Input>) {
    tokio::spawn(async move {
        while address.changed().await.is_ok() {
            let to = *address.borrow_and_update();
            if inputs.send(Input::Moved(to)).is_err() {
                return;
            }
        }
    });
}

impl Network {
    /// The addresses of a pod: those that it has, or new ones.
    ///
    /// # Errors
    /// In words for people: none is free, or the plugin that gives them says so.
    pub async fn claim(&self, pod: Pod) -> Result<Addresses, String> {
        self.ipam.clone().claim(pod, self.patience()).await
    }

    /// A pod needs its addresses no more.
    pub async fn release(&self, uid: &str) {
        self.ipam.clone().release(uid.to_owned()).await;
    }

    /// A pod that was here before.
    pub fn found(&self, pod: LocalPod, claimed: Pod) {
        self.ipam.found(claimed, pod.addresses.v4);
        let _ = self.inputs.send(Input::PodUp { pod, ready: None });
    }

    /// All pods that were here before are known again.
    pub fn adopted(&self) {
        let _ = self.inputs.send(Input::Adopted);
    }

    /// A pod has its wire. Returns when what plugins want of it holds, or they take too long.
    pub async fn pod_up(&self, pod: LocalPod) {
        let (ready, wait) = oneshot::channel();
        let name = pod.name.clone();
        let up = Input::PodUp {
            pod,
            ready: Some(ready),
        };
        if self.inputs.send(up).is_ok() && tokio::time::timeout(self.patience(), wait).await.is_err() {
            tracing::warn!(
                pod = name,
                "the network's plugins are late: the pod starts without their rules"
            );
        }
    }

    /// How long a pod waits for plugins.
    fn patience(&self) -> Duration {
        match *self.established.borrow() {
            true => PATIENCE,
            false => FIRST_PATIENCE,
        }
    }

    pub fn pod_down(&self, uid: &str) {
        let _ = self.inputs.send(Input::PodDown { uid: uid.to_owned() });
    }

    /// The other nodes, as the overlay knows them.
    pub async fn peers(&self) -> Vec<PeerStatus> {
        let (answer, wait) = oneshot::channel();
        let _ = self.inputs.send(Input::Peers(answer));
        wait.await.unwrap_or_default()
    }

    /// All figures of it, in Prometheus' text format.
    pub async fn figures(&self) -> String {
        let (answer, wait) = oneshot::channel();
        let _ = self.inputs.send(Input::Figures(answer));
        let figures = wait.await.unwrap_or_default();
        let dns = self.dns.as_ref().map(|dns| dns.figures()).unwrap_or_default();
        figures.text(&dns)
    }

    /// What a plugin would change here if it took its slot now, with so many rows at the most. Nothing is changed.
    ///
    /// # Errors
    /// Why nothing could be compared.
    pub async fn compare(&self, spec: &PluginSpec, most: usize) -> Result<Comparison, String> {
        self.comparer.compare(spec, most).await
    }

    /// The way of a packet from here on.
    pub async fn trace(&self, packet: Packet, at: At) -> Vec<Step> {
        let (answer, wait) = oneshot::channel();
        let _ = self.inputs.send(Input::Trace { packet, at, answer });
        wait.await.unwrap_or_default()
    }

    /// The Services that the pods of a namespace are told of. Waits a while for the control plane after a start.
    pub async fn services(&self, namespace: &str) -> Vec<Service> {
        let mut synced = self.synced.clone();
        let _ = tokio::time::timeout(PATIENCE, synced.wait_for(|synced| *synced)).await;
        self.services.of(namespace)
    }

    /// Ends it; with `clear` nothing of it is left on this machine. Blocks for some milliseconds.
    pub fn shutdown(&self, clear: bool) {
        let _ = self.inputs.send(Input::Stop { clear });
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the network's thread had panicked");
        }
    }
}

fn net_of((base, prefix): (IpAddr, u8)) -> IpNet {
    IpNet::new_assert(base, prefix)
}
