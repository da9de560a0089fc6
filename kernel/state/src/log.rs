//! Raft's view of the log: the entries since the last checkpoint, in memory. The driver keeps them on disk.
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata},
    util::limit_size,
};
use std::{cell::Cell, collections::VecDeque};

/// What one batch must have on disk before it is acted on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Persisted {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
    #[prost(message, optional, tag = "2")]
    pub hard_state: Option<HardState>,
}

/// What was on disk when the replica starts.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub hard_state: HardState,
    /// Members by the checkpoint, or those the group begins with.
    pub members: ConfState,
    /// The entry the checkpoint includes last; 0 for none.
    pub checkpoint_index: u64,
    pub checkpoint_term: u64,
    /// Everything after it, in order.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// Takes in a batch as it stands in the log: later entries take the place of earlier ones from their index on.
    pub fn absorb(&mut self, batch: Persisted) {
        if let Some(hard_state) = batch.hard_state {
            self.hard_state = hard_state;
        }
        for entry in batch.entries {
            if entry.index <= self.checkpoint_index {
                continue;
            }
            self.entries
                .truncate(usize::try_from(entry.index - self.checkpoint_index - 1).unwrap_or(usize::MAX));
            self.entries.push(entry);
        }
    }
}

/// The log in memory.
#[derive(Default)]
pub struct Log {
    hard_state: HardState,
    pub members: ConfState,
    /// The entry before the first one here.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    /// A snapshot for a follower that is too far behind.
    pub snapshot: Option<Snapshot>,
    /// Raft asked for one.
    pub snapshot_wanted: Cell<bool>,
}

impl Log {
    /// # Errors
    /// If entries are missing, for people.
    pub fn new(mut recovered: Recovered) -> Result<Self, String> {
        let Recovered {
            checkpoint_index: index,
            checkpoint_term: term,
            hard_state,
            entries,
            ..
        } = &mut recovered;
        // Terms never fall in a log: these were overtaken by the checkpoint, which came from a leader.
        if entries.first().is_some_and(|entry| entry.term < *term) {
            entries.clear();
        }
        for (entry, expected) in entries.iter().zip(*index + 1..) {
            if entry.index != expected {
                return Err(format!("entry {expected} is missing, {} is there", entry.index));
            }
        }
        // The checkpoint may be newer than the last record.
        hard_state.commit = hard_state.commit.max(*index);
        if hard_state.term < *term {
            (hard_state.term, hard_state.vote) = (*term, 0);
        }
        let last = *index + entries.len() as u64;
        if hard_state.commit > last {
            return Err(format!(
                "entries up to {} were committed, and those after {last} are missing",
                hard_state.commit
            ));
        }
        Ok(Log {
            hard_state: recovered.hard_state,
            members: recovered.members,
            before: (recovered.checkpoint_index, recovered.checkpoint_term),
            entries: recovered.entries.into(),
            snapshot: None,
            snapshot_wanted: Cell::new(false),
        })
    }

    /// All entries since the checkpoint, in order.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = commit;
    }

    /// Adds entries; from the first one's index on they take the place of what was there.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = usize::try_from(first.index.saturating_sub(self.before.0 + 1)).unwrap_or(usize::MAX);
        self.entries.truncate(keep);
        self.entries.extend(entries.iter().cloned());
    }

    /// Lets go of entries up to an index.
    pub fn forget(&mut self, index: u64) {
        while self.entries.front().is_some_and(|entry| entry.index <= index) {
            if let Some(entry) = self.entries.pop_front() {
                self.before = (entry.index, entry.term);
            }
        }
        let before = self.before.0;
        self.snapshot.take_if(|snapshot| snapshot.get_metadata().index < before);
    }

    /// Begins anew from a snapshot.
    pub fn restore(&mut self, metadata: &SnapshotMetadata) {
        self.before = (metadata.index, metadata.term);
        self.members = metadata.get_conf_state().clone();
        self.entries.clear();
        self.hard_state.commit = self.hard_state.commit.max(metadata.index);
        self.hard_state.term = self.hard_state.term.max(metadata.term);
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.members.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.before.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last_index()? + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let place = |index: u64| usize::try_from(index - self.before.0 - 1).unwrap_or(usize::MAX);
        let mut entries: Vec<Entry> = self.entries.range(place(low)..place(high)).cloned().collect();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        if index < self.before.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let place = usize::try_from(index - self.before.0 - 1).unwrap_or(usize::MAX);
        self.entries
            .get(place)
            .map(|entry| entry.term)
            .ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.entries.back().map_or(self.before.0, |entry| entry.index))
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // One that no longer reaches to the entries kept would be sent for ever, and one that does not name the receiver is
        // not taken.
        let serves = |snapshot: &&Snapshot| {
            let metadata = snapshot.get_metadata();
            metadata.index >= request_index.max(self.before.0) && *metadata.get_conf_state() == self.members
        };
        match self.snapshot.as_ref().filter(serves) {
            Some(snapshot) => Ok(snapshot.clone()),
            None => {
                self.snapshot_wanted.set(true);
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}
