//! What the network is on this machine: the overlay's device and its peers, and the kernel's datapath.
use super::{host_ports::HostPort, peers::cidr};
use crate::{
    config::AgentConfig,
    datapath::{DatapathError, KernelDatapath, PodLink, Settings},
    net::{self, Addresses, Gateway, PodCidr, WireError},
};
use sampan_api::dual::{ClusterRanges, Dual};
use sampan_overlay::{Drops, Overlay, OverlayError, Peer, PeerStatus};
use sampan_sandbox::network::{Address, Datapath, FrontendKey, Op, PodKey, Range};
use sampan_tls::Credentials;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

/// A pod of this node that has a wire.
#[derive(Clone, Debug)]
pub struct LocalPod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// The node's end of its wire.
    pub interface: String,
    pub addresses: Addresses,
    pub host_ports: Vec<HostPort>,
}

impl LocalPod {
    pub fn key(&self) -> sampan_api::Key {
        sampan_api::Key::new("pods", &self.namespace, &self.name)
    }
}

/// Why the network is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error(transparent)]
    Gateway(#[from] WireError),
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// What is the network's own on this machine. What could not be had is done without, and said.
pub struct Ground {
    mesh: Mesh,
    kernel: Option<KernelDatapath>,
    pods: BTreeMap<String, LocalPod>,
    /// The kernel's datapath is not known to be what is wanted.
    stale: bool,
    pods_stale: bool,
    problems: Vec<String>,
}

/// The overlay, and what it is to be.
struct Mesh {
    config: sampan_overlay::Config,
    range: PodCidr,
    services: Dual,
    overlay: Option<Overlay>,
    peers: Vec<Peer>,
}

impl Mesh {
    fn start(&mut self) -> Result<(), GroundError> {
        let overlay = Overlay::start(self.config.clone())?;
        let gateway = Gateway {
            interface: self.config.tun.clone(),
            mtu: overlay.mtu().into(),
            range: self.range,
            services: self.services,
        };
        gateway.raise()?;
        // A port that was drawn stays.
        self.config.bind = overlay.local_addr();
        overlay.set_peers(self.peers.clone());
        self.overlay = Some(overlay);
        Ok(())
    }
}

impl Ground {
    /// Makes what there is to be made. Never fails: see [`Ground::problems`].
    pub fn start(config: &AgentConfig, range: PodCidr, credentials: Arc<Credentials>) -> Self {
        let owner = config.data.to_string_lossy();
        let tun = net::owned_name("so", &owner, "overlay");
        let mut mesh = Mesh {
            config: sampan_overlay::Config {
                name: config.name.clone(),
                bind: config.overlay,
                credentials,
                tun: tun.clone(),
                ranges: ranges_of(range.ranges()).into_iter().filter_map(cidr).collect(),
                mtu: u16::try_from(net::mtu()).unwrap_or(u16::MAX),
            },
            range,
            services: config.ranges.services,
            overlay: None,
            peers: Vec::new(),
        };
        let mut problems = Vec::new();
        if let Err(error) = mesh.start() {
            problems.push(error.to_string());
        }
        let tun = mesh.overlay.is_some().then_some(tun);
        let settings = settings(&owner, range, config.ranges, tun);
        let kernel = KernelDatapath::open(settings);
        let kernel = kernel.map_err(|error| problems.push(error.to_string())).ok();
        for problem in &problems {
            tracing::error!(problem, "the network of pods is not whole");
        }
        Ground {
            mesh,
            kernel,
            pods: BTreeMap::new(),
            stale: true,
            pods_stale: false,
            problems,
        }
    }

    /// What is lacking, for people.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Where the overlay listens.
    pub fn listens(&self) -> Option<SocketAddr> {
        self.mesh.overlay.as_ref().map(Overlay::local_addr)
    }

    /// Whether something is still to be brought into the kernel.
    pub fn is_behind(&self) -> bool {
        self.kernel.is_some() && (self.stale || self.pods_stale)
    }

    /// This node's addresses towards its pods.
    pub fn gateways(&self) -> Vec<IpAddr> {
        self.mesh.range.gateway().iter().collect()
    }

    /// The pods of this node that have a wire.
    pub fn pods(&self) -> impl Iterator<Item = &LocalPod> {
        self.pods.values()
    }

    pub fn pod_up(&mut self, pod: LocalPod) {
        self.pods.insert(pod.uid.clone(), pod);
        self.pods_stale = true;
    }

    pub fn pod_down(&mut self, uid: &str) {
        self.pods_stale |= self.pods.remove(uid).is_some();
    }

    /// When [`Ground::settle`] has something to do whatever is wanted.
    pub fn due(&self) -> Option<Instant> {
        self.kernel.as_ref().and_then(KernelDatapath::due)
    }

    /// Makes it so: all of `sum` where it is not known what there is, else only these operations.
    pub fn settle(&mut self, ops: &[Op], sum: impl FnOnce() -> Datapath) {
        let Some(kernel) = &mut self.kernel else { return };
        kernel.forget();
        if !self.stale && ops.is_empty() && !self.pods_stale {
            return;
        }
        let links = || links(self.pods.values());
        let done = match self.stale {
            true => kernel.replace(&sum(), &links()).map(drop),
            false => {
                let pods = match std::mem::take(&mut self.pods_stale) {
                    true => kernel.set_pods(&links()).map(drop),
                    false => Ok(()),
                };
                pods.and_then(|()| kernel.change(ops).map(drop))
            }
        };
        match done {
            Ok(()) => (self.stale, self.pods_stale) = (false, false),
            Err(error) => {
                tracing::error!(%error, "the datapath could not be changed: what was there before stays");
                self.stale = true;
            }
        }
    }

    pub fn set_peers(&mut self, peers: Vec<Peer>) {
        self.mesh.peers = peers;
        if let Some(overlay) = &self.mesh.overlay {
            overlay.set_peers(self.mesh.peers.clone());
        }
    }

    /// The peers, and how they are.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let peers = self.mesh.overlay.as_ref().map(Overlay::peers);
        peers.and_then(Result::ok).unwrap_or_default()
    }

    /// Packets that went nowhere and have to do with no peer.
    pub fn drops(&self) -> Drops {
        let drops = self.mesh.overlay.as_ref().map(Overlay::drops);
        drops.and_then(Result::ok).unwrap_or_default()
    }

    /// How many connections frontends have led to backends; none where the kernel does not say.
    pub fn connections(&mut self) -> BTreeMap<FrontendKey, u64> {
        let counted = self.kernel.as_mut().map(KernelDatapath::connections);
        let counted = counted
            .transpose()
            .inspect_err(|error| tracing::debug!(%error, "no figures"));
        counted.ok().flatten().unwrap_or_default()
    }

    /// Has the overlay go on from another address of this machine.
    pub fn moved(&mut self, address: IpAddr) {
        let Some(overlay) = &mut self.mesh.overlay else { return };
        let bound = overlay.local_addr();
        let to = match bound.ip().is_unspecified() {
            true => bound,
            false => SocketAddr::new(address, bound.port()),
        };
        match overlay.rebind(to) {
            Ok(()) => self.mesh.config.bind = to,
            Err(error) => tracing::error!(%error, "the overlay does not follow the machine's address"),
        }
    }

    /// Finds out whether somebody else has changed what is ours, and mends it.
    pub fn look(&mut self) {
        match self.kernel.as_mut().map(KernelDatapath::mend) {
            Some(Ok(done)) if done.mended => {
                tracing::warn!("somebody else had changed the datapath: it was made again")
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the datapath cannot be looked after");
                self.stale = true;
            }
            _ => {}
        }
        let ended = |overlay: &Overlay| matches!(overlay.drops(), Err(OverlayError::Ended));
        if self.mesh.overlay.as_ref().is_some_and(ended) {
            tracing::warn!("the overlay has ended: it is started again");
            self.mesh.overlay = None;
            if let Err(error) = self.mesh.start() {
                tracing::error!(%error, "the overlay cannot be started");
            }
            // Its routes went with the interface.
            self.stale = true;
        }
    }

    /// Leaves nothing behind.
    pub fn clear(&mut self) {
        if let Some(kernel) = self.kernel.take()
            && let Err(error) = kernel.clear()
        {
            tracing::warn!(%error, "the datapath cannot be cleared away");
        }
        if self.mesh.overlay.take().is_some() {
            Gateway::clear(self.mesh.range);
        }
    }
}

