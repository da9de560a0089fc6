//! The driver of one member, as `kernel/server` has it, cut into steps: a crash may come between any two of them.
//!
//! One round: take in all that waits (messages, requests, a tick), then persist, apply and answer until nothing is left to
//! do. A step that waits for the disk takes time, in which what arrives has to wait.
mod round;

use crate::{
    ask::{Reply, Request},
    disk::Disk,
    fault::Fault,
};
use bytes::Bytes;
use sampan_state::{
    Applied, Header, Persisted, Replica, ReplicaError, Role, Snapshot, decode_checkpoint, encode_checkpoint,
    eraftpb::{Message, MessageType},
    give_state,
};
use std::collections::{BTreeMap, VecDeque};

/// What a member takes in.
#[derive(Clone, Debug)]
pub enum Input {
    Message(Box<Message>),
    Request(Request),
    Tick,
    /// Whether a snapshot reached a member.
    SnapshotSent {
        to: u64,
        arrived: bool,
    },
}

/// One who waits for an entry or an index.
struct Waiter {
    client: usize,
    number: u64,
    /// How many of the entry's results are his; none for a read.
    plans: Option<usize>,
}

/// What a driver does next.
enum Step {
    Output,
    Send(Vec<Message>),
    Checkpoint(u64, Bytes),
    Append(Persisted),
    Sync,
    Persisted,
    Applied(Vec<(Bytes, Applied)>),
    Publish,
}

/// What a step did to the world.
pub enum Effect {
    Send(Box<Message>),
    Reply(usize, u64, Reply),
    /// The replica's log is longer, or another, from now on; this is to be written.
    Appended(Persisted),
    /// The state came whole, at this index.
    Restored(u64, u64),
    /// Entries up to the store's index were applied.
    Applied,
    /// A checkpoint is being written aside.
    CheckpointBegun,
    /// The driver is busy with the disk: go on when it is done.
    Wait,
    /// Nothing left to do.
    Rest,
}

/// A running member.
pub struct Driver {
    pub id: u64,
    pub replica: Replica,
    pub published: Snapshot,
    pub inbox: VecDeque<Input>,
    /// Whether a turn is under way.
    pub busy: bool,
    steps: VecDeque<Step>,
    waiters: BTreeMap<u64, Vec<Waiter>>,
    /// Reads that were confirmed, by the index they wait for.
    reads: Vec<(u64, Waiter)>,
    /// Requests that got their entry's results and wait for these to be published.
    answers: Vec<(usize, u64, Reply)>,
    led: bool,
    clock_skew: u64,
    last_now: u64,
    /// The checkpoint that is being written, and the log's size after the last one.
    checkpoint: Option<(u64, Bytes)>,
    checkpointed_bytes: usize,
    pub checkpoint_after: usize,
    fault: Fault,
}

impl Driver {
    pub fn new(id: u64, replica: Replica, fault: Fault, clock_skew: u64, checkpoint_after: usize) -> Self {
        let published = replica.store().snapshot();
        Driver {
            id,
            replica,
            published,
            inbox: VecDeque::new(),
            busy: false,
            steps: VecDeque::from([Step::Output]),
            waiters: BTreeMap::new(),
            reads: Vec::new(),
            answers: Vec::new(),
            led: false,
            clock_skew,
            last_now: 0,
            checkpoint: None,
            checkpointed_bytes: 0,
            checkpoint_after,
            fault,
        }
    }

    /// One step. `numbers` gives numbers that were never used before, also not by an earlier run of this member.
    ///
    /// # Errors
    /// If the replica cannot go on.
    pub fn step(&mut self, disk: &mut Disk, now: u64, numbers: &mut u64) -> Result<Vec<Effect>, ReplicaError> {
        let Some(step) = self.steps.pop_front() else {
            return Ok(self.begin_round(now, numbers));
        };
        match step {
            Step::Output => self.output(),
            Step::Send(messages) => Ok(messages.into_iter().map(Box::new).map(Effect::Send).collect()),
            Step::Checkpoint(index, bytes) => {
                if self.fault != Fault::ForgetCheckpoint {
                    disk.write_checkpoint(index, bytes);
                }
                Ok(vec![Effect::Wait])
            }
            Step::Append(record) => {
                let mut written = record;
                if self.fault == Fault::ForgetVote
                    && let Some(state) = &mut written.hard_state
                {
                    state.vote = 0;
                }
                disk.append(&written, (self.id + now).is_multiple_of(8));
                Ok(vec![Effect::Wait])
            }
            Step::Sync => {
                if self.fault != Fault::SkipSync {
                    disk.sync();
                }
                Ok(vec![Effect::Wait])
            }
            Step::Persisted => self.persisted(),
            Step::Applied(applied) => {
                for (context, applied) in applied {
                    self.gather_answers(&context, applied);
                }
                Ok(Vec::new())
            }
            Step::Publish => Ok(self.publish(disk)),
        }
    }

