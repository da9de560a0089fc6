//! The whole state as bytes: for the disk, and for members that are too far behind.
//!
//! Format: the magic, then records, each a length (u32, little-endian) and a protobuf message; a record of length 0 ends
//! them, and the CRC-32 of all before it follows. The first record is the [`Header`].
use crate::store::Store;
use bytes::Bytes;
use prost::Message;
use raft::eraftpb::ConfState;
use sampan_api::{Object, rpc, time::Timestamp};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"SAMPCKP1";

/// Bytes of a record at the most; the largest are blobs.
const LARGEST: usize = 1 << 29;

/// What is whole in memory is read in pieces of this size.
const PIECE: usize = 1 << 20;

/// What a checkpoint is of.
#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(string, tag = "1")]
    pub cluster: String,
    /// The log index applied last.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    #[prost(uint64, tag = "3")]
    pub term: u64,
    #[prost(message, optional, tag = "4")]
    pub members: Option<ConfState>,
    #[prost(uint64, tag = "5")]
    pub revision: u64,
    #[prost(uint64, tag = "6")]
    pub compacted: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(oneof = "Content", tags = "1, 2, 3")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(message, tag = "1")]
    Object(rpc::Object),
    #[prost(bytes = "bytes", tag = "2")]
    Blob(Bytes),
    /// An answer to a keyed command.
    #[prost(message, tag = "3")]
    Answer(Answer),
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "2")]
    response: Option<rpc::CommitResponse>,
    /// The digest of its key, in two halves.
    #[prost(fixed64, tag = "3")]
    high: u64,
    #[prost(fixed64, tag = "4")]
    low: u64,
    #[prost(uint64, tag = "5")]
    at_ms: u64,
}

/// Why a checkpoint cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("it is no checkpoint of this version")]
    NotACheckpoint,
    #[error("it was written by a newer build of sampan: install that, or a later one, on this machine")]
    Newer,
    #[error("it is cut short")]
    CutShort,
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// The bytes, piece by piece.
pub fn encode<'a>(header: &Header, store: &'a Store) -> impl Iterator<Item = Vec<u8>> + 'a {
    let objects = store
        .state
        .objects
        .iter()
        .map(|(key, object)| Content::Object(rpc::Object::new(key, object)));
    let blobs = store.state.blobs.values().map(|blob| Content::Blob(blob.clone()));
    let answers = store.answers.iter().map(|(at_ms, digest, results)| {
        let results = results.iter().map(result_message).collect();
        Content::Answer(Answer {
            response: Some(rpc::CommitResponse { results }),
            high: (digest >> 64) as u64,
            low: digest as u64,
            at_ms,
        })
    });
    let records = objects
        .chain(blobs)
        .chain(answers)
        .map(|content| Some(framed(&Record { content: Some(content) })));
    let mut crc = crc32fast::Hasher::new();
    let mut first = MAGIC.to_vec();
    first.extend(framed(header));
    let end: Option<Vec<u8>> = None;
    let pieces = std::iter::once(Some(first)).chain(records).chain([end]);
    pieces.map(move |piece| match piece {
        Some(bytes) => {
            crc.update(&bytes);
            bytes
        }
        None => {
            crc.update(&0_u32.to_le_bytes());
            [0_u32.to_le_bytes(), crc.clone().finalize().to_le_bytes()].concat()
        }
    })
}

fn framed(record: &impl Message) -> Vec<u8> {
    let length = record.encoded_len();
    let mut bytes = Vec::with_capacity(size_of::<u32>() + length);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    // Writing to memory cannot fail.
    let _ = record.encode(&mut bytes);
    bytes
}

fn result_message(result: &Result<crate::Committed, sampan_api::ApiError>) -> rpc::PlanResult {
    use rpc::plan_result::Result as Message;
    let result = match result {
        Ok(committed) => Message::Committed(rpc::Committed {
            revision: committed.revision,
            keys: committed.keys.iter().map(rpc::Key::from).collect(),
        }),
        Err(error) => Message::Failure(error.into()),
    };
    rpc::PlanResult { result: Some(result) }
}

fn result_of(message: &rpc::PlanResult) -> Result<crate::Committed, sampan_api::ApiError> {
    use rpc::plan_result::Result as Message;
    match &message.result {
        Some(Message::Committed(committed)) => Ok(crate::Committed {
            revision: committed.revision,
            keys: committed.keys.iter().map(sampan_api::Key::from).collect(),
            objects: Vec::new(),
        }),
        Some(Message::Failure(failure)) => Err(failure.into()),
        None => Err(sampan_api::ApiError::internal("an answer is missing")),
    }
}

/// The state machine from its bytes.
///
/// # Errors
/// If they are cut short, changed, or no checkpoint.
pub fn decode(bytes: &[u8]) -> Result<(Store, Header), CheckpointError> {
    let mut decoder = Decoder::default();
    bytes.chunks(PIECE).try_for_each(|piece| decoder.push(piece))?;
    decoder.finish()
}

