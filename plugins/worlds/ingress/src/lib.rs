//! The generated contract of the world `ingress`: see `wit/ingress`. What it has in common with the world `network` is one
//! type in both.
#![allow(clippy::all, missing_docs)]

use sampan::ingress::types::{Entry, EntryKey};

wit_bindgen::generate!({
    path: ["../../../wit/lifecycle", "../../../wit/network", "../../../wit/ingress"],
    world: "sampan:ingress/ingress",
    pub_export_macro: true,
    export_macro_name: "export_world",
    default_bindings_module: "world_ingress",
    additional_derives: [PartialEq, Eq, PartialOrd, Ord, Hash, Clone],
    with: { "sampan:network/types@0.1.0": world_network::sampan::network::types },
});

impl Entry {
    /// What it is found by in its table.
    pub fn key(&self) -> EntryKey {
        match self {
            Entry::Pool(pool) => EntryKey::Pool(pool.name.clone()),
            Entry::Host(host) => EntryKey::Host(host.host.clone()),
            Entry::Certificate(certificate) => EntryKey::Certificate(certificate.host.clone()),
        }
    }
}
