//! The driver's part for the group: other members' messages, changes of members, and the state of who is far ahead.
use super::{
    driver::{Driver, Request},
    waiters::Waiter,
};
use sampan_api::ApiError;
use sampan_state::{
    Command, Role,
    eraftpb::{EntryType, Message, MessageType},
};
use std::time::{Duration, Instant};

/// What an entry takes beside its data, about. Bytes.
const ENTRY: usize = 64;

/// Leadership is handed over for want of room no more often: all may be full.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(10);

impl Driver {
    /// What concerns the group.
    pub fn pass_on(&mut self, request: Request) {
        match request {
            Request::Step(messages) => {
                for message in messages {
                    self.step(message);
                }
            }
            Request::StepState(came) => {
                let (message, header, store, file) = *came;
                match self.replica.step_state(message, header, store) {
                    Ok(true) => self.received = Some(file),
                    Ok(false) => {}
                    Err(error) => tracing::debug!(%error, "the state of a member was of no use"),
                }
            }
            Request::Unreachable(member) => self.replica.unreachable(member),
            Request::StateSent(member, arrived) => self.replica.state_sent(member, arrived),
            Request::TransferLeadership(member) => self.replica.transfer_leader(member),
            Request::Members { change, reply } => {
                let waiter = Waiter::Plans(1, reply);
                match self.replica.propose_members(self.waiters.context(), change) {
                    Ok(()) => self.waiters.wait(vec![waiter]),
                    Err(error) => waiter.fail(&ApiError::unavailable(format!("not now: {error}"))),
                }
            }
            Request::State { reply } => {
                let _ = reply.send(Ok((self.replica.header(), self.replica.store().clone())));
            }
            Request::Commit { .. } | Request::Blobs { .. } | Request::Barrier { .. } | Request::Shutdown { .. } => {}
        }
    }

    fn step(&mut self, mut message: Message) {
        if message.msg_type() == MessageType::MsgPropose && self.replica.role() == Role::Leader {
            // Members' clocks differ: the leader's tells the time. And it is its log that must have room.
            let now = self.timing.now(&self.replica);
            let mut bytes = 0;
            for entry in message.entries.iter_mut().filter(|entry| !entry.data.is_empty()) {
                if entry.entry_type() == EntryType::EntryNormal {
                    entry.data = Command::stamped(&entry.data, now);
                    bytes += entry.data.len();
                }
            }
            // Who proposed hears nothing, tries again, and is told that nothing can be written when it leads or asks here.
            if self.prepare(bytes).is_err() {
                return;
            }
        }
        // Entries for which there is no room are as good as lost: the leader sends them again until there is.
        if message.msg_type() == MessageType::MsgAppend && !message.entries.is_empty() {
            let bytes = message.entries.iter().map(|entry| entry.data.len() + ENTRY).sum();
            self.stuck = self.prepare(bytes).err().map(|error| error.message);
            if self.stuck.is_some() {
                return;
            }
        }
        let from = message.from;
        if let Err(error) = self.replica.step(message) {
            tracing::debug!(from, %error, "a message of a member was of no use");
        }
    }

    /// There is no room here: another may have some, and lead.
    pub(super) fn hand_over(&mut self) {
        if self.handed_over.is_some_and(|at| at.elapsed() < HAND_OVER_PAUSE) {
            return;
        }
        if let Some(heir) = self.status().heir() {
            tracing::warn!(to = heir, "the disk is full: leadership goes to another member");
            self.handed_over = Some(Instant::now());
            self.replica.transfer_leader(heir);
        }
    }
}
