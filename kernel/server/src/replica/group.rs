//! The driver's part for the group: other members' messages, changes of members, and the state for who is far behind.
use super::{
    driver::{Driver, Request, clock},
    waiters::Waiter,
};
use sampan_api::ApiError;
use sampan_state::{
    Command, Role, encode_checkpoint,
    eraftpb::{EntryType, Message, MessageType},
};
use std::thread::Builder;

impl Driver {
    /// What concerns the group.
    pub fn pass_on(&mut self, request: Request) {
        match request {
            Request::Step(messages) => {
                for message in messages {
                    self.step(message);
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
            self.last_now = self.last_now.max(clock());
            let mut bytes = 0;
            for entry in message.entries.iter_mut().filter(|entry| !entry.data.is_empty()) {
                if entry.entry_type() == EntryType::EntryNormal {
                    entry.data = Command::stamped(&entry.data, self.last_now);
                    bytes += entry.data.len();
                }
            }
            // Who proposed hears nothing, tries again, and is told that nothing can be written when it leads or asks here.
            if self.prepare(bytes).is_err() {
                return;
            }
        }
        let from = message.from;
        if let Err(error) = self.replica.step(message) {
            tracing::debug!(from, %error, "a message of a member was of no use");
        }
    }

    /// Has the state encoded beside everything else, for a member that is too far behind for entries.
    pub fn offer_state_if_wanted(&mut self) {
        if let Some(thread) = self.encoding.take_if(|thread| thread.is_finished()) {
            match thread.join() {
                Ok((header, data)) => self.replica.offer_state(header, data),
                Err(_) => tracing::error!("encoding the state panicked"),
            }
        }
        if !self.replica.wants_state() || self.encoding.is_some() {
            return;
        }
        let (header, store) = (self.replica.header(), self.replica.store().clone());
        let encode = move || {
            let data: Vec<u8> = encode_checkpoint(&header, &store).flatten().collect();
            (header, data.into())
        };
        match Builder::new().name("state".to_owned()).spawn(encode) {
            Ok(thread) => self.encoding = Some(thread),
            Err(error) => tracing::warn!(%error, "no state can be sent"),
        }
    }
}
