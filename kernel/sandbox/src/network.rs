//! Plugins of the world `network`.
mod address;
mod bounds;
mod check;
mod datapath;

pub use bounds::{Bounds, NodeBounds};
pub use check::check;
pub use datapath::Datapath;

use crate::{instance::world, planning::planning};

pub(crate) mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/network"],
        world: "sampan:network/network",
        additional_derives: [PartialEq, Eq, PartialOrd, Ord, Hash, Clone, serde::Serialize, serde::Deserialize],
    });
}

pub use bindings::sampan::network::types::{
    Address, Backend, Delta, Destination, Entry, EntryKey, Fallback, Family, Frontend, FrontendKey, Identity, Key,
    Object, Op, PeerSet, PodKey, PodRules, Pool, Ports, Protocol, Range, Route, Rule, Scope, Table,
};

pub(crate) use bindings::Network as NetworkWorld;

world!(Network, NetworkPre, (), |_| Ok(()));

planning!(
    /// An instance of a network plugin; its operations add up to a [`Datapath`].
    NetworkPlugin,
    Network,
    sampan_network_policy,
    Datapath
);
