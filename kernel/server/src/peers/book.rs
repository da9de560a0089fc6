//! The address book: Member objects say who the servers are; a server that has just joined has what it was told then.
use parking_lot::RwLock;
use sampan_api::{Key, Object, Selection};
use sampan_state::Snapshot;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The resource of Member objects.
pub const RESOURCE: &str = "members.sampan.dev";

/// Bytes of an address at the most: a name of a host, and a port.
const LONGEST_ADDRESS: usize = 300;

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
            && address.len() <= LONGEST_ADDRESS
            && is_better(address, &peer.address)
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

/// Whether others should look there instead: not at their own loopback, if there is another way.
pub fn is_better(new: &str, known: &str) -> bool {
    let is_loopback = |address: &str| {
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|ip: IpAddr| ip.is_loopback())
    };
    !is_loopback(new) || is_loopback(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_its_own_loopback() {
        assert!(is_better("10.0.0.2:1", "10.0.0.1:1"));
        assert!(is_better("10.0.0.2:1", "127.0.0.1:1"));
        assert!(is_better("127.0.0.1:2", "127.0.0.1:1"));
        assert!(!is_better("127.0.0.1:7443", "10.0.0.1:7443"));
        assert!(!is_better("[::1]:7443", "[fd00::1]:7443"));
    }
}
