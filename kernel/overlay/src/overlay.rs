//! The overlay as its owner sees it: started, told who its peers are, asked how they are, stopped.
use crate::{
    cidr::Cidr,
    driver::{Driver, Order, Orders},
    mesh::{Mesh, OVERHEAD, Parts, Peer, Transport, payload},
    socket::Port,
    status::{Drops, PeerStatus},
    tun::Tun,
};
use sampan_tls::{Credentials, CredentialsError};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
};

/// The least that a path must carry: what QUIC asks for, and its headers.
pub const LEAST_MTU: u16 = 1280;

/// How a node takes part in the mesh.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, which its certificate says, too.
    pub name: String,
    /// The UDP port for everything between nodes.
    pub bind: SocketAddr,
    /// What is shown to peers, and whom they must be of.
    pub credentials: Arc<Credentials>,
    /// What the interface is called.
    pub tun: String,
    /// The addresses of this node's pods, and of itself towards peers: what it may send from, and is sent.
    pub ranges: Vec<Cidr>,
    /// The MTU of the network between nodes, at least [`LEAST_MTU`]. Paths that carry less are found out.
    pub mtu: u16,
}

/// Why an overlay does not start, or does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    #[error(
        "the overlay's port {address} cannot be bound: {source}; is another overlay running, or the address not this machine's?"
    )]
    Bind { address: SocketAddr, source: io::Error },
    #[error(
        "the interface \"{name}\" cannot be made: {source}; it takes root (CAP_NET_ADMIN), /dev/net/tun and a name that is free"
    )]
    Device { name: String, source: io::Error },
    #[error("an MTU of {0} is too small for the overlay: the network between nodes must carry {LEAST_MTU} bytes")]
    Mtu(u16),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("the overlay cannot be started: {0}")]
    System(io::Error),
    #[error("the overlay has ended; the log says why")]
    Ended,
}

/// A running overlay. It ends when it is dropped; the interface, and routes through it, vanish with it.
#[derive(Debug)]
pub struct Overlay {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
    mtu: u16,
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Orders")
    }
}

impl Overlay {
    /// Makes the interface and binds the port, both in the network namespace of the calling thread, and begins. The
    /// interface is down and without addresses and routes: these are the caller's to make, with [`Overlay::mtu`].
    ///
    /// # Errors
    /// What could not be made, and why.
    pub fn start(config: Config) -> Result<Self, OverlayError> {
        let Config {
            name,
            bind,
            credentials,
            tun,
            ranges,
            mtu,
        } = config;
        if mtu < LEAST_MTU {
            return Err(OverlayError::Mtu(mtu));
        }
        let longest = payload(mtu, bind.is_ipv6());
        let transport = Transport::new(&credentials, longest)?;
        let port = Port::bind(bind).map_err(|source| OverlayError::Bind { address: bind, source })?;
        let address = port.local_addr().map_err(OverlayError::System)?;
        let tun = Tun::make(&tun).map_err(|source| OverlayError::Device { name: tun, source })?;
        let mesh = Mesh::new(Parts {
            name,
            ranges,
            transport,
            joins_udp: tun.takes_udp(),
            discovers_mtu: !port.may_fragment(),
            seed: rand::random(),
        });
        let orders = Orders::new().map_err(OverlayError::System)?;
        let driver = Driver::new(mesh, port, tun, orders.clone());
        let thread = std::thread::Builder::new().name("overlay".to_owned());
        let thread = thread.spawn(|| driver.run()).map_err(OverlayError::System)?;
        Ok(Overlay {
            orders,
            thread: Some(thread),
            address,
            mtu: longest.saturating_sub(OVERHEAD),
        })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The MTU that the interface, or the routes through it, should have: what a path of the configured MTU carries.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Makes these the peers, and nobody else. Connections to those that stay go on. A range that was another peer's goes
    /// over without loss if nodes are told within two seconds of each other: for so long packets go on by the peer that had
    /// it, which is heard for it for ten seconds. Routes to [`Peer::ranges`] are the caller's to make.
    pub fn set_peers(&self, peers: Vec<Peer>) {
        self.orders.leave(Order::SetPeers(peers));
    }

    /// How the peers are that were set last, ordered by name. One that is only kept because others have taken over its
    /// ranges a moment ago is none of them.
    ///
    /// # Errors
    /// If the overlay has ended.
    pub fn peers(&self) -> Result<Vec<PeerStatus>, OverlayError> {
        self.ask(Order::Peers)
    }

    /// Packets that went nowhere and have to do with no peer.
    ///
    /// # Errors
    /// If the overlay has ended.
    pub fn drops(&self) -> Result<Drops, OverlayError> {
        self.ask(Order::Drops)
    }

    /// Listens on another address, or on the same once more after the machine's addresses have changed. Connections go
    /// on from there.
    ///
    /// # Errors
    /// If it cannot be bound. The overlay then listens where it can, and should be told another.
    pub fn rebind(&mut self, address: SocketAddr) -> Result<(), OverlayError> {
        let bound = self.ask(|answer| Order::Rebind(address, answer))?;
        self.address = bound.map_err(|source| OverlayError::Bind { address, source })?;
        Ok(())
    }

    /// Says farewell to the peers and ends.
    pub fn shutdown(self) {
        drop(self);
    }

    fn ask<T>(&self, order: impl FnOnce(Sender<T>) -> Order) -> Result<T, OverlayError> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(OverlayError::Ended);
        }
        let (sender, answer) = channel();
        self.orders.leave(order(sender));
        answer.recv().map_err(|_| OverlayError::Ended)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        self.orders.leave(Order::Leave);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the overlay's thread ended by itself");
        }
    }
}
