//! The cluster's DNS, on every node: it answers for Services, their endpoints and pods out of memory, and asks the node's
//! own name servers for everything else.
//!
//! To have it, [`Dns::start`] it once and tell it what there is: [`Dns::changed`] and [`Dns::gone`] for each Service and
//! EndpointSlice of the whole cluster as a watch tells of them, and [`Dns::synced`] when all that there is was told. Other
//! objects are nothing to it, so one stream may bring them all. Nothing need be told in any order, and what was told stays
//! while no server is there, over a restart of the agent too.
//!
//! Inside: [`zone`] is data and answers without I/O; `message` reads and writes packets; `respond` joins the two; `forward`
//! asks others; `serve` has the sockets; `kept` the file.
mod figures;
mod forward;
mod kept;
mod message;
mod respond;
mod serve;
#[cfg(test)]
mod tests;
pub mod zone;

pub use forward::Upstream;
pub use ipnet::IpNet;

use figures::Figures;
use forward::Forwarder;
use parking_lot::RwLock;
use respond::Responder;
use sampan_api::{Key, Object};
use serve::Sockets;
use std::{collections::HashSet, io, net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{sync::Notify, task::JoinHandle};
use zone::{Fed, Zone, ZoneSettings};

/// How the DNS is to be.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// The cluster's domain.
    pub domain: String,
    /// Where it is served, by UDP and TCP: port 53 of the node's address towards its pods. An address may be none of the
    /// node's yet. No wildcard: an answer would come from another address than was asked.
    pub listen: Vec<SocketAddr>,
    /// Who is asked for all other names.
    pub upstream: Upstream,
    /// The ranges of pods' and Services' addresses in the whole cluster: whose names, backwards, are asked of nobody else.
    pub ranges: Vec<IpNet>,
    /// The file that it keeps what it was told in, in a directory of the node. None: it starts without names.
    pub keep: Option<PathBuf>,
}

impl DnsConfig {
    /// With the domain `cluster.local`, the node's own name servers, no ranges, and no file.
    pub fn new(listen: Vec<SocketAddr>) -> Self {
        DnsConfig {
            domain: crate::net::CLUSTER_DOMAIN.to_owned(),
            listen,
            upstream: Upstream::ResolvConf(PathBuf::from("/etc/resolv.conf")),
            ranges: Vec::new(),
            keep: None,
        }
    }
}

/// Why there is no DNS.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("{0}")]
    Domain(String),
    #[error(
        "DNS cannot listen on {address}: {source}: if another name server has that port on all addresses, let it keep to \
         its own"
    )]
    Listen { address: SocketAddr, source: io::Error },
}

/// The running DNS. It ends when this is dropped.
pub struct Dns {
    responder: Arc<Responder>,
    addresses: Vec<SocketAddr>,
    changes: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
}

impl Dns {
    /// Starts it, with the names that the one before it knew. Call within a tokio runtime. Blocks for the time that the file
    /// takes to be read.
    ///
    /// # Errors
    /// If the domain is none, or an address cannot be had.
    pub fn start(config: DnsConfig) -> Result<Dns, DnsError> {
        let settings = |addresses: &[SocketAddr]| ZoneSettings {
            domain: config.domain.clone(),
            ranges: config.ranges.clone(),
            servers: addresses.iter().map(SocketAddr::ip).collect(),
        };
        let mut sockets = Vec::new();
        for address in &config.listen {
            let address = *address;
            sockets.push(Sockets::bind(address).map_err(|source| DnsError::Listen { address, source })?);
        }
        let addresses: Vec<SocketAddr> = sockets.iter().map(|sockets| sockets.address).collect();
        let mut zone = Zone::new(settings(&addresses)).map_err(DnsError::Domain)?;
        if let Some(path) = &config.keep {
            kept::restore(path, &config.domain, &mut zone);
        }
        let figures = Arc::new(Figures::default());
        let forwarder = Forwarder::new(config.upstream, addresses.clone(), figures.clone());
        let responder = Arc::new(Responder {
            zone: RwLock::new(zone),
            forwarder: Arc::new(forwarder),
            figures,
        });
        let changes = Arc::new(Notify::new());
        let mut tasks: Vec<JoinHandle<()>> = sockets
            .into_iter()
            .map(|sockets| tokio::spawn(sockets.serve(responder.clone())))
            .collect();
        if let Some(path) = config.keep {
            let keep = kept::keep(path, config.domain, responder.clone(), changes.clone());
            tasks.push(tokio::spawn(keep));
        }
        Ok(Dns {
            responder,
            addresses,
            changes,
            tasks,
        })
    }

    /// Where it is served.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// An object is new, or other than before.
    pub fn changed(&self, object: &Object) {
        if let Err(error) = self.responder.zone.write().changed(object) {
            tracing::warn!(object = object.metadata.name, %error, "DNS does not understand an object");
        }
        self.changes.notify_one();
    }

    /// An object is no more.
    pub fn gone(&self, key: &Key) {
        self.responder.zone.write().gone(key);
        self.changes.notify_one();
    }

    /// All objects of a resource (`services`, `endpointslices.discovery.k8s.io`) were told of, and these are their uids:
    /// what else is known is gone.
    pub fn synced(&self, resource: &str, uids: &HashSet<String>) {
        self.responder.zone.write().retain(resource, uids);
        self.changes.notify_one();
    }

    /// All that it was told, to [`Dns::restore`] it.
    pub fn snapshot(&self) -> Fed {
        self.responder.zone.read().fed()
    }

    /// Takes in what another was told.
    pub fn restore(&self, fed: Fed) {
        self.responder.zone.write().feed(fed);
        self.changes.notify_one();
    }

    /// Counters since the start, with the names and labels that Prometheus has for them.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        self.responder.figures.all()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
