//! The front: who may ask, and the gRPC services that answer.
mod access;
mod certificates;
mod closed;
mod cluster;
mod gate;
mod joining;
mod listener;
mod liveness;
mod membership;
pub mod merge;
mod nodes;
mod objects;
mod pages;
mod plugins;
mod reach;
mod runtime;
mod snapshot;
mod status;
mod trace;

pub use closed::say_no_more;
pub use listener::{Listening, serve};
pub use liveness::NodeLiveness;
pub use objects::namespace;
pub use reach::NodeClients;

use crate::{
    features::Build,
    peers::Peers,
    pki::Authority,
    policies::{Narrator, Policies},
    replica::ReplicaHandle,
};
pub(crate) use gate::caller;
pub(crate) use joining::spec_of;
use pages::Pages;
use sampan_api::ApiError;
use sampan_sandbox::PluginEngine;
use sampan_tls::{Credentials, Renewer};
use std::{path::PathBuf, sync::Arc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;

/// What the services work with.
pub struct Front {
    pub cluster_name: String,
    pub replica: ReplicaHandle,
    pub policies: Arc<Policies>,
    pub engine: Arc<PluginEngine>,
    pub narrator: Narrator,
    pub liveness: Arc<NodeLiveness>,
    pub nodes: NodeClients,
    pub authority: Arc<Authority>,
    /// What this server shows, and who renews it.
    pub credentials: Arc<Credentials>,
    pub renewer: Renewer,
    pub peers: Arc<Peers>,
    /// Ends what would otherwise last for ever, watches and heartbeats, and all that clients are answered.
    pub serving: CancellationToken,
    /// Calls that are being answered.
    pub calls: TaskTracker,
    /// The server ends: servers do not hear each other any more.
    pub closing: CancellationToken,
    /// What this program is.
    pub build: Build,
    /// The server's directory.
    pub data: PathBuf,
    pub pages: Pages,
}

impl Front {
    /// A connection to the server that leads; none if it is this one.
    async fn leader(&self) -> Result<Option<Channel>, ApiError> {
        let status = self.replica.status();
        if status.leader == status.member {
            return Ok(None);
        }
        self.peers.channel(status.leader).await.map(Some)
    }
}

/// An answer in pieces.
type Pieces<T> = std::pin::Pin<Box<dyn futures::Stream<Item = Result<T, tonic::Status>> + Send>>;
