//! A command: what one Raft entry tells the state machine to do.
use bytes::Bytes;
use prost::Message;
use sampan_api::{ApiError, MAX_OBJECT_BYTES, Operation, Plan, Revision, Write, rpc};

/// The version of the encoding; a newer one is refused.
const VERSION: u32 = 1;

/// What one entry does. Its plans are independent of each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// The proposer's clock, in milliseconds of Unix time; the only time the state machine knows.
    pub now_ms: u64,
    pub plans: Vec<Plan>,
    /// Bytes to keep, found by their sha256.
    pub blobs: Vec<Bytes>,
    /// Digests of bytes to let go of.
    pub forget_blobs: Vec<String>,
    /// Let go of events up to this revision; 0 is none.
    pub compact_to: Revision,
    /// Plans that were committed under this key are not committed again. Empty: no such care.
    pub idempotency_key: String,
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    now_ms: u64,
    #[prost(message, repeated, tag = "3")]
    plans: Vec<rpc::Plan>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    blobs: Vec<Bytes>,
    #[prost(string, repeated, tag = "5")]
    forget_blobs: Vec<String>,
    #[prost(uint64, tag = "6")]
    compact_to: u64,
    #[prost(string, tag = "7")]
    idempotency_key: String,
}

/// Of [`Wire`], the time alone.
#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(uint64, tag = "2")]
    now_ms: u64,
}

impl Command {
    /// Its bytes in the log.
    pub fn encode(&self) -> Bytes {
        let wire = Wire {
            version: VERSION,
            now_ms: self.now_ms,
            plans: self.plans.iter().map(rpc::Plan::from).collect(),
            blobs: self.blobs.clone(),
            forget_blobs: self.forget_blobs.clone(),
            compact_to: self.compact_to,
            idempotency_key: self.idempotency_key.clone(),
        };
        wire.encode_to_vec().into()
    }

    /// Whether it is certain that it reads back as it is: with no patch, whose nesting may be more than can be read, and no
    /// object that may be too large once it is written. JSON makes up to six bytes of one.
    pub(crate) fn is_plain(&self) -> bool {
        let plain = |write: &Write| match &write.operation {
            Operation::Create(object) | Operation::Replace(object) | Operation::ReplaceStatus(object) => {
                6 * object.weight() <= MAX_OBJECT_BYTES
            }
            Operation::Merge(_) | Operation::MergeStatus(_) => false,
            Operation::Delete(_) | Operation::Bind(_) => true,
        };
        self.plans.iter().flat_map(|plan| &plan.writes).all(plain)
    }

    /// The encoded command with another time: that of the leader, which alone tells the time. Of a protobuf field that comes
    /// twice the last counts.
    pub fn stamped(encoded: &[u8], now_ms: u64) -> Bytes {
        let mut bytes = encoded.to_vec();
        // Writing to memory cannot fail.
        let _ = Wire {
            now_ms,
            ..Wire::default()
        }
        .encode(&mut bytes);
        bytes.into()
    }

    /// The time that an encoded command carries; the rest of it is not read.
    pub(crate) fn time_of(encoded: &[u8]) -> Option<u64> {
        Time::decode(encoded).ok().map(|time| time.now_ms)
    }

    /// Reads what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// `Internal` for bytes that are no command, or one of a newer version; why a plan cannot be read.
    pub fn decode(bytes: Bytes) -> Result<Self, ApiError> {
        let (command, refused) = Self::read(bytes)?;
        refused.into_iter().next().map_or(Ok(command), |(_, error)| Err(error))
    }

    /// As [`Command::decode`]; in the place of plans that cannot be read (an object too large) stand empty ones, and why.
    /// One bad plan must not take those along that were committed together with it.
    pub(crate) fn read(bytes: Bytes) -> Result<(Self, Vec<(usize, ApiError)>), ApiError> {
        let wire =
            Wire::decode(bytes).map_err(|e| ApiError::internal(format!("an entry of the log is damaged: {e}")))?;
        if wire.version != VERSION {
            let message = format!(
                "an entry of the log is of version {}, and this program reads {VERSION}: start the program that wrote it",
                wire.version
            );
            return Err(ApiError::internal(message));
        }
        let mut refused = Vec::new();
        let plan = |(at, plan)| {
            Plan::try_from(plan).unwrap_or_else(|error| {
                refused.push((at, error));
                Plan::default()
            })
        };
        let command = Command {
            now_ms: wire.now_ms,
            plans: wire.plans.iter().enumerate().map(plan).collect(),
            blobs: wire.blobs,
            forget_blobs: wire.forget_blobs,
            compact_to: wire.compact_to,
            idempotency_key: wire.idempotency_key,
        };
        Ok((command, refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stamp_counts() {
        let command = Command {
            now_ms: 5,
            idempotency_key: "k".to_owned(),
            ..Command::default()
        };
        let read = Command::decode(Command::stamped(&command.encode(), 9)).unwrap();
        assert_eq!(read, Command { now_ms: 9, ..command });
    }
}
