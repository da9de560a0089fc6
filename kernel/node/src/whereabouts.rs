//! Where this node is on the network between machines, and that it is elsewhere when its address was changed: the overlay, the
//! node's object and whoever listens follow it there.
use crate::{config::AgentConfig, control::ControlPlane, net};
use parking_lot::Mutex;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// How often it is looked whether the address is still this machine's.
const LOOK: Duration = Duration::from_secs(1);

/// The node's address; copies share it.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    address: watch::Sender<IpAddr>,
    /// An address that others know this machine by, and that it does not have itself, is left as it was given.
    follows: bool,
    /// With root and in a cluster of both families: the node has an address of each, if the machine does.
    is_dual: bool,
    /// The address of IPv6 that goes with one of IPv4.
    beside: Arc<Mutex<Option<(IpAddr, IpAddr)>>>,
}

impl Whereabouts {
    pub fn new(config: &AgentConfig) -> Self {
        let listens = config.listen.ip();
        let address = config.node_address();
        Whereabouts {
            address: watch::Sender::new(address),
            is_dual: config.ranges.is_dual() && !config.rootless,
            beside: Arc::default(),
            follows: listens == address && !address.is_loopback() && is_own(address),
        }
    }

    pub fn now(&self) -> IpAddr {
        *self.address.borrow()
    }

    /// All addresses by which others know the node, the primary one first.
    pub fn all(&self) -> Vec<IpAddr> {
        let now = self.now();
        if !self.is_dual {
            return vec![now];
        }
        let mut known = self.beside.lock();
        if known.is_none_or(|(of, _)| of != now) {
            *known = net::beside(now).map(|beside| (now, beside));
        }
        [now].into_iter().chain(known.map(|(_, beside)| beside)).collect()
    }

    /// The same as texts.
    pub fn texts(&self) -> Vec<String> {
        self.all().iter().map(IpAddr::to_string).collect()
    }

    /// Told of each change.
    pub fn changes(&self) -> watch::Receiver<IpAddr> {
        self.address.subscribe()
    }

    /// Looks for ever. An address that was taken away is followed by the one that leads to the control plane.
    pub async fn follow(self, plane: ControlPlane) {
        if !self.follows {
            return;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            let before = self.now();
            if is_own(before) {
                continue;
            }
            let Some(address) = plane.servers().all().iter().find_map(|server| way_to(server)) else {
                continue;
            };
            tracing::warn!(%before, %address, "this machine has another address: the node follows it");
            // What was said from the old one gets no answer.
            plane.hang_up();
            self.address.send_replace(address);
        }
    }
}

/// Whether this machine has an address.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// This machine's address on the way to a server, by number. Nothing is sent.
fn way_to(server: &str) -> Option<IpAddr> {
    let server: SocketAddr = server.parse().ok()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(server).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