/// Makes a state machine of the bytes of a checkpoint in the pieces in which they come, so that they are never in memory
/// as a whole.
#[derive(Default)]
pub struct Decoder {
    /// What came and is not read yet.
    rest: Vec<u8>,
    crc: crc32fast::Hasher,
    begun: bool,
    read: Option<(Store, Header)>,
    /// All records came; the checksum follows.
    ended: bool,
}

impl Decoder {
    /// The next bytes.
    ///
    /// # Errors
    /// If they are none of a checkpoint; what comes after is of no use then.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), CheckpointError> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let mut at = 0;
        while let Some(length) = self.take(&bytes[at..])? {
            at += length;
        }
        bytes.drain(..at);
        self.rest = bytes;
        Ok(())
    }

    /// All has come.
    ///
    /// # Errors
    /// If it is not whole, or was changed on the way.
    pub fn finish(self) -> Result<(Store, Header), CheckpointError> {
        if !self.begun && (self.rest.is_empty() || !MAGIC.starts_with(&self.rest)) {
            return Err(CheckpointError::NotACheckpoint);
        }
        let read = self.read.filter(|_| self.ended).ok_or(CheckpointError::CutShort)?;
        let (crc, more) = self.rest.split_at_checked(4).ok_or(CheckpointError::CutShort)?;
        if crc != self.crc.finalize().to_le_bytes() {
            return Err(CheckpointError::Damaged("its checksum does not match".to_owned()));
        }
        match more.len() {
            0 => Ok(read),
            more => Err(CheckpointError::Damaged(format!("{more} bytes follow its end"))),
        }
    }

    /// Reads the magic or a record, if all of it is there; how long it was.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, CheckpointError> {
        if self.ended {
            return Ok(None);
        }
        if !self.begun {
            let Some(magic) = bytes.first_chunk::<8>() else {
                return Ok(None);
            };
            if magic.starts_with(b"SAMPCKP") && magic > MAGIC {
                return Err(CheckpointError::Newer);
            }
            if magic != MAGIC {
                return Err(CheckpointError::NotACheckpoint);
            }
            self.begun = true;
            self.crc.update(magic);
            return Ok(Some(magic.len()));
        }
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(CheckpointError::Damaged(format!("a record would have {length} bytes")));
        }
        let Some(record) = rest.get(..length) else {
            return Ok(None);
        };
        self.crc.update(&bytes[..4 + length]);
        self.absorb(record)?;
        Ok(Some(4 + length))
    }

    fn absorb(&mut self, record: &[u8]) -> Result<(), CheckpointError> {
        let damaged = |error: prost::DecodeError| CheckpointError::Damaged(error.to_string());
        let Some((store, _)) = &mut self.read else {
            let header = Header::decode(record).map_err(damaged)?;
            let mut store = Store::new(&header.cluster);
            store.index = header.index;
            store.state.revision = header.revision;
            // The events before it are not in it.
            store.state.compacted = header.revision;
            self.read = Some((store, header));
            return Ok(());
        };
        if record.is_empty() {
            self.ended = true;
            return Ok(());
        }
        match Record::decode(record).map_err(damaged)?.content {
            Some(Content::Object(message)) => {
                let key = message.key.as_ref();
                let key = key.ok_or_else(|| CheckpointError::Damaged("an object has no key".to_owned()))?;
                // Without the limit on what users send: what is stored must be read again.
                let object: Object =
                    serde_json::from_slice(&message.json).map_err(|e| CheckpointError::Damaged(e.to_string()))?;
                let made = object.metadata.creation_timestamp.map_or(0, Timestamp::as_millis);
                store.newest_ms = store.newest_ms.max(made);
                store.state.put(&sampan_api::Key::from(key), Some(Arc::new(object)));
            }
            Some(Content::Blob(blob)) => store.state.keep_blob(blob),
            Some(Content::Answer(answer)) => {
                let results = answer.response.unwrap_or_default().results;
                let digest = u128::from(answer.high) << 64 | u128::from(answer.low);
                let results = results.iter().map(result_of).collect();
                store.answers.insert(answer.at_ms, digest, results);
            }
            None => return Err(CheckpointError::Damaged("a record has no content".to_owned())),
        }
        Ok(())
    }
}

/// Looks whether the bytes of a checkpoint come whole and unchanged, without keeping or reading them: by their checksum.
#[derive(Default)]
pub struct Check {
    crc: crc32fast::Hasher,
    /// The last that came: the checksum, once all has come.
    last: Vec<u8>,
    bytes: u64,
}

impl Check {
    /// The next bytes.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.last.extend_from_slice(piece);
        let before = self.last.len().saturating_sub(4);
        self.crc.update(&self.last[..before]);
        self.last.drain(..before);
    }

    /// All has come: how many bytes.
    ///
    /// # Errors
    /// If it is not whole, or was changed on the way.
    pub fn finish(self) -> Result<u64, CheckpointError> {
        if self.bytes <= (MAGIC.len() + 8) as u64 {
            return Err(CheckpointError::CutShort);
        }
        match self.last == self.crc.finalize().to_le_bytes() {
            true => Ok(self.bytes),
            false => Err(CheckpointError::Damaged("its checksum does not match".to_owned())),
        }
    }
}
