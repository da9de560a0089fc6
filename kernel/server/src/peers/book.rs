//! The address book: Member objects say who the servers are; a server that has just joined has what it was told then.
use parking_lot::RwLock;
use sampan_api::{Object, Selection};
use sampan_state::Snapshot;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The resource of Member objects.
pub const RESOURCE: &str = "members.sampan.dev";

/// Another server, or this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub id: u64,
    pub name: String,
    /// `HOST:PORT`
    pub address: String,
}

impl Peer {
    /// The Member object that says so.
    pub fn of(object: &Object) -> Option<Self> {
        let spec = object.field_value("spec");
        Some(Peer {
            id: spec["id"].as_u64()?,
            name: object.metadata.name.clone(),
            address: spec["address"].as_str()?.to_owned(),
        })
    }
}

/// All members that the state names.
pub fn members(state: &Snapshot) -> Vec<Peer> {
    let members = Selection::of(RESOURCE);
    state
        .list(&members)
        .filter_map(|(_, object)| Peer::of(&object))
        .collect()
}

/// Who is where.
#[derive(Default)]
pub struct Book {
    peers: RwLock<BTreeMap<u64, Peer>>,
}

impl Book {
    pub fn new(peers: impl IntoIterator<Item = Peer>) -> Self {
        let book = Book::default();
        book.replace(peers);
        book
    }

    /// These and no others.
    pub fn replace(&self, peers: impl IntoIterator<Item = Peer>) {
        *self.peers.write() = peers.into_iter().map(|peer| (peer.id, peer)).collect();
    }

    pub fn get(&self, member: u64) -> Option<Peer> {
        self.peers.read().get(&member).cloned()
    }

    pub fn all(&self) -> Vec<Peer> {
        self.peers.read().values().cloned().collect()
    }

    /// A peer has said where it is: taken where the book knows no better.
    pub fn learn(&self, peer: Peer) {
        self.peers.write().entry(peer.id).or_insert(peer);
    }
}
