//! One member of the Raft group, sans-IO: ticks, messages and proposals go in; what to persist, to send and what was
//! applied come out.
mod committed;

pub(crate) use committed::apply_entry;

use crate::{
    checkpoint::Header,
    command::Command,
    election::{ELECTION_TICKS, Settings, Timeouts},
    log::{Log, Persisted, Recovered},
    store::{Applied, Store},
};
use bytes::Bytes;
use raft::{
    Config, RawNode, SnapshotStatus, StateRole,
    eraftpb::{ConfChangeV2, ConfState, Entry, EntryType, Message, MessageType, SnapshotMetadata},
};
use sampan_api::ApiError;
use std::collections::{BTreeMap, VecDeque};

const HEARTBEAT_TICKS: usize = 2;

/// For so many ticks without a word of it a member counts as one who catches up: reading a large state takes a while.
const PATIENCE_TICKS: u64 = 1200;

/// Bytes of entries in one message to a follower.
const MESSAGE_BYTES: u64 = 1 << 20;

/// Why a replica could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    #[error("the log does not fit together: {0}")]
    Log(String),
    #[error(transparent)]
    Entry(ApiError),
}

/// What this member is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    Candidate,
    Follower,
}

/// What the driver must do, in this order: send `messages`, persist `persist` (if any, with a sync), call
/// [`Replica::persisted`].
#[derive(Debug, Default)]
pub struct Output {
    /// May be sent before anything is on disk.
    pub messages: Vec<Message>,
    pub persist: Option<Persisted>,
    /// The state is the one that was handed to [`Replica::step_state`]: it must be the newest checkpoint before the rest is
    /// persisted.
    pub took_state: bool,
    /// For each [`Replica::read_index`] that was confirmed: its context, and the index to wait for. What is applied at that
    /// index or later shows all that was acknowledged, anywhere, before the read was asked for.
    pub reads: Vec<(Bytes, u64)>,
}

/// What happened once that was on disk.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The members changed: to be on disk, with a sync, before `messages` are sent. A member that forgot who else there is
    /// could elect itself.
    pub persist: Option<Persisted>,
    pub messages: Vec<Message>,
    /// For each entry applied: the context of its proposal, and what came of it.
    pub applied: Vec<(Bytes, Applied)>,
}

/// How far another member is, as the leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub member: u64,
    /// The last entry that it has confirmed.
    pub matched: u64,
    /// Whether it was heard of lately.
    pub active: bool,
}

/// A member of the group with its state machine.
pub struct Replica {
    node: RawNode<Log>,
    store: Store,
    ready: Option<raft::Ready>,
    /// A state that Raft will take next.
    received: Option<(Header, Store)>,
    /// What this member proposed as the leader, by index and term, until it is applied: it need not be read again.
    own: VecDeque<(u64, u64, Command)>,
    /// Bytes of entries to keep, and to keep at the most for who catches up.
    kept_bytes: usize,
    held_bytes: usize,
    timeouts: Timeouts,
    /// Ticks so far, and the one in which each member was heard last.
    ticks: u64,
    heard: BTreeMap<u64, u64>,
}

