//! What a replica begins with: what is on disk, or what a new one has.
use super::{OpenError, ReplicaConfig, checkpoints, io_error, segments::Segments};
use sampan_state::{Header, Recovered, Store, eraftpb::ConfState, genesis};
use std::path::Path;

/// What is on disk.
pub struct OnDisk {
    pub store: Store,
    pub recovered: Recovered,
    pub log: Segments,
    /// The size of the newest checkpoint.
    pub checkpoint_bytes: u64,
}

/// What is on disk, or what a new replica has.
pub fn recover(config: &ReplicaConfig, snapshots: &Path, dir: &Path) -> Result<OnDisk, OpenError> {
    let (store, header, checkpoint_bytes) = match checkpoints::newest(snapshots)? {
        Some(checkpoint) => checkpoint,
        None if config.alone => return Err(OpenError::NothingLeft(config.dir.clone())),
        // Who joins is given the state by the leader.
        None if config.joins => (Store::new(&config.cluster), Header::default(), 0),
        None => first_state(config, dir, snapshots)?,
    };
    let mut recovered = Recovered {
        members: header.members.unwrap_or_default(),
        checkpoint_index: header.index,
        checkpoint_term: header.term,
        ..Recovered::default()
    };
    let mut gap = None;
    let log = Segments::open(dir, |batch| {
        let next = recovered
            .entries
            .last()
            .map_or(recovered.checkpoint_index, |entry| entry.index)
            + 1;
        if batch.entries.first().is_some_and(|entry| entry.index > next) {
            gap.get_or_insert(next);
        }
        recovered.absorb(batch);
    })?;
    match gap {
        Some(missing) => Err(OpenError::Gap {
            path: dir.to_owned(),
            missing,
        }),
        None => Ok(OnDisk {
            store,
            recovered,
            log,
            checkpoint_bytes,
        }),
    }
}

/// What a group begins with.
fn first_state(config: &ReplicaConfig, log: &Path, snapshots: &Path) -> Result<(Store, Header, u64), OpenError> {
    if log.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(OpenError::NoCheckpoint {
            path: config.dir.clone(),
        });
    }
    let members = ConfState {
        voters: vec![config.member],
        ..ConfState::default()
    };
    let (store, header) = genesis(&config.cluster, members);
    let written = checkpoints::write(snapshots, &header, &store).map_err(io_error(snapshots))?;
    Ok((store, header, written.bytes))
}
