//! How a group begins: with nothing, with the state of another cluster, or with what one survivor has.
use crate::{
    checkpoint::Header,
    log::{Log, Recovered},
    replica::{ReplicaError, apply_entry},
    store::Store,
};
use raft::{Storage as _, eraftpb::ConfState};
use sampan_api::{Key, Object};

/// Where a history is cut off, revisions go on so much later. Somebody may have seen revisions of the part that is lost; none
/// of them may come again with another meaning, and a watch from there must be told *Expired*. Nobody has written so often.
pub const LEAP: u64 = 1_000_000_000;

/// What a group begins with: a state at index 1 instead of an empty log. So a member that joins later, whose log is empty,
/// is sent the state as a whole, and with it the first members, which no entry of the log names.
pub fn genesis(cluster: &str, members: ConfState) -> (Store, Header) {
    let mut store = Store::new(cluster);
    store.index = 1;
    let header = Header {
        cluster: cluster.to_owned(),
        index: 1,
        term: 1,
        members: Some(members),
        ..Header::default()
    };
    (store, header)
}

/// The state of another cluster as what a group of one begins with, under an identity of its own. Of the objects only those
/// come along that `keep` says; answers to keyed commands belong to the other cluster.
pub fn refound(other: Store, cluster: &str, member: u64, keep: impl Fn(&Key, &Object) -> bool) -> (Store, Header) {
    let mut store = Store {
        state: other.state,
        newest_ms: other.newest_ms,
        index: 1,
        ..Store::new(cluster)
    };
    leap(&mut store, keep);
    let header = header(&store, 1, member);
    (store, header)
}

/// What one member has, as the state of a group that it alone makes up; for when the others are lost. All of its log counts
/// as committed: what was acknowledged cannot be told from what was not, and must not be lost.
///
/// # Errors
/// If the log does not fit together, or holds what cannot be read.
pub fn survive(
    mut store: Store,
    recovered: Recovered,
    member: u64,
    keep: impl Fn(&Key, &Object) -> bool,
) -> Result<(Store, Header), ReplicaError> {
    let log = Log::new(recovered).map_err(ReplicaError::Log)?;
    for entry in log.all() {
        apply_entry(&mut store, entry)?;
    }
    leap(&mut store, keep);
    let term = log.term(store.applied())?;
    let header = header(&store, term, member);
    Ok((store, header))
}

fn header(store: &Store, term: u64, member: u64) -> Header {
    Header {
        cluster: store.cluster.clone(),
        index: store.index,
        term,
        members: Some(ConfState {
            voters: vec![member],
            ..ConfState::default()
        }),
        revision: store.state.revision,
        compacted: store.state.compacted,
    }
}

fn leap(store: &mut Store, keep: impl Fn(&Key, &Object) -> bool) {
    let state = &mut store.state;
    let gone = state.objects.iter().filter(|(key, object)| !keep(key, object));
    let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
    gone.iter().for_each(|key| state.put(key, None));
    state.revision = state.revision.saturating_add(LEAP);
    state.compacted = state.revision;
    state.events.clear();
}
