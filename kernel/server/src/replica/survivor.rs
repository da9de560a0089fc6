//! The way back from the loss of a majority: one member goes on alone with what it has.
use super::{OpenError, ReplicaConfig, checkpoints, io_error};
use crate::peers;
use sampan_api::{Key, Object, Selection};
use sampan_state::{
    Recovered, Store,
    eraftpb::{ConfState, EntryType},
    survive,
};
use std::path::Path;

/// Makes what is on disk the state of a group of this member alone, by a checkpoint of all of it; whoever holds the
/// directory's lock may. Cut short, it leaves everything as it was. The log stays: what is in the checkpoint is skipped.
pub fn go_on_alone(
    config: &ReplicaConfig,
    snapshots: &Path,
    store: Store,
    recovered: Recovered,
) -> Result<(Store, Recovered), OpenError> {
    let others = |key: &Key, object: &Object| {
        *key.resource == *peers::RESOURCE && peers::Peer::of(object).is_none_or(|peer| peer.id != config.member)
    };
    let changed = |recovered: &Recovered| {
        let mut entries = recovered.entries.iter();
        entries.any(|entry| entry.entry_type() != EntryType::EntryNormal)
    };
    let alone = recovered.members.voters == [config.member] && !changed(&recovered);
    let state = store.snapshot();
    if alone
        && !state
            .list(&Selection::of(peers::RESOURCE))
            .any(|(key, object)| others(&key, &object))
    {
        return Err(OpenError::AloneAlready);
    }
    let hard_state = recovered.hard_state.clone();
    let (store, header) = survive(store, recovered, config.member, |key, object| !others(key, object))?;
    checkpoints::write(snapshots, &header, &store).map_err(io_error(snapshots))?;
    tracing::warn!(
        index = header.index,
        revision = header.revision,
        "this server goes on alone: writes that only the other servers had are lost, and none of those may come back \
         with what it has on disk"
    );
    let recovered = Recovered {
        hard_state,
        members: ConfState {
            voters: vec![config.member],
            ..ConfState::default()
        },
        checkpoint_index: header.index,
        checkpoint_term: header.term,
        entries: Vec::new(),
    };
    Ok((store, recovered))
}
