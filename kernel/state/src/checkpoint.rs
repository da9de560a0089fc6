//! The whole state as bytes: for the disk, and for members that are too far behind.
//!
//! Format: the magic, then records, each a length (u32, little-endian) and a protobuf message; a record of length 0 ends
//! them, and the CRC-32 of all before it follows. The first record is the [`Header`].
use crate::store::Store;
use bytes::Bytes;
use prost::Message;
use raft::eraftpb::ConfState;
use sampan_api::{Object, rpc};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"SAMPCKP1";

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
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    response: Option<rpc::CommitResponse>,
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
    let answers = store.answers.iter().map(|(key, results)| {
        let results = results.iter().map(result_message).collect();
        Content::Answer(Answer {
            key: key.clone(),
            response: Some(rpc::CommitResponse { results }),
        })
    });
    let records = objects
        .chain(blobs)
        .chain(answers)
        .map(|content| Record { content: Some(content) }.encode_to_vec());
    let mut crc = crc32fast::Hasher::new();
    let mut first = MAGIC.to_vec();
    first.extend(framed(&header.encode_to_vec()));
    let end: Option<Vec<u8>> = None;
    let pieces = std::iter::once(Some(first))
        .chain(records.map(|record| Some(framed(&record))))
        .chain([end]);
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

fn framed(record: &[u8]) -> Vec<u8> {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], record].concat()
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
            objects: vec![None; committed.keys.len()],
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
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| unreadable(bytes))?;
    let (header, mut rest) = record(rest)?;
    let damaged = |error: prost::DecodeError| CheckpointError::Damaged(error.to_string());
    let header = Header::decode(header).map_err(damaged)?;
    let mut store = Store::new(&header.cluster);
    store.index = header.index;
    store.state.revision = header.revision;
    // The events before it are not in it.
    store.state.compacted = header.revision;
    loop {
        let (next, after) = record(rest)?;
        if next.is_empty() {
            let length = bytes.len() - after.len();
            let crc = after.get(..4).ok_or(CheckpointError::CutShort)?;
            if crc != crc32fast::hash(&bytes[..length]).to_le_bytes() {
                return Err(CheckpointError::Damaged("its checksum does not match".to_owned()));
            }
            return match after.len() {
                4 => Ok((store, header)),
                more => Err(CheckpointError::Damaged(format!("{} bytes follow its end", more - 4))),
            };
        }
        rest = after;
        match Record::decode(next).map_err(damaged)?.content {
            Some(Content::Object(message)) => {
                // Without the limit on what users send: what is stored must be read again.
                let object =
                    serde_json::from_slice(&message.json).map_err(|e| CheckpointError::Damaged(e.to_string()))?;
                insert(&mut store, &message, object)?;
            }
            Some(Content::Blob(blob)) => {
                store.state.blobs.insert(crate::store::digest_of(&blob), blob);
            }
            Some(Content::Answer(answer)) => {
                let results = answer.response.unwrap_or_default().results;
                store
                    .answers
                    .push_back((answer.key, results.iter().map(result_of).collect()));
            }
            None => return Err(CheckpointError::Damaged("a record has no content".to_owned())),
        }
    }
}

/// Why bytes do not begin as a checkpoint does.
fn unreadable(bytes: &[u8]) -> CheckpointError {
    match bytes.get(..MAGIC.len()) {
        Some(magic) if magic.starts_with(b"SAMPCKP") && magic > &MAGIC[..] => CheckpointError::Newer,
        _ => CheckpointError::NotACheckpoint,
    }
}

fn insert(store: &mut Store, message: &rpc::Object, object: Object) -> Result<(), CheckpointError> {
    let key = message
        .key
        .as_ref()
        .ok_or_else(|| CheckpointError::Damaged("an object has no key".to_owned()))?;
    let key = sampan_api::Key::from(key);
    store.state.index.change(&key, None, Some(&object));
    store.state.objects.insert(key, Arc::new(object));
    Ok(())
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

/// The next record and what follows it.
fn record(bytes: &[u8]) -> Result<(&[u8], &[u8]), CheckpointError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(CheckpointError::CutShort)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    rest.split_at_checked(length).ok_or(CheckpointError::CutShort)
}
