//! The address book: Member objects say who the servers are; a server that has just joined has what it was told then.
use parking_lot::RwLock;
use sampan_api::{Key, Object, Selection};
use sampan_state::Snapshot;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The resource of Member objects.
pub const RESOURCE: &str = "members.sampan.dev";

/// Another server, or this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub id: u64,
    pub name: String,
    /// `HOST:PORT`
    pub address: String,
    /// It stays a learner until it is promoted.
    #[serde(default)]
    pub standby: bool,
}

impl Peer {
    /// The Member object that says so.
    pub fn of(object: &Object) -> Option<Self> {
        let spec = object.field_value("spec");
        Some(Peer {
            id: spec["id"].as_u64()?,
            name: object.metadata.name.clone(),
            address: spec["address"].as_str()?.to_owned(),
            standby: spec["standby"] == true,
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

/// The Member object of a server.
pub fn member(state: &Snapshot, id: u64) -> Option<(Key, Arc<Object>)> {
    state
        .list(&Selection::of(RESOURCE))
        .find(|(_, object)| Peer::of(object).is_some_and(|peer| peer.id == id))
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

    /// A peer has said where it is: taken where the book does not know it.
    pub fn learn(&self, peer: Peer) {
        self.peers.write().entry(peer.id).or_insert(peer);
    }

    /// A peer has said where it is now. It may have moved, and can only say so in the state once it hears from others.
    pub fn moved(&self, member: u64, address: &str) {
        if let Some(peer) = self.peers.write().get_mut(&member)
            && peer.address != address
        {
            tracing::info!(
                peer = peer.name,
                before = peer.address,
                now = address,
                "a member has moved"
            );
            address.clone_into(&mut peer.address);
        }
    }
}
