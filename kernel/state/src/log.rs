//! Raft's view of the log: the entries since the last checkpoint, in memory. The driver keeps them on disk.
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata},
    util::limit_size,
};
use std::collections::VecDeque;

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
    /// What they take, about.
    bytes: usize,
    /// The entry that the state machine has applied last.
    pub applied: u64,
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
        let bytes = recovered.entries.iter().map(weight).sum();
        Ok(Log {
            bytes,
            hard_state: recovered.hard_state,
            members: recovered.members,
            before: (recovered.checkpoint_index, recovered.checkpoint_term),
            entries: recovered.entries.into(),
            applied: recovered.checkpoint_index,
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
        while self.entries.len() > keep {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, weight);
        }
        self.bytes += entries.iter().map(weight).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// About how many bytes the entries take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets go of the oldest entries until no more than so many bytes are left, and of none after an index.
    pub fn trim(&mut self, index: u64, kept_bytes: usize) {
        while self.bytes > kept_bytes && self.entries.front().is_some_and(|entry| entry.index <= index) {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= weight(&entry);
                self.before = (entry.index, entry.term);
            }
        }
    }

    /// Begins anew from a snapshot.
    pub fn restore(&mut self, metadata: &SnapshotMetadata) {
        self.before = (metadata.index, metadata.term);
        self.applied = metadata.index;
        self.members = metadata.get_conf_state().clone();
        self.entries.clear();
        self.bytes = 0;
        self.hard_state.commit = self.hard_state.commit.max(metadata.index);
        self.hard_state.term = self.hard_state.term.max(metadata.term);
    }
}

fn weight(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.data.len() + entry.context.len()
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

    /// Says which state there is: who carries messages adds it.
    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.applied < request_index {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let metadata = SnapshotMetadata {
            conf_state: Some(self.members.clone()),
            index: self.applied,
            term: self.term(self.applied)?,
        };
        Ok(Snapshot {
            metadata: Some(metadata),
            ..Snapshot::default()
        })
    }
}