    fn output(&mut self) -> Result<Vec<Effect>, ReplicaError> {
        let before = self.replica.store().applied();
        let Some(output) = self.replica.output()? else {
            self.steps.push_back(Step::Publish);
            return Ok(Vec::new());
        };
        for (context, index) in output.reads {
            let waiters = number_of(self.id, &context).and_then(|number| self.waiters.remove(&number));
            self.reads
                .extend(waiters.into_iter().flatten().map(|waiter| (index, waiter)));
        }
        let mut effects = Vec::new();
        let messages = self.with_states(output.messages);
        self.steps.push_back(Step::Send(messages));
        let early = self.fault == Fault::SendBeforePersist;
        if early {
            self.steps.push_back(Step::Persisted);
        }
        if output.took_state {
            let (header, bytes) = self.state();
            effects.push(Effect::Restored(header.index, header.term));
            debug_assert!(header.index >= before);
            self.steps.push_back(Step::Checkpoint(header.index, bytes));
        }
        if let Some(record) = output.persist {
            effects.push(Effect::Appended(record.clone()));
            self.steps.push_back(Step::Append(record));
            self.steps.push_back(Step::Sync);
        }
        if !early {
            self.steps.push_back(Step::Persisted);
        }
        Ok(effects)
    }

    fn state(&self) -> (Header, Bytes) {
        let header = self.replica.header();
        let bytes: Vec<u8> = encode_checkpoint(&header, self.replica.store()).flatten().collect();
        (header, bytes.into())
    }

    /// Messages, with the state in those that are to bring one.
    fn with_states(&self, mut messages: Vec<Message>) -> Vec<Message> {
        let bring = messages
            .iter_mut()
            .filter(|message| message.msg_type() == MessageType::MsgSnapshot);
        for message in bring {
            let (header, bytes) = self.state();
            give_state(message, &header);
            message.mut_snapshot().data = bytes;
        }
        messages
    }

    /// A message of another member. One that makes no sense here is as if it had been lost.
    fn hear(&mut self, message: Message) {
        if message.msg_type() != MessageType::MsgSnapshot {
            let _ = self.replica.step(message);
        } else if let Ok((store, header)) = decode_checkpoint(&message.get_snapshot().data) {
            let _ = self.replica.step_state(message, header, store);
        }
    }

    fn persisted(&mut self) -> Result<Vec<Effect>, ReplicaError> {
        let outcome = self.replica.persisted()?;
        // What else was to be done before this, where a fault turned the order around, comes after.
        let late = std::mem::take(&mut self.steps);
        if let Some(record) = outcome.persist {
            self.steps.push_back(Step::Append(record));
            self.steps.push_back(Step::Sync);
        }
        let messages = self.with_states(outcome.messages);
        self.steps.push_back(Step::Send(messages));
        self.steps.push_back(Step::Applied(outcome.applied));
        self.steps.extend(late);
        self.steps.push_back(Step::Output);
        Ok(vec![Effect::Applied])
    }

    fn gather_answers(&mut self, context: &[u8], applied: Applied) {
        let waiting = number_of(self.id, context).and_then(|number| self.waiters.remove(&number));
        let mut results = applied.results.into_iter();
        for waiter in waiting.into_iter().flatten() {
            let reply = match waiter.plans {
                Some(count) => Reply::Committed(results.by_ref().take(count).collect()),
                // The state is filled in when it is published.
                None => Reply::Unknown,
            };
            self.answers.push((waiter.client, waiter.number, reply));
        }
    }

    /// The end of a round: what was applied can be seen, and who waited is told.
    fn publish(&mut self, disk: &mut Disk) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.published = self.replica.store().snapshot();
        let applied = self.replica.store().applied();
        let ready = self.reads.extract_if(.., |(index, _)| *index <= applied);
        let ready = ready.map(|(_, waiter)| (waiter.client, waiter.number, Reply::Unknown));
        let answers: Vec<_> = self.answers.drain(..).chain(ready).collect();
        for (client, number, reply) in answers {
            let reply = match reply {
                Reply::Unknown => Reply::State(Box::new(self.published.clone())),
                reply => reply,
            };
            effects.push(Effect::Reply(client, number, reply));
        }
        let leads = self.replica.role() == Role::Leader;
        if self.led && !leads {
            for waiter in std::mem::take(&mut self.waiters).into_values().flatten() {
                effects.push(Effect::Reply(waiter.client, waiter.number, Reply::Unknown));
            }
        }
        self.led = leads;
        if self.checkpoint.is_none() && disk.log_bytes() >= self.checkpointed_bytes + self.checkpoint_after {
            let (header, bytes) = self.state();
            self.checkpoint = Some((header.index, bytes));
            effects.push(Effect::CheckpointBegun);
        }
        effects
    }

    /// The checkpoint that was being written is on disk.
    pub fn checkpoint_done(&mut self, disk: &mut Disk) {
        if let Some((index, bytes)) = self.checkpoint.take() {
            disk.write_checkpoint(index, bytes);
            disk.forget();
            self.checkpointed_bytes = disk.log_bytes();
        }
    }
}

/// What travels with a proposal: whose it is, and which.
fn context(member: u64, numbers: &mut u64) -> Bytes {
    *numbers += 1;
    [member.to_le_bytes(), (*numbers - 1).to_le_bytes()].concat().into()
}

fn number_of(member: u64, context: &[u8]) -> Option<u64> {
    let (whose, number) = context.split_first_chunk::<8>()?;
    let number = u64::from_le_bytes(number.try_into().ok()?);
    (u64::from_le_bytes(*whose) == member).then_some(number)
}
