//! Accessors as rust-protobuf names them; `raft` is written in terms of these.
use crate::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, MessageType, Snapshot, SnapshotMetadata,
};
use bytes::Bytes;
use std::{mem::take, sync::LazyLock};

/// `get_x`, `set_x` of numbers and flags.
macro_rules! plain {
    ($message:ident { $($field:ident: $type:ty => $get:ident $set:ident;)* }) => {
        impl $message {
            $(
                pub fn $get(&self) -> $type { self.$field }
                pub fn $set(&mut self, value: $type) { self.$field = value; }
            )*
        }
    };
}

/// `get_x`, `set_x`, `mut_x`, `take_x` of bytes and lists.
macro_rules! owned {
    ($message:ident { $($field:ident: $type:ty, $borrowed:ty => $get:ident $set:ident $mut_:ident $take:ident;)* }) => {
        impl $message {
            $(
                pub fn $get(&self) -> $borrowed { &self.$field }
                pub fn $set(&mut self, value: $type) { self.$field = value; }
                pub fn $mut_(&mut self) -> &mut $type { &mut self.$field }
                pub fn $take(&mut self) -> $type { take(&mut self.$field) }
            )*
        }
    };
}

/// `get_x`, `set_x`, `mut_x`, `take_x`, `has_x` of messages; absent reads as the default.
macro_rules! nested {
    ($message:ident { $($field:ident: $type:ty => $get:ident $set:ident $mut_:ident $take:ident $has:ident;)* }) => {
        impl $message {
            $(
                pub fn $get(&self) -> &$type {
                    static ABSENT: LazyLock<$type> = LazyLock::new(Default::default);
                    self.$field.as_ref().unwrap_or(&ABSENT)
                }
                pub fn $set(&mut self, value: $type) { self.$field = Some(value); }
                pub fn $mut_(&mut self) -> &mut $type { self.$field.get_or_insert_default() }
                pub fn $take(&mut self) -> $type { self.$field.take().unwrap_or_default() }
                pub fn $has(&self) -> bool { self.$field.is_some() }
            )*
        }
    };
}

/// `get_x` of enumerations; prost itself gives `x()` and `set_x`.
macro_rules! enumerated {
    ($message:ident { $($field:ident: $type:ty => $get:ident;)* }) => {
        impl $message {
            $(pub fn $get(&self) -> $type { self.$field() })*
        }
    };
}

enumerated!(Entry { entry_type: EntryType => get_entry_type; });
plain!(Entry { term: u64 => get_term set_term; index: u64 => get_index set_index; });
owned!(Entry {
    data: Bytes, &[u8] => get_data set_data mut_data take_data;
    context: Bytes, &[u8] => get_context set_context mut_context take_context;
});

plain!(SnapshotMetadata { index: u64 => get_index set_index; term: u64 => get_term set_term; });
nested!(SnapshotMetadata { conf_state: ConfState => get_conf_state set_conf_state mut_conf_state take_conf_state has_conf_state; });

owned!(Snapshot { data: Bytes, &[u8] => get_data set_data mut_data take_data; });
nested!(Snapshot { metadata: SnapshotMetadata => get_metadata set_metadata mut_metadata take_metadata has_metadata; });

enumerated!(Message { msg_type: MessageType => get_msg_type; });
plain!(Message {
    to: u64 => get_to set_to;
    from: u64 => get_from set_from;
    term: u64 => get_term set_term;
    log_term: u64 => get_log_term set_log_term;
    index: u64 => get_index set_index;
    commit: u64 => get_commit set_commit;
    commit_term: u64 => get_commit_term set_commit_term;
    request_snapshot: u64 => get_request_snapshot set_request_snapshot;
    reject: bool => get_reject set_reject;
    reject_hint: u64 => get_reject_hint set_reject_hint;
    priority: i64 => get_priority set_priority;
});
owned!(Message {
    entries: Vec<Entry>, &[Entry] => get_entries set_entries mut_entries take_entries;
    context: Bytes, &[u8] => get_context set_context mut_context take_context;
});
nested!(Message { snapshot: Snapshot => get_snapshot set_snapshot mut_snapshot take_snapshot has_snapshot; });

plain!(HardState {
    term: u64 => get_term set_term;
    vote: u64 => get_vote set_vote;
    commit: u64 => get_commit set_commit;
});

owned!(ConfState {
    voters: Vec<u64>, &[u64] => get_voters set_voters mut_voters take_voters;
    learners: Vec<u64>, &[u64] => get_learners set_learners mut_learners take_learners;
    voters_outgoing: Vec<u64>, &[u64] => get_voters_outgoing set_voters_outgoing mut_voters_outgoing take_voters_outgoing;
    learners_next: Vec<u64>, &[u64] => get_learners_next set_learners_next mut_learners_next take_learners_next;
});
plain!(ConfState { auto_leave: bool => get_auto_leave set_auto_leave; });

enumerated!(ConfChange { change_type: ConfChangeType => get_change_type; });
plain!(ConfChange { node_id: u64 => get_node_id set_node_id; });
owned!(ConfChange { context: Bytes, &[u8] => get_context set_context mut_context take_context; });

enumerated!(ConfChangeSingle { change_type: ConfChangeType => get_change_type; });
plain!(ConfChangeSingle { node_id: u64 => get_node_id set_node_id; });

enumerated!(ConfChangeV2 { transition: ConfChangeTransition => get_transition; });
owned!(ConfChangeV2 {
    changes: Vec<ConfChangeSingle>, &[ConfChangeSingle] => get_changes set_changes mut_changes take_changes;
    context: Bytes, &[u8] => get_context set_context mut_context take_context;
});
