//! The generated contract of the world `network`: see `wit/network`; and what its types can do, which must be said where
//! they are.
#![allow(clippy::all, missing_docs)]
mod addresses;

pub use addresses::{address, range, tidied};

use sampan::network::types::{Entry, EntryKey};

wit_bindgen::generate!({
    path: ["../../../wit/lifecycle", "../../../wit/network"],
    world: "sampan:network/network",
    pub_export_macro: true,
    export_macro_name: "export_world",
    default_bindings_module: "world_network",
    additional_derives: [PartialEq, Eq, PartialOrd, Ord, Hash, Clone],
});

impl Entry {
    /// What it is found by in its table.
    pub fn key(&self) -> EntryKey {
        match self {
            Entry::Route(route) => EntryKey::Route(route.range),
            Entry::Frontend(frontend) => EntryKey::Frontend(frontend.key),
            Entry::Peers(set) => EntryKey::Peers(set.name.clone()),
            Entry::Rules(rules) => EntryKey::Rules(rules.pod.clone()),
        }
    }
}
