//! What is committed is applied: commands to the state machine, changes of members to Raft.
use super::{Outcome, Replica, ReplicaError};
use crate::{
    command::Command,
    store::{Applied, Store},
};
use prost::Message as _;
use raft::{
    StateRole,
    eraftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType},
};
use sampan_api::ApiError;

impl Replica {
    pub(super) fn apply_all(&mut self, entries: Vec<Entry>, outcome: &mut Outcome) -> Result<(), ReplicaError> {
        for entry in entries {
            let applied = match entry.entry_type() {
                EntryType::EntryNormal => match self.own_command(&entry) {
                    Some(command) => self.store.apply(entry.index, command),
                    None => apply_entry(&mut self.store, &entry)?,
                },
                EntryType::EntryConfChange => {
                    let change = ConfChange::decode(entry.data.clone()).map_err(decode_error)?;
                    let members = self.node.apply_conf_change(&change);
                    self.change_members(members, entry.index)
                }
                EntryType::EntryConfChangeV2 => {
                    let change = ConfChangeV2::decode(entry.data.clone()).map_err(decode_error)?;
                    let members = self.node.apply_conf_change(&change);
                    self.change_members(members, entry.index)
                }
            };
            outcome.applied.push((entry.context, applied));
        }
        Ok(())
    }

    /// What an entry says, if this member has proposed it.
    fn own_command(&mut self, entry: &Entry) -> Option<Command> {
        while self.own.front()?.0 < entry.index {
            self.own.pop_front();
        }
        let is_it = |(index, term, _): &(u64, u64, Command)| (*index, *term) == (entry.index, entry.term);
        self.own.front().filter(|own| is_it(own))?;
        let (_, _, command) = self.own.pop_front()?;
        debug_assert_eq!(Command::decode(entry.data.clone()).as_ref(), Ok(&command));
        Some(command)
    }

    /// What makes no sense, as to remove the last voter, is refused here, by all members alike: whether it does is only
    /// known when all before it is applied.
    fn change_members(&mut self, members: raft::Result<ConfState>, index: u64) -> Applied {
        let mut applied = self.store.apply(index, Command::default());
        match members {
            Ok(members) => self.node.mut_store().members = members,
            Err(error) => {
                let refused = ApiError::bad_request(format!("the members cannot be changed like that: {error}"));
                applied.results.push(Err(refused));
            }
        }
        applied
    }

    /// Raft lets a leader that is no longer a voter lead on: it takes no proposals, and its heartbeats keep all others from
    /// an election, for ever. And if one voter is left, it answers [`Replica::read_index`] without asking anybody.
    pub(super) fn step_down_if_removed(&mut self) {
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !raft.promotable() {
            raft.become_follower(raft.term, raft::INVALID_ID);
            self.timeouts.keep(&mut self.node);
        }
    }
}

/// Applies an entry to the state machine; to that a change of members is nothing but an index.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn apply_entry(store: &mut Store, entry: &Entry) -> Result<Applied, ReplicaError> {
    // A new leader's first entry is empty.
    if entry.data.is_empty() || entry.entry_type() != EntryType::EntryNormal {
        return Ok(store.apply(entry.index, Command::default()));
    }
    // What this program cannot read must not be skipped: the members' states would part.
    let (mut command, refused) = Command::read(entry.data.clone()).map_err(ReplicaError::Entry)?;
    if !refused.is_empty() {
        command.idempotency_key.clear();
    }
    let mut applied = store.apply(entry.index, command);
    for (at, error) in refused {
        applied.results[at] = Err(error);
    }
    Ok(applied)
}

fn decode_error(error: prost::DecodeError) -> ReplicaError {
    ReplicaError::Log(format!("a change of members in it is damaged: {error}"))
}
