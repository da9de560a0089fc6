//! Members at work: they start, take turns, send, and crash.
use super::{CLUSTER, Event, Member, TICK, World};
use crate::{
    driver::{Driver, Effect, Input},
    failure::Failure,
    network::CLIENTS,
};
use sampan_state::{
    Replica, Role, Settings,
    eraftpb::{Message, MessageType},
};

impl World {
    /// A member starts from its disk.
    pub fn start(&mut self, id: u64) -> Result<(), Failure> {
        let (settings, now) = (
            Settings {
                seed: self.random.number(),
                kept_bytes: self.profile.kept_bytes,
                held_bytes: self.profile.held_bytes,
            },
            self.now,
        );
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        if member.driver.is_some() || member.retired {
            return Ok(());
        }
        let cannot = |why: String| Failure::new(format!("member {id} cannot start: {why}"));
        let (store, recovered) = member
            .disk
            .recover(CLUSTER)
            .map_err(|error| cannot(error.to_string()))?;
        self.oracle.started(id, &recovered, &store)?;
        let replica = Replica::new(id, store, recovered, settings).map_err(|error| cannot(error.to_string()))?;
        member.run += 1;
        let driver = Driver::new(
            id,
            replica,
            self.profile.fault,
            member.clock_skew,
            self.profile.checkpoint_after,
        );
        member.driver = Some(driver);
        let run = member.run;
        self.trace.note(now, &[1, id, run], || format!("{id}: starts"));
        let first = self.random.below(TICK);
        self.later(first, Event::Tick(id, run));
        self.wake(id);
        Ok(())
    }

    /// A member loses all that is not safe on its disk.
    pub fn crash(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if member.driver.take().is_none() {
            return;
        }
        member.disk.crash(&mut self.random);
        self.crashes += 1;
        self.trace.note(self.now, &[2, id], || format!("{id}: crashes"));
        // One that is back at once may be asked again what it forgot.
        let long = self.random.chance(1, 2);
        let away = self.random.between(1_000, if long { 3_000_000 } else { 50_000 });
        self.later(away, Event::Start(id));
    }

    /// Something arrives at a member.
    pub fn hand(&mut self, id: u64, input: Input) {
        if let Some(driver) = self.members.get_mut(&id).and_then(|member| member.driver.as_mut()) {
            driver.inbox.push_back(input);
            self.wake(id);
        }
    }

    pub(super) fn wake(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let run = member.run;
        if let Some(driver) = member.driver.as_mut().filter(|driver| !driver.busy) {
            driver.busy = true;
            self.later(10, Event::Turn(id, run));
        }
    }

    pub(super) fn deliver(&mut self, message: Box<Message>) {
        let (from, to, index) = (message.from, message.to, message.index);
        let kind = message.msg_type;
        self.trace.note(
            self.now,
            &[
                3,
                from,
                to,
                u64::from(kind.unsigned_abs()),
                index,
                message.term,
                message.commit,
            ],
            || {
                format!(
                    "{to}: hears {:?} of {from}, term {}, index {index}",
                    message.msg_type(),
                    message.term
                )
            },
        );
        let arrived = self.driver(to).is_some();
        if message.msg_type() == MessageType::MsgSnapshot {
            self.snapshots += u64::from(arrived);
            self.later(1_000, Event::SnapshotSent(from, to, arrived));
        }
        self.hand(to, Input::Message(message));
    }

    /// A member does what it can until it has to wait.
    pub(super) fn turn(&mut self, id: u64, run: u64) -> Result<(), Failure> {
        let still = self
            .members
            .get(&id)
            .map_or(0, |member| member.still_until.saturating_sub(self.now));
        if still > 0 && !self.calm {
            self.later(still, Event::Turn(id, run));
            return Ok(());
        }
        loop {
            let crash = !self.calm && self.random.chance(self.profile.crashes, 100_000);
            if crash {
                self.crash(id);
                return Ok(());
            }
            let (now, mut numbers) = (self.now, self.numbers);
            let Some(Member {
                disk,
                driver: Some(driver),
                ..
            }) = self.run_of(id, run)
            else {
                return Ok(());
            };
            let effects = driver
                .step(disk, now, &mut numbers)
                .map_err(|error| Failure::new(format!("member {id} cannot go on: {error}")))?;
            self.numbers = numbers;
            for effect in effects {
                match effect {
                    Effect::Rest => {
                        if let Some(driver) = self.members.get_mut(&id).and_then(|member| member.driver.as_mut()) {
                            driver.busy = false;
                        }
                        return Ok(());
                    }
                    Effect::Wait => {
                        let (least, most) = self.profile.disk;
                        let wait = self.random.between(least, most);
                        self.later(wait, Event::Turn(id, run));
                        return Ok(());
                    }
                    effect => self.take_effect(id, run, effect)?,
                }
            }
            self.check_role(id)?;
        }
    }

    pub(super) fn check_role(&mut self, id: u64) -> Result<(), Failure> {
        match self
            .driver(id)
            .map(|driver| (driver.replica.role(), driver.replica.term()))
        {
            Some((Role::Leader, term)) => self.oracle.leads(id, term),
            _ => Ok(()),
        }
    }

    pub(super) fn take_effect(&mut self, id: u64, run: u64, effect: Effect) -> Result<(), Failure> {
        match effect {
            Effect::Send(message) => self.send(message),
            Effect::Reply(client, number, reply) if client < self.clients.len() => {
                if let Some(after) = self.arrival(id, CLIENTS + client as u64) {
                    self.later(after, Event::Reply(client, number, reply));
                }
            }
            Effect::Appended(record) => self.oracle.appended(id, &record)?,
            Effect::Restored(index, term) => {
                let driver = self.members.get(&id).and_then(|member| member.driver.as_ref());
                if let Some(driver) = driver {
                    self.oracle.restored(id, index, term, driver.replica.store())?;
                    self.joint_snapshots += u64::from(!driver.replica.members().voters_outgoing.is_empty());
                }
            }
            Effect::Applied => {
                let driver = self.members.get(&id).and_then(|member| member.driver.as_ref());
                if let Some(driver) = driver {
                    let (store, members) = (driver.replica.store(), driver.replica.members());
                    self.oracle.applied(id, store, members)?;
                    let applied = store.applied();
                    self.trace
                        .note(self.now, &[5, id, applied], || format!("{id}: applied {applied}"));
                }
            }
            Effect::CheckpointBegun => {
                let length = self.random.between(1_000, 200_000);
                self.later(length, Event::CheckpointDone(id, run));
            }
            Effect::Reply(..) | Effect::Wait | Effect::Rest => {}
        }
        Ok(())
    }

    pub(super) fn send(&mut self, message: Box<Message>) {
        let mut arrivals = self.network.arrivals(message.from, message.to, &mut self.random);
        match message.msg_type() {
            // Whoever brings proposals must not bring one twice: without a key it would act twice.
            MessageType::MsgPropose => arrivals.truncate(1),
            MessageType::MsgSnapshot if arrivals.is_empty() => {
                self.later(TICK, Event::SnapshotSent(message.from, message.to, false));
            }
            _ => {}
        }
        for after in arrivals {
            self.later(after, Event::Deliver(message.clone()));
        }
    }
}
