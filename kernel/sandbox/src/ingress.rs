//! Plugins of the world `ingress`.
mod bounds;
mod check;
mod routing;

pub use bounds::Bounds;
pub use check::check;
pub use routing::Routing;

use crate::{instance::world, planning::planning};

pub(crate) mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/network", "../../wit/ingress"],
        world: "sampan:ingress/ingress",
        additional_derives: [PartialEq, Eq, PartialOrd, Ord, Hash, Clone, serde::Serialize, serde::Deserialize],
        with: { "sampan:network/types": crate::network::bindings::sampan::network::types },
    });
}

pub use bindings::sampan::ingress::types::{
    Backend, Certificate, Entry, EntryKey, HostName, Op, Path, Pool, Protocol, Route, Secret, Table, VirtualHost,
};

pub(crate) use bindings::Ingress as IngressWorld;

world!(Ingress, IngressPre, (), |_| Ok(()));

planning!(
    /// An instance of an ingress plugin; its operations add up to a [`Routing`].
    IngressPlugin,
    Ingress,
    sampan_ingress_policy,
    Routing
);
