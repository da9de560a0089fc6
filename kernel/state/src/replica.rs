//! One member of the Raft group, sans-IO: ticks, messages and proposals go in; what to persist, to send and what was
//! applied come out.
use crate::{
    checkpoint::{self, Header},
    command::Command,
    log::{Log, Persisted, Recovered},
    names,
    store::{Applied, Store},
};
use bytes::Bytes;
use prost::Message as _;
use raft::{
    Config, RawNode, SnapshotStatus, StateRole,
    eraftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType, Message, Snapshot, SnapshotMetadata},
};
use sampan_api::ApiError;

/// Ticks without a leader before an election.
const ELECTION_TICKS: usize = 10;
const HEARTBEAT_TICKS: usize = 2;

/// Bytes of entries in one message to a follower.
const MESSAGE_BYTES: u64 = 1 << 20;

/// Entries kept in memory for followers after they are in a checkpoint, unless told otherwise.
const KEPT_ENTRIES: u64 = 4096;

/// What a replica is given from outside.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where its randomness comes from: members with the same seed could stand for election at the same time for ever.
    pub seed: u64,
    /// Entries kept in memory for followers after they are in a checkpoint. One that is further behind gets the state.
    pub kept_entries: u64,
}

impl Settings {
    pub fn seeded(seed: u64) -> Self {
        Settings {
            seed,
            kept_entries: KEPT_ENTRIES,
        }
    }
}