/// The datapath of the node of a directory.
fn settings(owner: &str, range: PodCidr, cluster: ClusterRanges, overlay_interface: Option<String>) -> Settings {
    Settings {
        table: net::owned_name("sampan-", owner, "table"),
        overlay_interface,
        pod_interface_prefix: net::pod_prefix(owner),
        pod_ranges: ranges_of(range.ranges()),
        cluster_ranges: ranges_of(cluster.pods),
        service_ranges: ranges_of(cluster.services),
        node_addresses: range.gateway().iter().collect(),
        ..Settings::default()
    }
}

/// Takes away what an agent that was killed has left of its network, if nobody is to find it again.
pub fn sweep(config: &AgentConfig) {
    if let Ok(range) = config.cidr()
        && !config.rootless
    {
        let owner = config.data.to_string_lossy();
        if let Ok(kernel) = KernelDatapath::open(settings(&owner, range, config.ranges, None)) {
            let _ = kernel.clear();
        }
        Gateway::clear(range);
    }
}

fn links<'a>(pods: impl Iterator<Item = &'a LocalPod>) -> BTreeMap<PodKey, PodLink> {
    let link = |pod: &LocalPod| {
        let key = PodKey {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
        };
        let link = PodLink {
            interface: pod.interface.clone(),
            addresses: pod.addresses.iter().collect(),
        };
        (key, link)
    };
    pods.map(link).collect()
}

/// Ranges as plugins are told them.
pub fn ranges_of(ranges: Dual) -> Vec<Range> {
    let one = |(base, prefix)| Range {
        address: Address::from(base),
        prefix,
    };
    ranges.iter().map(one).collect()
}
