//! A member's disk: what was synced stays, what was only written may be there after a crash, in part, or damaged.
//!
//! The log is kept as bytes in segments, as `kernel/server` keeps it: records with a checksum, a torn tail is cut.
use crate::random::Random;
use bytes::Bytes;
use prost::Message as _;
use sampan_state::{CheckpointError, Persisted, Recovered, Store, decode_checkpoint};
use std::collections::BTreeMap;

/// A segment is ended when it is larger; small, so that segments end often.
const SEGMENT: usize = 4 << 10;

/// So many checkpoints are kept.
const KEPT: usize = 2;

/// Why a member cannot start from its disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("a checkpoint cannot be read: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the log is damaged in its middle")]
    Damaged,
    #[error("entries from {0} on are missing in the log")]
    Gap(u64),
}

#[derive(Clone, Default)]
struct Segment {
    bytes: Vec<u8>,
    last_index: u64,
}

/// What one member has on disk.
#[derive(Clone, Default)]
pub struct Disk {
    checkpoints: BTreeMap<u64, Bytes>,
    segments: Vec<Segment>,
    /// Bytes of the last segment that are safe.
    synced: usize,
}

impl Disk {
    /// The disk of a founding member.
    pub fn founded(checkpoint: Bytes, index: u64) -> Self {
        Disk {
            checkpoints: BTreeMap::from([(index, checkpoint)]),
            ..Disk::default()
        }
    }

    /// Bytes of the log.
    pub fn log_bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes.len()).sum()
    }

    /// Writes a record; safe only after [`Disk::sync`]. In `pieces` where it is taken for a very large one.
    pub fn append(&mut self, record: &Persisted, pieces: bool) {
        if !pieces || record.entries.len() < 2 {
            self.append_one(record);
            return;
        }
        for entry in &record.entries {
            // Nothing is said to be committed that is not there yet.
            let mut hard_state = record.hard_state.clone();
            if let Some(state) = &mut hard_state {
                state.commit = state.commit.min(entry.index);
            }
            let entries = vec![entry.clone()];
            self.append_one(&Persisted { entries, hard_state });
        }
    }

    fn append_one(&mut self, record: &Persisted) {
        if self.segments.last().is_none_or(|segment| segment.bytes.len() > SEGMENT) {
            // What is in a segment that ended is safe.
            self.segments.push(Segment::default());
            self.synced = 0;
        }
        let payload = record.encode_to_vec();
        let Some(segment) = self.segments.last_mut() else {
            return;
        };
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        segment.bytes.extend(length.to_le_bytes());
        segment.bytes.extend(crc32fast::hash(&payload).to_le_bytes());
        segment.bytes.extend(payload);
        let last = record.entries.last().map_or(0, |entry| entry.index);
        segment.last_index = segment.last_index.max(last);
    }

    pub fn sync(&mut self) {
        self.synced = self.segments.last().map_or(0, |segment| segment.bytes.len());
    }

    /// Writes a checkpoint aside and renames it: it is there whole, or not at all. Lets go of what it makes needless.
    pub fn write_checkpoint(&mut self, index: u64, bytes: Bytes) {
        self.checkpoints.insert(index, bytes);
        while self.checkpoints.len() > KEPT {
            self.checkpoints.pop_first();
        }
    }

    /// Lets go of segments that the oldest checkpoint makes needless.
    pub fn forget(&mut self) {
        let oldest = self.checkpoints.first_key_value().map_or(0, |(index, _)| *index);
        let ended = self.segments.len().saturating_sub(1);
        let needless = self.segments[..ended]
            .iter()
            .take_while(|segment| segment.last_index <= oldest)
            .count();
        self.segments.drain(..needless);
    }

    /// The power fails: of what was not synced, some of its beginning may be there, and some of that may be wrong.
    pub fn crash(&mut self, random: &mut Random) {
        let synced = self.synced;
        let Some(segment) = self.segments.last_mut() else {
            return;
        };
        let unsynced = segment.bytes.len() - synced;
        if unsynced > 0 {
            let kept = usize::try_from(random.below(unsynced as u64 + 1)).unwrap_or(0);
            segment.bytes.truncate(synced + kept);
            if kept > 0 && random.chance(1, 3) {
                let at = synced + usize::try_from(random.below(kept as u64)).unwrap_or(0);
                segment.bytes[at] ^= 1 << random.below(8);
            }
        }
    }

    /// What a member starts from.
    ///
    /// # Errors
    /// If the real driver would refuse to start.
    pub fn recover(&mut self, cluster: &str) -> Result<(Store, Recovered), DiskError> {
        let mut recovered = Recovered::default();
        let mut store = Store::new(cluster);
        if let Some((_, bytes)) = self.checkpoints.last_key_value() {
            let (state, header) = decode_checkpoint(bytes)?;
            recovered.checkpoint_index = header.index;
            recovered.checkpoint_term = header.term;
            recovered.members = header.members.unwrap_or_default();
            store = state;
        }
        let mut gap = None;
        let count = self.segments.len();
        for (number, segment) in self.segments.iter_mut().enumerate() {
            let (records, end) = records(&segment.bytes);
            if end < segment.bytes.len() && number + 1 < count {
                return Err(DiskError::Damaged);
            }
            segment.bytes.truncate(end);
            for record in records {
                let last = recovered.entries.last().map(|entry| entry.index);
                let next = last.unwrap_or(recovered.checkpoint_index) + 1;
                if record.entries.first().is_some_and(|entry| entry.index > next) {
                    gap.get_or_insert(next);
                }
                recovered.absorb(record);
            }
        }
        self.sync();
        match gap {
            Some(missing) => Err(DiskError::Gap(missing)),
            None => Ok((store, recovered)),
        }
    }
}

/// The records of a segment up to the first that does not check, and where that begins.
fn records(bytes: &[u8]) -> (Vec<Persisted>, usize) {
    let mut found = Vec::new();
    let mut end = 0;
    let record = |at: usize| {
        let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let fits = crc32fast::hash(payload) == u32::from_le_bytes(*crc);
        Some((
            Persisted::decode(payload).ok().filter(|_| fits)?,
            at + 8 + payload.len(),
        ))
    };
    while let Some((persisted, next)) = record(end) {
        found.push(persisted);
        end = next;
    }
    (found, end)
}