impl Replica {
    /// Goes on from what was on disk.
    ///
    /// # Errors
    /// `Log` if entries are missing in it.
    pub fn new(id: u64, store: Store, recovered: Recovered, settings: Settings) -> Result<Self, ReplicaError> {
        let config = Config {
            id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: store.applied(),
            max_size_per_msg: MESSAGE_BYTES,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let node = RawNode::new(
            &config,
            Log::new(recovered).map_err(ReplicaError::Log)?,
            &slog::Logger::root(slog::Discard, slog::o!()),
        )?;
        let mut replica = Replica {
            node,
            store,
            ready: None,
            received: None,
            own: VecDeque::new(),
            kept_bytes: settings.kept_bytes,
            held_bytes: settings.held_bytes,
            timeouts: Timeouts::new(settings.seed),
            ticks: 0,
            heard: BTreeMap::new(),
        };
        replica.timeouts.keep(&mut replica.node);
        if replica.node.store().members.voters == [id] {
            // Alone there is nobody to wait for.
            replica.node.campaign()?;
            replica.timeouts.keep(&mut replica.node);
        }
        Ok(replica)
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn role(&self) -> Role {
        match self.node.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower => Role::Follower,
        }
    }

    /// The leader's id as far as is known; 0 for none.
    pub fn leader(&self) -> u64 {
        self.node.raft.leader_id
    }

    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// The term in which this member leads, once it has applied all that was committed before that term.
    pub fn leads(&self) -> Option<u64> {
        let term = self.term();
        let caught_up = || self.node.raft.raft_log.term(self.store.applied()) == Ok(term);
        (self.role() == Role::Leader && caught_up()).then_some(term)
    }

    /// The last entry of the log.
    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// The time of the newest command, in the log or in the state. Members' clocks differ: who begins to lead goes on from
    /// there.
    pub fn last_time(&self) -> u64 {
        let commands = |entry: &&Entry| entry.entry_type() == EntryType::EntryNormal && !entry.data.is_empty();
        let newest = self.node.store().all().rev().find(commands);
        let logged = newest.and_then(|entry| Command::time_of(&entry.data));
        self.store.newest_time().max(logged.unwrap_or(0))
    }

    pub fn members(&self) -> &ConfState {
        &self.node.store().members
    }

    /// Time has passed: one tick.
    pub fn tick(&mut self) {
        self.ticks += 1;
        self.node.tick();
        self.timeouts.keep(&mut self.node);
    }

    /// A message of another member.
    ///
    /// # Errors
    /// If it makes no sense here; it is then as if it had been lost.
    pub fn step(&mut self, mut message: Message) -> Result<(), ReplicaError> {
        self.heard.insert(message.from, self.ticks);
        if message.msg_type() == MessageType::MsgHeartbeat {
            // Who lost the end of its log to a bad disk is told of a commit that it has confirmed and does not have. It says
            // so when the next entries come, and is given what it lacks.
            message.commit = message.commit.min(self.last_index());
        }
        let stepped = self.node.step(message);
        self.timeouts.keep(&mut self.node);
        Ok(stepped?)
    }

    /// A state of another member that came with a message (`MsgSnapshot`); whether it is taken. Of several the last counts
    /// that is newer than what this member has.
    ///
    /// # Errors
    /// As [`Replica::step`], and if the message speaks of another state.
    pub fn step_state(&mut self, message: Message, header: Header, store: Store) -> Result<bool, ReplicaError> {
        let index = message.get_snapshot().get_metadata().index;
        if index != header.index || header.cluster != self.store.cluster() {
            return Err(ReplicaError::Log(format!(
                "the message is of the state at {index} of this cluster, and the state is that of {} at {}",
                header.cluster, header.index
            )));
        }
        self.step(message)?;
        let pending = self.node.raft.raft_log.unstable.snapshot.as_ref();
        let taken = pending.is_some_and(|pending| pending.get_metadata().index == index);
        if taken {
            self.received = Some((header, store));
        }
        Ok(taken)
    }

    /// Proposes a command; `context` comes back with what came of it. A follower hands it to the leader in a message, which
    /// must not arrive twice: a command without a key would act twice.
    ///
    /// # Errors
    /// If no leader is known, or too much is under way.
    pub fn propose(&mut self, context: Bytes, command: Command) -> Result<(), ReplicaError> {
        let encoded = command.encode();
        self.propose_encoded(context, command, encoded)
    }

    /// As [`Replica::propose`], of a command that was encoded already.
    ///
    /// # Errors
    /// As [`Replica::propose`].
    pub fn propose_encoded(&mut self, context: Bytes, command: Command, encoded: Bytes) -> Result<(), ReplicaError> {
        self.node.propose(context.into(), encoded.into())?;
        if self.role() == Role::Leader && command.is_plain() {
            // Of one index and term there is one entry.
            self.own.push_back((self.last_index(), self.term(), command));
        }
        Ok(())
    }

    /// Proposes to change the members.
    ///
    /// # Errors
    /// If this is not the leader. What cannot be done, as to remove the last voter, comes back refused once it is applied.
    pub fn propose_members(&mut self, context: Bytes, change: ConfChangeV2) -> Result<(), ReplicaError> {
        Ok(self.node.propose_conf_change(context.to_vec(), change)?)
    }

    /// Asks what index a read must wait for to be linearizable, without an entry in the log; the answer comes in
    /// [`Output::reads`] with the context, which must be unlike any other of the group. None comes if there is no leader,
    /// the leader is new, or a message is lost: ask again after a while.
    pub fn read_index(&mut self, context: Bytes) {
        self.node.read_index(context.to_vec());
    }

    /// A message to that member could not be sent.
    pub fn unreachable(&mut self, member: u64) {
        self.node.report_unreachable(member);
    }

    /// The state (`MsgSnapshot`) was sent to that member, or could not be. Must be said of each: nothing else is sent to that
    /// member before.
    pub fn state_sent(&mut self, member: u64, arrived: bool) {
        let status = if arrived {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.node.report_snapshot(member, status);
    }

    /// How far all members are; empty unless this one leads.
    pub fn progress(&self) -> Vec<Progress> {
        if self.role() != Role::Leader {
            return Vec::new();
        }
        let mut known: Vec<Progress> = self
            .node
            .raft
            .prs()
            .iter()
            .map(|(member, progress)| Progress {
                member: *member,
                matched: progress.matched,
                active: *member == self.node.raft.id || self.was_heard(*member, ELECTION_TICKS as u64),
            })
            .collect();
        known.sort_by_key(|progress| progress.member);
        known
    }

    /// Whether a member was heard in the last so many ticks. Raft's own `recent_active` is cleared at each check of the quorum,
    /// so that everybody is away for a moment.
    fn was_heard(&self, member: u64, ticks: u64) -> bool {
        let heard = self.heard.get(&member);
        heard.is_some_and(|tick| self.ticks - tick <= ticks)
    }

    /// Lets go of entries that are applied: they are on disk, and a follower that lacks them gets the state. Those that one
    /// who was heard lately still lacks are kept longer, or none would ever catch up while much is written.
    fn trim_log(&mut self) {
        let bytes = self.node.store().bytes();
        if bytes <= self.kept_bytes {
            return;
        }
        let held = self.furthest_behind().filter(|_| bytes <= self.held_bytes);
        let index = self.store.applied().min(held.unwrap_or(u64::MAX));
        self.node.mut_store().trim(index, self.kept_bytes);
    }

    /// What the slowest of the members that were heard lately has confirmed; none unless this one leads.
    fn furthest_behind(&self) -> Option<u64> {
        let others = self.node.raft.prs().iter().filter(|_| self.role() == Role::Leader);
        let heard = others.filter(|(member, _)| self.was_heard(**member, PATIENCE_TICKS));
        heard.map(|(_, progress)| progress.matched).min()
    }

    /// Hands leadership to another member.
    pub fn transfer_leader(&mut self, to: u64) {
        self.node.transfer_leader(to);
    }

    /// What is to be done now; none if nothing. Followed by [`Replica::persisted`].
    ///
    /// # Errors
    /// If the state received from the leader cannot be read.
    pub fn output(&mut self) -> Result<Option<Output>, ReplicaError> {
        if !self.node.has_ready() {
            return Ok(None);
        }
        let mut ready = self.node.ready();
        let reads = ready.take_read_states().into_iter();
        let mut output = Output {
            messages: ready.take_messages(),
            reads: reads.map(|read| (read.request_ctx.into(), read.index)).collect(),
            ..Output::default()
        };
        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            let received = self.received.take();
            let (_, store) = received
                .filter(|(header, _)| header.index == metadata.index)
                .ok_or_else(|| ReplicaError::Log(format!("the state at {} did not come", metadata.index)))?;
            self.store = store;
            self.node.mut_store().restore(metadata);
            output.took_state = true;
        }
        if let Some(hard_state) = ready.hs() {
            self.node.mut_store().set_hard_state(hard_state.clone());
        }
        self.node.mut_store().append(ready.entries());
        if ready.must_sync() || !ready.entries().is_empty() || ready.hs().is_some() {
            // Every record says the term, the vote and the commit: the driver may let go of all older ones.
            let hard_state = Some(self.node.store().hard_state().clone());
            output.persist = Some(Persisted {
                entries: ready.entries().clone(),
                hard_state,
            });
        }
        self.ready = Some(ready);
        Ok(Some(output))
    }

    /// The output is on disk: applies what is committed.
    ///
    /// # Errors
    /// If a committed change of members cannot be read.
    pub fn persisted(&mut self) -> Result<Outcome, ReplicaError> {
        let Some(mut ready) = self.ready.take() else {
            return Ok(Outcome::default());
        };
        let members = self.members().clone();
        let mut outcome = Outcome {
            messages: ready.take_persisted_messages(),
            ..Outcome::default()
        };
        let mut committed = ready.take_committed_entries();
        // Before anything is applied: a leader that applies its own removal has no part any more in what it persisted.
        let mut light = self.node.advance_append(ready);
        if let Some(commit) = light.commit_index() {
            self.node.mut_store().set_commit(commit);
        }
        outcome.messages.append(&mut light.take_messages());
        committed.append(&mut light.take_committed_entries());
        self.apply_all(committed, &mut outcome)?;
        self.node.advance_apply();
        self.node.mut_store().applied = self.store.applied();
        self.trim_log();
        self.step_down_if_removed();
        if *self.members() != members {
            let hard_state = Some(self.node.store().hard_state().clone());
            outcome.persist = Some(Persisted {
                entries: Vec::new(),
                hard_state,
            });
        }
        Ok(outcome)
    }

    /// What a checkpoint of the state now says of itself.
    pub fn header(&self) -> Header {
        let index = self.store.applied();
        Header {
            cluster: self.store.cluster().to_owned(),
            index,
            term: raft::Storage::term(self.node.store(), index).unwrap_or_default(),
            members: Some(self.members().clone()),
            revision: self.store.snapshot().revision(),
            compacted: self.store.snapshot().compacted(),
        }
    }
}

/// Makes a message that gives a state (`MsgSnapshot`) one of this state, which may be newer than the one it was made for.
pub fn give_state(message: &mut Message, header: &Header) {
    message.mut_snapshot().metadata = Some(SnapshotMetadata {
        conf_state: header.members.clone(),
        index: header.index,
        term: header.term,
    });
}
