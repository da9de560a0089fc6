//! Raft's messages on prost 0.14, in the shape that the crate `raft` 0.7 expects of `raft-proto`: plain fields, and
//! accessors named as rust-protobuf names them. The wire format is that of `raft`'s `eraftpb.proto`.
mod access;
mod change;
pub mod eraftpb;

pub use change::{ConfChangeI, conf_state_eq, new_conf_change_single, parse_conf_change, stringify_conf_change};

/// All messages, for a glob import.
pub mod prelude {
    pub use crate::eraftpb::{
        ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
        HardState, Message, MessageType, Snapshot, SnapshotMetadata,
    };
}

/// A configuration from voters and learners.
#[doc(hidden)]
pub mod util {
    use crate::eraftpb::ConfState;

    impl<V, L> From<(V, L)> for ConfState
    where
        V: IntoIterator<Item = u64>,
        L: IntoIterator<Item = u64>,
    {
        fn from((voters, learners): (V, L)) -> Self {
            ConfState {
                voters: voters.into_iter().collect(),
                learners: learners.into_iter().collect(),
                ..ConfState::default()
            }
        }
    }
}
