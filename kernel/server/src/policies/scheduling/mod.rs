//! The scheduling loop: queue in, batches to the policy, bindings to the committer.
//!
//! *Where* a pod goes is the plugin's to say; everything else is here. One thread for each scheduler name. The loop
//! never stalls on a policy: what traps, runs over its time or answers rubbish is dropped and replaced between two
//! batches, by a fresh instance, by the last good policy, or by the built-in one.
mod batch;
mod fallback;
mod mirror;
mod pods;
mod queue;
mod seat;
mod symbols;

use super::{
    fleet::{Fleet, LineUp, Member, Verdict},
    narrate::Narrator,
};
use crate::replica::{Batch, Changes, ReplicaHandle};
use mirror::Mirror;
use pods::PodView;
use queue::Queue;
use sampan_api::Selection;
use sampan_sandbox::{CallError, scheduler::Delta};
use sampan_state::{Event, EventKind, Snapshot};
use seat::Seat;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How many pods go to the policy, and as bindings into one Raft entry, at a time.
const BATCH: usize = 256;

/// The loop of one scheduler name.
pub struct Scheduling {
    slot: String,
    replica: ReplicaHandle,
    fleet: Arc<Fleet>,
    narrator: Narrator,
    line_up: watch::Receiver<LineUp>,
    stop: Arc<AtomicBool>,
    mirror: Mirror,
    queue: Queue,
    active: Option<Seat>,
    shadow: Option<Seat>,
}

impl Scheduling {
    /// Makes the loop; [`Scheduling::run`] runs it.
    pub fn new(slot: &str, replica: ReplicaHandle, fleet: Arc<Fleet>, stop: Arc<AtomicBool>) -> Self {
        Scheduling {
            slot: slot.to_owned(),
            narrator: Narrator::new(replica.clone(), slot),
            line_up: fleet.line_up(slot),
            replica,
            fleet,
            stop,
            mirror: Mirror::default(),
            queue: Queue::default(),
            active: None,
            shadow: None,
        }
    }

    /// Runs until told to stop or the replica is closed. Blocks.
    pub fn run(mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            tracing::error!(slot = self.slot, "the scheduling loop cannot start: no runtime");
            return;
        };
        let Some(mut changes) = self.start_over() else { return };
        self.seat_all();
        while !self.stop.load(Ordering::Relaxed) {
            if self.queue.has_ready() {
                // Take in what has happened, without waiting for more.
                while let Some(batch) = runtime.block_on(async { now_or_never(changes.next()).await }) {
                    self.take_in(&batch);
                }
            } else {
                let due = self
                    .queue
                    .next_due()
                    .map_or(Duration::from_secs(5), |due| due - Instant::now().min(due));
                let woken = runtime.block_on(async {
                    tokio::select! {
                        batch = changes.next() => Woken::Changes(batch),
                        _ = self.line_up.changed() => Woken::LineUp,
                        () = tokio::time::sleep(due) => Woken::Due,
                    }
                });
                match woken {
                    Woken::Changes(Some(batch)) => self.take_in(&batch),
                    Woken::Changes(None) => match self.start_over() {
                        Some(again) => {
                            changes = again;
                            self.seat_all();
                        }
                        None => return,
                    },
                    Woken::LineUp | Woken::Due => {}
                }
            }
            self.seat_changed();
            let taken = self.queue.take(BATCH, Instant::now());
            if !taken.is_empty() {
                self.schedule(taken);
            }
        }
    }

    /// Reads the whole state, and watches from there on. `None` if the replica is closed.
    fn start_over(&mut self) -> Option<Changes> {
        loop {
            let snapshot = self.replica.snapshot();
            match self.replica.watch(snapshot.revision()) {
                Ok(changes) => {
                    self.read_all(&snapshot);
                    return Some(changes);
                }
                Err(error) if error.reason == sampan_api::Reason::Expired => {}
                Err(error) => {
                    tracing::info!(slot = self.slot, %error, "the scheduling loop ends");
                    return None;
                }
            }
        }
    }

    fn read_all(&mut self, snapshot: &Snapshot) {
        (self.mirror, self.queue, self.active, self.shadow) = Default::default();
        for (_, node) in snapshot.list(&Selection::of("nodes")) {
            self.mirror.node(&node);
        }
        for (key, pod) in snapshot.list(&Selection::of("pods")) {
            self.pod(PodView::of(&key, &pod));
        }
    }

    fn take_in(&mut self, batch: &Batch) {
        let mut deltas = Vec::new();
        for event in batch.events.iter() {
            deltas.extend(self.event(event));
        }
        if !deltas.is_empty() {
            self.tell(&deltas);
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
        for seat in self.active.iter_mut().chain(self.shadow.iter_mut()) {
            seat.tell(&symbols);
            seat.tell(deltas);
        }
    }

    /// Seats whom the line-up names, anew.
    fn seat_all(&mut self) {
        (self.active, self.shadow) = (None, None);
        self.seat_changed();
    }

    /// Seats whom the line-up names; who sits already stays.
    fn seat_changed(&mut self) {
        let line_up = self.line_up.borrow_and_update().clone();
        let sits = |seat: &Option<Seat>| seat.as_ref().map(|seat| seat.member.identity());
        if sits(&self.active) != line_up.active.as_ref().map(Member::identity) {
            self.active = line_up.active.and_then(|member| self.seat(member));
        }
        if sits(&self.shadow) != line_up.shadow.as_ref().map(Member::identity) {
            self.shadow = line_up.shadow.and_then(|member| self.seat(member));
        }
    }

    fn seat(&mut self, member: Member) -> Option<Seat> {
        // Who sits already is told the newest strings; who comes is told all of them.
        self.tell(&[]);
        match Seat::take(member.clone(), self.mirror.all()) {
            Ok(seat) => Some(seat),
            Err(error) => {
                self.fleet.failed(&member, &error);
                None
            }
        }
    }

    /// The active policy failed: a fresh instance of it, or who comes after it.
    fn replace_active(&mut self, error: &CallError) {
        let Some(seat) = self.active.take() else { return };
        match self.fleet.failed(&seat.member, error) {
            Verdict::TryAgain => self.active = self.seat(seat.member),
            Verdict::RolledBack(Some(last_good)) => self.active = self.seat(last_good),
            Verdict::RolledBack(None) => {}
        }
    }
}

enum Woken {
    Changes(Option<Batch>),
    LineUp,
    Due,
}

/// What a future has ready, without waiting for it.
async fn now_or_never(next: impl Future<Output = Option<Batch>>) -> Option<Batch> {
    tokio::select! {
        biased;
        batch = next => batch,
        () = std::future::ready(()) => None,
    }
}
