//! The scheduling loop: queue in, batches to the policy, bindings to the committer.
//!
//! *Where* a pod goes is the plugin's to say; everything else is here. One thread for each scheduler name. The loop
//! never stalls on a policy: what traps, runs over its time or answers rubbish is dropped and replaced between two
//! batches, by a fresh instance, by the last good policy, or by the built-in one.
mod batch;
mod fallback;
mod instance;
mod mirror;
mod pods;
mod queue;
mod symbols;

use super::{
    fleet::{Fleet, Member},
    follow::Work,
    narrate::Narrator,
    seats::{Role, Seats},
};
use crate::replica::{Batch, ReplicaHandle};
use instance::Instance;
use mirror::Mirror;
use pods::PodView;
use queue::Queue;
use sampan_api::Selection;
use sampan_sandbox::scheduler::Delta;
use sampan_state::{Event, EventKind, Snapshot};
use std::{sync::Arc, time::Instant};

/// How many pods go to the policy, and as bindings into one Raft entry, at a time.
const BATCH: usize = 256;

/// The loop of one scheduler name.
pub struct Scheduling {
    slot: String,
    replica: ReplicaHandle,
    narrator: Narrator,
    seats: Seats<Instance>,
    mirror: Mirror,
    queue: Queue,
}

impl Work for Scheduling {
    fn interest(&self) -> impl Iterator<Item = &str> {
        ["nodes", "pods"].into_iter()
    }

    fn start_over(&mut self, snapshot: &Snapshot) {
        (self.mirror, self.queue) = Default::default();
        // They know what is no longer so.
        (self.seats.active, self.seats.shadow) = (None, None);
        for (_, node) in snapshot.list(&Selection::of("nodes")) {
            self.mirror.node(&node);
        }
        for (key, pod) in snapshot.list(&Selection::of("pods")) {
            self.pod(PodView::of(&key, &pod));
        }
    }

    fn take_in(&mut self, changes: &Batch) {
        let deltas: Vec<Delta> = changes.events.iter().flat_map(|event| self.event(event)).collect();
        self.tell(&deltas);
    }

    fn keep_ready(&mut self, term: Option<u64>) {
        // Who sits already is told the newest strings; who comes is told all of them.
        self.tell(&[]);
        let mirror = &self.mirror;
        let make = |member: &Member| Instance::make(member, mirror.all());
        self.seats.take_line_up(term, make);
        for role in [Role::Active, Role::Shadow] {
            self.seats.ask(role, make, |seat| seat.instance.sync());
        }
    }

    fn due(&self) -> Option<Instant> {
        self.queue.next_due().filter(|_| self.seats.may_decide())
    }

    fn decide(&mut self, term: u64) {
        let taken = self.queue.take(BATCH, Instant::now());
        if !taken.is_empty() {
            self.schedule(taken, term);
        }
    }

    async fn stirred(&mut self) {
        self.seats.line_up_changed().await;
    }
}

impl Scheduling {
    /// Makes the loop.
    pub fn new(slot: &str, replica: ReplicaHandle, fleet: Arc<Fleet>, narrator: Narrator) -> Self {
        Scheduling {
            slot: slot.to_owned(),
            replica,
            narrator,
            seats: Seats::new(fleet, slot),
            mirror: Mirror::default(),
            queue: Queue::default(),
        }
    }

    fn event(&mut self, event: &Event) -> Vec<Delta> {
        let gone = event.kind == EventKind::Deleted;
        match &*event.key.resource {
            "nodes" => {
                let delta = match gone {
                    true => self.mirror.node_gone(&event.key.name),
                    false => self.mirror.node(&event.object),
                };
                if delta.is_some() {
                    self.queue.unpark();
                }
                delta.into_iter().collect()
            }
            "pods" if gone => {
                self.queue.remove(&event.key);
                self.count(&event.key, None)
            }
            "pods" => self.pod(PodView::of(&event.key, &event.object)),
            _ => Vec::new(),
        }
    }

    fn pod(&mut self, pod: PodView) -> Vec<Delta> {
        if pod.waits_for(&self.slot) {
            self.queue.put(pod);
            return Vec::new();
        }
        self.queue.remove(&pod.key);
        let counts = pod.counts().then_some((pod.node.as_str(), pod.demands.requests));
        self.count(&pod.key, counts)
    }

    fn count(&mut self, key: &sampan_api::Key, on: Option<(&str, sampan_api::quantity::Resources)>) -> Vec<Delta> {
        let deltas = self.mirror.pod(key, on);
        if deltas.iter().any(|delta| matches!(delta, Delta::Released(_))) {
            self.queue.unpark();
        }
        deltas
    }

    /// Tells all instances, new strings first.
    fn tell(&mut self, deltas: &[Delta]) {
        let symbols = self.mirror.new_symbols();
        for seat in self.seats.all() {
            seat.instance.tell(&symbols);
            seat.instance.tell(deltas);
        }
    }
}
