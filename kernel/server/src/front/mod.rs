//! The front: who may ask, and the gRPC services that answer.
mod access;
mod cluster;
mod gate;
mod listener;
mod liveness;
pub mod merge;
mod nodes;
mod objects;
mod pages;
mod plugins;
mod reach;
mod runtime;

pub use listener::{Listening, serve};
pub use liveness::NodeLiveness;
pub use objects::namespace;
pub use reach::NodeClients;

use crate::{
    policies::{Narrator, Policies},
    replica::ReplicaHandle,
};
use gate::caller;
use pages::Pages;
use sampan_sandbox::PluginEngine;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the services work with.
pub struct Front {
    pub cluster_name: String,
    pub replica: ReplicaHandle,
    pub policies: Arc<Policies>,
    pub engine: Arc<PluginEngine>,
    pub narrator: Narrator,
    pub liveness: Arc<NodeLiveness>,
    pub nodes: NodeClients,
    /// Ends what would otherwise last for ever: watches and heartbeats.
    pub closing: CancellationToken,
    pub pages: Pages,
}

/// An answer in pieces.
type Pieces<T> = std::pin::Pin<Box<dyn futures::Stream<Item = Result<T, tonic::Status>> + Send>>;
