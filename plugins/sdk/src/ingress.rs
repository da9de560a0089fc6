//! The ingress world: which requests from outside the cluster go where.
//!
//! [`Ingress`] is the simple face, as [`Network`](crate::network::Network) is of the network world, with the same rule: what
//! `desired` says depends on the key and on the view alone, and `touched` names every key for which that may have changed.
pub use crate::network::{
    Address, Change, Delta, Description, Identity, Key, Name, Object, Pair, Range, View, address, description, range,
};

/// The generated contract; for those who want to implement it themselves.
#[doc(hidden)]
pub use world_ingress as bindings;

pub use bindings::sampan::ingress::types::{
    Backend, Certificate, Entry, EntryKey, HostName, Op, Path, Pool, Protocol, Route, Secret, Table, VirtualHost,
};

use crate::planning::{self, policy, tabled};
use std::collections::BTreeSet;

tabled!();
policy!(OfIngress, Ingress);

/// A plugin as the contract wants it.
pub type Planner<I> = planning::Planner<OfIngress<I>>;

/// A policy of requests from outside.
pub trait Ingress: Default + 'static {
    /// What it decides about as one: a host, a Service.
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

/// Makes an [`Ingress`] the plugin that this crate is.
#[macro_export]
macro_rules! export_ingress {
    ($policy:ty) => {
        $crate::export_on_nodes!($policy, ingress, Ingress);
    };
}
