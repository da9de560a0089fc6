//! The network world: what this node's datapath is to be.
//!
//! [`Network`] is the simple face: it says which keys of its own a change touches, and which entries a key desires. The
//! SDK reads each object once, keeps all that was told, and turns what is desired into operations: a change costs what
//! its keys cost, whatever else there is. For that it relies on one rule: what `desired` says depends on the key and on
//! the view alone, and `touched` names every key for which that may have changed.
mod endpoints;
mod ingresses;
mod objects;
mod view;

pub use endpoints::{Chosen, Endpoints, Reach};
pub use ingresses::{Ingress, IngressBackend, IngressClass, IngressPath, IngressPort, IngressRule, IngressService};
pub use objects::{
    Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Expression, IpBlock, Labels, Namespace, NetworkPolicy,
    Node, Pod, PolicyPeer, PolicyPort, PolicyRule, Selector, Service, ServicePort, Transport,
};
pub use view::{Change, Name, Pair, View};

pub use crate::scheduler::{Description, description};

/// The generated contract; for those who want to implement it themselves.
#[doc(hidden)]
pub use world_network as bindings;

pub use bindings::{address, range, tidied};

pub use bindings::sampan::network::types::{
    Address, Backend, Delta, Destination, Entry, EntryKey, Fallback, Family, Frontend, FrontendKey, Identity, Key,
    Object, Op, PeerSet, PodKey, PodRules, Pool, Ports, Protocol, Range, Route, Rule, Scope, Table,
};

use crate::planning::{self, policy, tabled};
use std::collections::BTreeSet;

tabled!();
policy!(OfNetwork, Network);

/// A plugin as the contract wants it.
pub type Planner<N> = planning::Planner<OfNetwork<N>>;

/// A policy of the datapath.
pub trait Network: Default + 'static {
    /// What it decides about as one: a Service, a node.
    type Key: Ord + Clone;

    fn describe() -> Description;

    /// Takes the Plugin object's config.
    ///
    /// # Errors
    /// In words for the operator; the plugin is refused then.
    fn configure(&mut self, _config: &crate::Value) -> Result<(), String> {
        Ok(())
    }

    /// The resources it wants to be told of.
    fn watches() -> &'static [&'static str];

    /// The tables it fills.
    fn tables() -> &'static [Table];

    /// The keys for which a change, already part of the view, may have changed what is desired.
    fn touched(&self, change: &Change<'_>, view: &View, keys: &mut BTreeSet<Self::Key>);

    /// The entries that a key desires; none if it is gone. Of two keys that desire an entry of one key the first has it.
    fn desired(&self, key: &Self::Key, view: &View) -> Vec<Entry>;
}

/// Makes a [`Network`] the plugin that this crate is.
#[macro_export]
macro_rules! export_network {
    ($policy:ty) => {
        $crate::export_on_nodes!($policy, network, Network);
    };
}