/// Why a replica could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    #[error("the state received from the leader cannot be read: {0}")]
    Checkpoint(#[from] checkpoint::CheckpointError),
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
    /// The state as received from the leader: a checkpoint to persist before the rest.
    pub checkpoint: Option<Bytes>,
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

/// A member of the group with its state machine.
pub struct Replica {
    node: RawNode<Log>,
    store: Store,
    ready: Option<raft::Ready>,
    settings: Settings,
    /// The election timeout in force, and the term and role it was drawn for.
    timeout: usize,
    drawn_for: (u64, StateRole),
    draws: u64,
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
            settings,
            timeout: ELECTION_TICKS,
            drawn_for: (0, StateRole::Follower),
            draws: 0,
        };
        replica.draw_timeout();
        if replica.node.store().members.voters == [id] {
            // Alone there is nobody to wait for.
            replica.node.campaign()?;
            replica.keep_timeout();
        }
        Ok(replica)
    }

    /// Raft draws election timeouts from the thread's generator; ours take their place, since randomness is an input. One
    /// is drawn whenever the term or the role changes.
    fn keep_timeout(&mut self) {
        if self.drawn_for != (self.node.raft.term, self.node.raft.state) {
            self.draw_timeout();
        }
        self.node.raft.set_randomized_election_timeout(self.timeout);
    }

    fn draw_timeout(&mut self) {
        self.drawn_for = (self.node.raft.term, self.node.raft.state);
        self.draws += 1;
        let random = names::mix(self.settings.seed ^ names::mix(self.draws));
        self.timeout = ELECTION_TICKS + usize::try_from(random % ELECTION_TICKS as u64).unwrap_or(0);
        self.node.raft.set_randomized_election_timeout(self.timeout);
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

    pub fn members(&self) -> &ConfState {
        &self.node.store().members
    }

    /// Time has passed: one tick.
    pub fn tick(&mut self) {
        self.node.tick();
        self.keep_timeout();
    }

    /// A message of another member.
    ///
    /// # Errors
    /// If it makes no sense here; it is then as if it had been lost.
    pub fn step(&mut self, message: Message) -> Result<(), ReplicaError> {
        let stepped = self.node.step(message);
        self.keep_timeout();
        Ok(stepped?)
    }

    /// Proposes a command; `context` comes back with what came of it.
    ///
    /// # Errors
    /// If this is not the leader, or too much is under way.
    pub fn propose(&mut self, context: Bytes, command: &Command) -> Result<(), ReplicaError> {
        self.propose_encoded(context, command.encode())
    }

    /// As [`Replica::propose`], of a command that was encoded already.
    ///
    /// # Errors
    /// As [`Replica::propose`].
    pub fn propose_encoded(&mut self, context: Bytes, command: Bytes) -> Result<(), ReplicaError> {
        Ok(self.node.propose(context.into(), command.into())?)
    }

    /// Proposes to change the members.
    ///
    /// # Errors
    /// If this is not the leader, or another change is under way.
    pub fn propose_members(&mut self, context: Bytes, change: ConfChangeV2) -> Result<(), ReplicaError> {
        Ok(self.node.propose_conf_change(context.to_vec(), change)?)
    }

    /// Asks what index a read must wait for to be linearizable, without an entry in the log; the answer comes in
    /// [`Output::reads`] with the context, which must be unlike any other of the group. None comes if there is no leader,
    /// the leader is new, or a message is lost: ask again after a while.
    pub fn read_index(&mut self, context: Bytes) {
        self.node.read_index(context.to_vec());
    }

    /// What became of a snapshot (`MsgSnapshot`) that was sent to a member. Must be said of each: nothing else is sent to
    /// that member before.
    pub fn snapshot_sent(&mut self, to: u64, arrived: bool) {
        let status = if arrived {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.node.report_snapshot(to, status);
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
        self.make_snapshot_if_wanted();
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
            let snapshot = ready.snapshot().clone();
            let (store, _) = checkpoint::decode(&snapshot.data)?;
            self.store = store;
            self.node.mut_store().restore(snapshot.get_metadata());
            output.checkpoint = Some(snapshot.data);
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

    fn apply_all(&mut self, entries: Vec<Entry>, outcome: &mut Outcome) -> Result<(), ReplicaError> {
        for entry in entries {
            let applied = match entry.entry_type() {
                EntryType::EntryNormal => self.apply(&entry)?,
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

    fn apply(&mut self, entry: &Entry) -> Result<Applied, ReplicaError> {
        // A new leader's first entry is empty.
        if entry.data.is_empty() {
            return Ok(self.store.apply(entry.index, &Command::default()));
        }
        // What this program cannot read must not be skipped: the members' states would part.
        let (mut command, refused) = Command::read(entry.data.clone()).map_err(ReplicaError::Entry)?;
        if !refused.is_empty() {
            command.idempotency_key.clear();
        }
        let mut applied = self.store.apply(entry.index, &command);
        for (at, error) in refused {
            applied.results[at] = Err(error);
        }
        Ok(applied)
    }

    /// What makes no sense, as to remove the last voter, is refused here, by all members alike: whether it does is only
    /// known when all before it is applied.
    fn change_members(&mut self, members: raft::Result<ConfState>, index: u64) -> Applied {
        let mut applied = self.store.apply(index, &Command::default());
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
    fn step_down_if_removed(&mut self) {
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !raft.promotable() {
            raft.become_follower(raft.term, raft::INVALID_ID);
            self.keep_timeout();
        }
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

    /// A checkpoint of the state at this index is on disk: entries long before it are let go of.
    pub fn checkpointed(&mut self, index: u64) {
        self.node.mut_store().forget(index.saturating_sub(self.settings.kept_entries));
    }

    fn make_snapshot_if_wanted(&mut self) {
        if !self.node.store().snapshot_wanted.replace(false) {
            return;
        }
        let header = self.header();
        let metadata = SnapshotMetadata {
            conf_state: header.members.clone(),
            index: header.index,
            term: header.term,
        };
        let data: Vec<u8> = checkpoint::encode(&header, &self.store).flatten().collect();
        self.node.mut_store().snapshot = Some(Snapshot {
            data: data.into(),
            metadata: Some(metadata),
        });
    }
}

fn decode_error(error: prost::DecodeError) -> ReplicaError {
    let message = format!("a change of members in the log is damaged: {error}");
    ReplicaError::Checkpoint(checkpoint::CheckpointError::Damaged(
        ApiError::internal(message).message,
    ))
}
