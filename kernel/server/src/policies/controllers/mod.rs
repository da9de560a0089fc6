//! The controller loops: changes in, keys to the policy, plans to the committer. One thread for each slot.
//!
//! A key is reconciled on a snapshot that shows all this controller has committed, so a plan never repeats what was
//! done. Plans of different keys go into one Raft entry and succeed or fail each by itself.
mod choosers;
mod interest;
mod keys;
mod reader;

use super::{
    comparing::{Differing, Side},
    fleet::{Fleet, Member},
    follow::Work,
    narrate::Narrator,
    seats::{Role, Seats},
};
use crate::{
    features,
    replica::{Batch, ReplicaHandle},
};
use interest::Interest;
use keys::Keys;
use reader::Reader;
use sampan_api::{Key, Operation, Plan, Reason, Write};
use sampan_sandbox::{
    CallError,
    controller::{ControllerPlan, ControllerPlugin},
};
use sampan_state::Snapshot;
use std::{
    slice,
    sync::Arc,
    time::{Duration, Instant},
};

/// Keys reconciled before their plans are committed together.
const TOGETHER: usize = 64;

/// A key that failed so often in a row is told of in an event.
const TELL_AFTER: u32 = 5;

/// An instance, and what it wants to be called for.
struct Instance {
    plugin: ControllerPlugin,
    interest: Interest,
}

impl Instance {
    fn make(member: &Member) -> Result<Self, CallError> {
        let mut plugin = member.loaded.controller()?;
        let interest = Interest::new(plugin.watches()?, plugin.selects()?);
        Ok(Instance { plugin, interest })
    }
}

/// The loop of one controller slot.
pub struct Controlling {
    slot: String,
    replica: ReplicaHandle,
    narrator: Narrator,
    seats: Seats<Instance>,
    keys: Keys,
    /// The term and the controller for which the keys are all there are.
    complete_for: Option<(u64, Member)>,
}

impl Work for Controlling {
    fn interest(&self) -> impl Iterator<Item = &str> {
        let active = self.seats.active.iter();
        active.flat_map(|seat| seat.instance.interest.resources())
    }

    fn start_over(&mut self, _: &Snapshot) {
        self.complete_for = None;
    }

    fn take_in(&mut self, changes: &Batch) {
        let (Some(seat), Some(_)) = (&mut self.seats.active, &self.complete_for) else {
            return;
        };
        let (now, snapshot) = (Instant::now(), self.replica.snapshot());
        for event in &changes.events {
            for key in seat.instance.interest.keys(event, &snapshot) {
                self.keys.add(key, now);
            }
        }
    }

    fn keep_ready(&mut self, term: Option<u64>) {
        self.seats.take_line_up(term, Instance::make);
        let active = self.seats.active.as_mut();
        let now = term.zip(active.as_ref().map(|seat| seat.member.clone()));
        if self.complete_for != now {
            // Who does not decide keeps no keys: they would only grow old.
            self.keys = Keys::default();
            if let (Some(seat), Some(_)) = (active, &now) {
                let (keys, now) = (seat.instance.interest.all(&self.replica.snapshot()), Instant::now());
                keys.into_iter().for_each(|key| self.keys.add(key, now));
            }
            self.complete_for = now;
        }
    }

    fn due(&self) -> Option<Instant> {
        self.keys.next_due().filter(|_| self.seats.may_decide())
    }

    fn decide(&mut self, term: u64) {
        let keys = self.keys.take(TOGETHER, Instant::now());
        let reader = Arc::new(Reader::new(self.replica.snapshot()));
        let mut plans = Vec::new();
        for key in keys {
            if let Some(plan) = self.reconcile(&key, &reader) {
                let state = self.replica.snapshot();
                let mut resources = plan.writes.iter().map(|write| &*write.key.resource);
                match resources.try_for_each(|resource| features::admits(&state, resource)) {
                    Ok(()) => plans.push((key, plan)),
                    Err(error) => self.failed(key, &error.to_string()),
                }
            }
        }
        self.commit(term, plans);
    }

    async fn stirred(&mut self) {
        self.seats.line_up_changed().await;
    }
}

impl Controlling {
    /// Makes the loop.
    pub fn new(slot: &str, replica: ReplicaHandle, fleet: Arc<Fleet>, narrator: Narrator) -> Self {
        Controlling {
            slot: slot.to_owned(),
            replica,
            narrator,
            seats: Seats::new(fleet, slot),
            keys: Keys::default(),
            complete_for: None,
        }
    }

