//! Floor 1: the replicated state, sans-IO: Raft, multi-version objects, plan commit, watch, snapshots.
//!
//! Nothing here reads a clock, draws a random number of its own, or does I/O: time is part of a command, and the driver
//! persists and sends what a [`Replica`] hands it. The same commands give the same state, on every replica and in a
//! simulator.
mod answers;
mod apply;
mod checkpoint;
pub mod claims;
mod command;
mod election;
mod founding;
mod index;
mod log;
mod merge;
mod names;
pub mod priority;
mod replica;
mod room;
mod snapshot;
mod store;
mod view;

pub use apply::would_admit;
pub use checkpoint::{
    Check, CheckpointError, Decoder, Header, decode as decode_checkpoint, encode as encode_checkpoint,
};
pub use command::Command;
pub use election::Settings;
pub use founding::{LEAP, genesis, refound, survive};
pub use log::{Persisted, Recovered};
pub use merge::merge_patch;
pub use raft::eraftpb;
pub use replica::{Outcome, Output, Progress, Replica, ReplicaError, Role, give_state};
pub use snapshot::{Event, EventKind, Snapshot};
pub use store::{Applied, Committed, Store, digest_of};
