//! The controller loops: changes in, keys to the policy, plans to the committer. One thread for each slot.
//!
//! A key is reconciled on a snapshot that shows all this controller has committed, so a plan never repeats what was
//! done. Plans of different keys go into one Raft entry and succeed or fail each by itself.
mod interest;
mod keys;
mod reader;

use super::{
    fleet::{Fleet, LineUp, Member, Verdict},
    narrate::{Narrator, now_millis},
};
use crate::replica::{Batch, Changes, ReplicaHandle};
use interest::Interest;
use keys::Keys;
use reader::Reader;
use sampan_api::{ApiError, Key, Plan, Reason};
use sampan_sandbox::{
    CallError,
    controller::{ControllerPlan, ControllerPlugin},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Keys reconciled before their plans are committed together.
const TOGETHER: usize = 64;

/// A key that failed so often in a row is told of in an event.
const TELL_AFTER: u32 = 5;

/// An instance at work.
struct Seat {
    member: Member,
    plugin: ControllerPlugin,
    interest: Interest,
}

/// The loop of one controller slot.
pub struct Controlling {
    slot: String,
    replica: ReplicaHandle,
    fleet: Arc<Fleet>,
    narrator: Narrator,
    line_up: watch::Receiver<LineUp>,
    stop: Arc<AtomicBool>,
    keys: Keys,
    active: Option<Seat>,
    shadow: Option<Seat>,
}

impl Controlling {
    /// Makes the loop; [`Controlling::run`] runs it.
    pub fn new(slot: &str, replica: ReplicaHandle, fleet: Arc<Fleet>, stop: Arc<AtomicBool>) -> Self {
        Controlling {
            slot: slot.to_owned(),
            narrator: Narrator::new(replica.clone(), &format!("{slot}-controller")),
            line_up: fleet.line_up(slot),
            replica,
            fleet,
            stop,
            keys: Keys::default(),
            active: None,
            shadow: None,
        }
    }

    /// Runs until told to stop or the replica is closed. Blocks.
    pub fn run(mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            tracing::error!(slot = self.slot, "the controller cannot start: no runtime");
            return;
        };
        let Some(mut changes) = self.start_over() else { return };
        self.seat_changed();
        while !self.stop.load(Ordering::Relaxed) {
            let due = self.keys.next_due().filter(|_| self.active.is_some());
            let wait = due.map_or(Duration::from_secs(5), |due| {
                due.saturating_duration_since(Instant::now())
            });
            let woken = runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = self.line_up.changed() => None,
                    batch = changes.next() => Some(batch),
                    () = tokio::time::sleep(wait) => None,
                }
            });
            match woken {
                Some(Some(batch)) => self.take_in(&batch),
                Some(None) => match self.start_over() {
                    Some(again) => changes = again,
                    None => return,
                },
                None => {}
            }
            self.seat_changed();
            while self.active.is_some() && self.reconcile_due() {}
        }
    }

    /// Watches from what is now, with all keys to look at. `None` if the replica is closed.
    fn start_over(&mut self) -> Option<Changes> {
        loop {
            let snapshot = self.replica.snapshot();
            match self.replica.watch(snapshot.revision()) {
                Ok(changes) => {
                    self.add_all();
                    return Some(changes);
                }
                Err(error) if error.reason == Reason::Expired => {}
                Err(error) => {
                    tracing::info!(slot = self.slot, %error, "the controller ends");
                    return None;
                }
            }
        }
    }

    fn add_all(&mut self) {
        let Some(seat) = &self.active else { return };
        let now = Instant::now();
        for key in seat.interest.all(&self.replica.snapshot()) {
            self.keys.add(key, now);
        }
    }

    fn take_in(&mut self, batch: &Batch) {
        let Some(seat) = &self.active else { return };
        let (now, snapshot) = (Instant::now(), self.replica.snapshot());
        for event in batch.events.iter() {
            for key in seat.interest.keys(event, &snapshot) {
                self.keys.add(key, now);
            }
        }
    }

    /// Seats whom the line-up names; who sits already stays.
    fn seat_changed(&mut self) {
        let line_up = self.line_up.borrow_and_update().clone();
        let sits = |seat: &Option<Seat>| seat.as_ref().map(|seat| seat.member.identity());
        if sits(&self.active) != line_up.active.as_ref().map(Member::identity) {
            self.active = line_up.active.and_then(|member| self.seat(member));
            self.add_all();
        }
        if sits(&self.shadow) != line_up.shadow.as_ref().map(Member::identity) {
            self.shadow = line_up.shadow.and_then(|member| self.seat(member));
        }
    }

    fn seat(&self, member: Member) -> Option<Seat> {
        let seated = member.loaded.controller().and_then(|mut plugin| {
            let interest = Interest::new(plugin.watches()?);
            Ok(Seat {
                member: member.clone(),
                plugin,
                interest,
            })
        });
        seated
            .map_err(|error| {
                self.fleet.failed(&member, &error);
            })
            .ok()
    }

    /// Reconciles what is due and commits it; whether there was anything.
    fn reconcile_due(&mut self) -> bool {
        let keys = self.keys.take(TOGETHER, Instant::now());
        if keys.is_empty() {
            return false;
        }
        let reader: Arc<Reader> = Arc::new(Reader::new(self.replica.snapshot()));
        let mut plans = Vec::new();
        for key in keys {
            if let Some(plan) = self.decide(&key, &reader) {
                plans.push((key, plan));
            }
        }
        self.commit(plans);
        true
    }

    /// Asks the policy about one key.
    fn decide(&mut self, key: &Key, reader: &Arc<Reader>) -> Option<ControllerPlan> {
        let seat = self.active.as_mut()?;
        let now = now_millis();
        let result = seat.plugin.reconcile(std::slice::from_ref(key), reader.clone(), now);
        seat.member.record(seat.plugin.figures());
        match result {
            Ok(plan) => {
                self.compare_shadow(key, reader, now, &plan);
                Some(plan)
            }
            Err(CallError::Refused(message)) => {
                self.failed(key.clone(), &message);
                None
            }
            Err(error) => {
                self.keys.failed(key.clone(), Instant::now());
                self.replace_active(&error);
                None
            }
        }
    }

    fn compare_shadow(&mut self, key: &Key, reader: &Arc<Reader>, now: u64, decided: &ControllerPlan) {
        let Some(seat) = &mut self.shadow else { return };
        match seat.plugin.reconcile(std::slice::from_ref(key), reader.clone(), now) {
            Ok(plan) => {
                seat.member.record(seat.plugin.figures());
                seat.member.compared(1, u64::from(plan.writes != decided.writes));
            }
            Err(error) => {
                if let Some(seat) = self.shadow.take() {
                    self.fleet.failed(&seat.member, &error);
                    self.shadow = self.seat(seat.member);
                }
            }
        }
    }

    fn replace_active(&mut self, error: &CallError) {
        let Some(seat) = self.active.take() else { return };
        match self.fleet.failed(&seat.member, error) {
            Verdict::TryAgain => self.active = self.seat(seat.member),
            Verdict::RolledBack(Some(last_good)) => {
                self.active = self.seat(last_good);
                self.add_all();
            }
            Verdict::RolledBack(None) => {}
        }
    }

    /// Commits the plans together, each whole or not at all; then tells events and sets wake-ups.
    fn commit(&mut self, plans: Vec<(Key, ControllerPlan)>) {
        let (empty, full): (Vec<_>, Vec<_>) = plans.into_iter().partition(|(_, plan)| plan.writes.is_empty());
        for (key, plan) in empty {
            self.done(&key, plan);
        }
        if full.is_empty() {
            return;
        }
        let writes = full
            .iter()
            .map(|(_, plan)| Plan {
                writes: plan.writes.clone(),
            })
            .collect();
        match self.replica.commit_blocking(writes) {
            Ok(results) => {
                for ((key, plan), result) in full.into_iter().zip(results) {
                    match result {
                        Ok(_) => self.done(&key, plan),
                        // Decided on what is no longer so: decide again on what is.
                        Err(error) if error.reason == Reason::Conflict => self.keys.add(key, Instant::now()),
                        Err(error) => self.failed(key, &error.to_string()),
                    }
                }
            }
            Err(error) => self.all_failed(full.into_iter().map(|(key, _)| key), &error),
        }
    }

    fn done(&mut self, key: &Key, plan: ControllerPlan) {
        self.keys.succeeded(key);
        for event in &plan.events {
            if event.warning {
                self.narrator.warning(&event.about, &event.reason, &event.message);
            } else {
                self.narrator.normal(&event.about, &event.reason, &event.message);
            }
        }
        let now = Instant::now();
        for (key, after) in plan.wake_ups {
            self.keys.add(key, now + after);
        }
    }

    fn failed(&mut self, key: Key, message: &str) {
        tracing::debug!(slot = self.slot, %key, message, "could not reconcile");
        if self.keys.failures(&key) + 1 == TELL_AFTER {
            self.narrator.warning(&key, "ReconcileFailed", message);
        }
        self.keys.failed(key, Instant::now());
    }

    fn all_failed(&mut self, keys: impl Iterator<Item = Key>, error: &ApiError) {
        tracing::debug!(slot = self.slot, %error, "plans could not be committed");
        keys.for_each(|key| self.keys.failed(key, Instant::now()));
    }
}