    /// Asks the policy about one key.
    fn reconcile(&mut self, key: &Key, reader: &Arc<Reader>) -> Option<ControllerPlan> {
        let (now, keys) = (self.replica.now_millis(), slice::from_ref(key));
        let started = Instant::now();
        let answer = self.seats.ask(Role::Active, Instance::make, |seat| {
            let answer = seat.instance.plugin.reconcile(keys, reader.clone(), now);
            seat.member.record(seat.instance.plugin.figures());
            match answer {
                Err(CallError::Refused(words)) => Ok(Err(words)),
                other => other.map(Ok),
            }
        });
        match answer {
            Some(Ok(plan)) => {
                self.compare_shadow(key, reader, now, (&plan, started.elapsed()));
                Some(plan)
            }
            Some(Err(words)) => {
                self.failed(key.clone(), &words);
                None
            }
            None => {
                self.failed(key.clone(), "no policy is left to decide");
                None
            }
        }
    }

    /// Lets the shadow decide too, and notes where its plan is another than the one that was made in a while.
    fn compare_shadow(&mut self, key: &Key, reader: &Arc<Reader>, now: u64, made: (&ControllerPlan, Duration)) {
        let term = self.complete_for.as_ref().map_or(0, |(term, _)| *term);
        let active = self.seats.active.as_ref().map(|seat| seat.member.clone());
        let (decided, took) = made;
        self.seats.ask(Role::Shadow, Instance::make, |seat| {
            let started = Instant::now();
            let plan = seat
                .instance
                .plugin
                .reconcile(slice::from_ref(key), reader.clone(), now)?;
            let mine = started.elapsed();
            seat.member.record(seat.instance.plugin.figures());
            let mut comparison = seat.member.comparison.lock();
            let comparison = comparison.against(active.as_ref(), term, now);
            let side = |took| Side {
                decisions: 1,
                preemptions: 0,
                took,
            };
            comparison.sides(side(took), side(mine));
            // Plans are the same or not; there is nobody who has none.
            if comparison.count(1, 1 + u32::from(plan.writes != decided.writes)) {
                comparison.remember(Differing {
                    resource: key.resource.to_string(),
                    namespace: key.namespace.to_string(),
                    name: key.name.to_string(),
                    active: words(&decided.writes),
                    candidate: words(&plan.writes),
                    why: String::new(),
                    at_ms: now,
                });
            }
            Ok(())
        });
    }

    /// Commits the plans together, each whole or not at all; then tells events and sets wake-ups.
    fn commit(&mut self, term: u64, plans: Vec<(Key, ControllerPlan)>) {
        let (empty, full): (Vec<_>, Vec<_>) = plans.into_iter().partition(|(_, plan)| plan.writes.is_empty());
        for (key, plan) in empty {
            self.done(&key, plan);
        }
        let writes = full
            .iter()
            .map(|(_, plan)| Plan {
                writes: plan.writes.clone(),
            })
            .collect();
        match self.replica.commit_blocking_in(term, writes) {
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
            Err(error) => {
                tracing::debug!(slot = self.slot, %error, "plans could not be committed");
                let now = Instant::now();
                full.into_iter().for_each(|(key, _)| self.keys.failed(key, now));
            }
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
}

/// Writes that are told of a plan.
const MOST_TOLD: usize = 5;

/// What a plan does, in a line.
fn words(writes: &[Write]) -> String {
    let one = |write: &Write| {
        let verb = match &write.operation {
            Operation::Create(_) => "create",
            Operation::Replace(_) => "replace",
            Operation::ReplaceStatus(_) | Operation::MergeStatus(_) => "status of",
            Operation::Merge(_) => "change",
            Operation::Delete(_) => "delete",
            Operation::Bind(_) => "bind",
        };
        match &*write.key.name {
            "" => format!("{verb} {}", write.key.resource),
            _ => format!("{verb} {} {}", write.key.resource, write.key.path()),
        }
    };
    let mut told: Vec<String> = writes.iter().take(MOST_TOLD).map(one).collect();
    if writes.len() > MOST_TOLD {
        told.push(format!("and {} more", writes.len() - MOST_TOLD));
    }
    match told.is_empty() {
        true => "nothing".to_owned(),
        false => told.join(", "),
    }
}
