//! Plugins of the world `network`.
mod address;
mod bounds;
mod check;
mod datapath;

pub use bounds::{Bounds, NodeBounds};
pub use check::check;
pub use datapath::Datapath;

use crate::{
    CallError, Figures,
    instance::{Instance, world},
};

mod bindings {
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

/// Resources that a plugin may ask for at the most.
const MOST_WATCHES: usize = 32;

/// An instance of a network plugin.
pub struct NetworkPlugin {
    pub(crate) instance: Instance<bindings::Network>,
    /// What it fills, once it was started.
    tables: Vec<Table>,
}

impl NetworkPlugin {
    pub(crate) fn new(instance: Instance<bindings::Network>) -> Self {
        NetworkPlugin {
            instance,
            tables: Vec::new(),
        }
    }

    /// The resources whose changes it wants to be told of.
    ///
    /// # Errors
    /// What it failed with; `Rubbish` if it asks for too many.
    pub fn watches(&mut self) -> Result<Vec<String>, CallError> {
        let policy = self.instance.world.sampan_network_policy();
        let watches = self.instance.guarded.call(|store| policy.call_watches(store))?;
        if watches.len() > MOST_WATCHES {
            let what = format!(
                "it watches {} resources, and {MOST_WATCHES} are the limit",
                watches.len()
            );
            return Err(self.instance.guarded.rubbish(what));
        }
        Ok(watches)
    }

    /// Says where it runs, and learns which tables it fills. Comes before `plan`.
    ///
    /// # Errors
    /// What it failed with.
    pub fn start(&mut self, me: &Identity) -> Result<&[Table], CallError> {
        let policy = self.instance.world.sampan_network_policy();
        let mut tables = self.instance.guarded.call(|store| policy.call_tables(store))?;
        tables.sort();
        tables.dedup();
        let started = self.instance.guarded.call(|store| policy.call_start(store, me))?;
        started.map_err(|words| self.instance.guarded.refused_for_good(words))?;
        self.tables = tables;
        Ok(&self.tables)
    }

    /// Tells it of changes. What it answers is checked whole, and then part of the datapath and returned.
    ///
    /// # Errors
    /// What it failed with; the datapath is as it was, and the instance of no more use. A fresh one is told everything
    /// on an empty datapath, and [`Datapath::changes_to`] says what differs.
    pub fn plan(&mut self, deltas: &[Delta], bounds: &Bounds, datapath: &mut Datapath) -> Result<Vec<Op>, CallError> {
        let policy = self.instance.world.sampan_network_policy();
        let answer = self.instance.guarded.call(|store| policy.call_plan(store, deltas))?;
        let ops = answer.map_err(|words| self.instance.guarded.refused_for_good(words))?;
        check(&ops, &self.tables, bounds, datapath).map_err(|what| self.instance.guarded.rubbish(what))?;
        datapath.apply(&ops);
        Ok(ops)
    }

    pub fn figures(&self) -> Figures {
        self.instance.guarded.figures()
    }
}
