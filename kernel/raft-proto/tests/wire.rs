//! The bytes of each message against the field numbers and types of `raft`'s `eraftpb.proto`, written out by hand: a log
//! or a peer of another build must read the same.
use prost::Message as _;
use raft_proto::prelude::*;

/// Reads the bytes, checks them by `check`, and expects the same bytes when written again.
fn exact<M: prost::Message + Default>(wire: &[u8], check: impl FnOnce(&M)) {
    let message = M::decode(wire).unwrap();
    check(&message);
    assert_eq!(message.encode_to_vec(), wire);
}

#[test]
fn entries() {
    let wire = [0x08, 2, 0x10, 5, 0x18, 0xac, 0x02, 0x22, 2, b'h', b'i', 0x32, 1, b'c'];
    exact::<Entry>(&wire, |entry| {
        assert_eq!(entry.get_entry_type(), EntryType::EntryConfChangeV2);
        assert_eq!((entry.get_term(), entry.get_index()), (5, 300));
        assert_eq!((entry.get_data(), entry.get_context()), (&b"hi"[..], &b"c"[..]));
    });
}

#[test]
fn hard_states() {
    exact::<HardState>(&[0x08, 3, 0x10, 1, 0x18, 9], |state| {
        assert_eq!((state.get_term(), state.get_vote(), state.get_commit()), (3, 1, 9));
    });
}

#[test]
fn member_lists_are_packed() {
    exact::<ConfState>(&[0x0a, 2, 1, 2, 0x12, 1, 3, 0x1a, 1, 1, 0x22, 1, 2, 0x28, 1], |state| {
        assert_eq!((state.get_voters(), state.get_learners()), (&[1, 2][..], &[3][..]));
        assert_eq!(
            (state.get_voters_outgoing(), state.get_learners_next()),
            (&[1][..], &[2][..])
        );
        assert!(state.get_auto_leave());
    });
    // Readers of proto3 take the unpacked form too.
    assert_eq!(ConfState::decode(&[0x08, 1, 0x08, 2][..]).unwrap().voters, [1, 2]);
}

#[test]
fn snapshots() {
    let wire = [0x0a, 1, b's', 0x12, 9, 0x0a, 3, 0x0a, 1, 1, 0x10, 7, 0x18, 2];
    exact::<Snapshot>(&wire, |snapshot| {
        assert_eq!(snapshot.get_data(), b"s");
        assert_eq!(
            (snapshot.get_metadata().get_index(), snapshot.get_metadata().get_term()),
            (7, 2)
        );
        assert_eq!(snapshot.get_metadata().get_conf_state().get_voters(), [1]);
        assert!(!snapshot.is_empty());
    });
    assert!(Snapshot::default().is_empty());
}

#[test]
fn messages() {
    // MsgAppend from 1 to 2 with one entry, and the fields whose numbers are out of order.
    let wire = [
        0x08, 3, 0x10, 2, 0x18, 1, 0x20, 4, 0x28, 3, 0x30, 6, 0x3a, 4, 0x10, 4, 0x18, 7, 0x40, 5, 0x78, 3, 0x68, 8,
        0x50, 1, 0x58, 11, 0x62, 1, b'x', 0x80, 0x01, 2,
    ];
    let message = Message::decode(&wire[..]).unwrap();
    assert_eq!(message.get_msg_type(), MessageType::MsgAppend);
    assert_eq!((message.get_to(), message.get_from(), message.get_term()), (2, 1, 4));
    assert_eq!(
        (message.get_log_term(), message.get_index(), message.get_commit()),
        (3, 6, 5)
    );
    assert_eq!((message.get_commit_term(), message.get_request_snapshot()), (3, 8));
    assert_eq!(
        (message.get_reject(), message.get_reject_hint(), message.get_priority()),
        (true, 11, 2)
    );
    assert_eq!(
        (message.get_context(), message.get_entries()[0].get_index()),
        (&b"x"[..], 7)
    );
    assert!(!message.has_snapshot());
    assert_eq!(Message::decode(message.encode_to_vec().as_slice()).unwrap(), message);
}

#[test]
fn changes_of_members() {
    exact::<ConfChangeV2>(&[0x08, 2, 0x12, 4, 0x08, 1, 0x10, 3, 0x1a, 1, b'w'], |change| {
        assert_eq!(change.get_transition(), ConfChangeTransition::Explicit);
        assert_eq!(
            change.get_changes(),
            [raft_proto::new_conf_change_single(3, ConfChangeType::RemoveNode)]
        );
        assert_eq!((change.get_context(), change.enter_joint()), (&b"w"[..], Some(false)));
    });
    // The older form numbers `id` first.
    let older = ConfChange::decode(&[0x08, 4, 0x10, 2, 0x18, 9][..]).unwrap();
    assert_eq!(
        (older.id, older.get_change_type(), older.get_node_id()),
        (4, ConfChangeType::AddLearnerNode, 9)
    );
}

#[test]
fn rubbish_is_refused() {
    assert!(Entry::decode(&[0x22, 9, b'x'][..]).is_err(), "shorter than it says");
    assert!(Message::decode(&[0x3a, 2, 0x10][..]).is_err(), "an entry cut off");
}
