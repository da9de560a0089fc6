//! The scheduling loop: queue in, calls to the policy, bindings and ends of pods to the committer.
//!
//! *Where* a pod goes, and who has to go for it, is the plugin's to say; everything else is here. One thread for each
//! scheduler name. The loop never stalls on a policy: what traps, runs over its time or answers rubbish is dropped and
//! replaced between two calls, by a fresh instance, by the last good policy, or by the built-in one; and if it is one pod that
//! makes a policy fail, that pod is put aside (`deciding/suspects`).
//!
//! The rooms: `reading` (from a pod's object to numbers), `mirror` (what plugins are told), `queue` (who waits for what),
//! `deciding` (a call, its answer, and what comes of it), `instance` (a plugin that is kept in step), `recorder` (what is told and
//! answered, written down), `fallback`.
mod deciding;
mod explaining;
mod fallback;
mod instance;
pub(super) mod mirror;
mod queue;
pub(super) mod reading;
mod recorder;
pub(super) mod refusal;

pub use recorder::Recorded;

use super::{
    asking::Ask,
    fleet::{Fleet, Member},
    follow::Work,
    narrate::Narrator,
    seats::{Role, Seats},
};
use crate::replica::{Batch, ReplicaHandle};
use deciding::{make, suspects::Suspects};
use instance::Instance;
use mirror::{Mirror, pods::Place};
use queue::Queue;
use reading::Facts;
use recorder::Recorder;
use sampan_api::{Key, Object, Revision, Selection};
use sampan_state::{Event, EventKind, Snapshot};
use std::{sync::Arc, time::Instant};
use tokio::sync::mpsc;

/// How many pods go to the policy, and as bindings into one Raft entry, at a time. Groups may make it more.
const BATCH: usize = 256;

const POD_GROUPS: &str = "podgroups.scheduling.x-k8s.io";

/// What it follows: in this order, so that what pods are told with is there before them.
pub(in crate::policies) const FOLLOWED: [&str; 8] = [
    "namespaces",
    "services",
    "replicasets.apps",
    "statefulsets.apps",
    "nodes",
    POD_GROUPS,
    "pods",
    "poddisruptionbudgets.policy",
];

/// The loop of one scheduler name.
pub struct Scheduling {
    slot: String,
    replica: ReplicaHandle,
    narrator: Narrator,
    seats: Seats<Instance>,
    mirror: Mirror,
    queue: Queue,
    suspects: Suspects,
    /// Who decided last.
    decides: Option<Member>,
    questions: mpsc::Receiver<Ask>,
    asked: Vec<Ask>,
    recorder: Option<Recorder>,
    /// The term that it was last kept ready in.
    term: Option<u64>,
}

impl Work for Scheduling {
    fn interest(&self) -> impl Iterator<Item = &str> {
        FOLLOWED.into_iter()
    }

    fn start_over(&mut self, snapshot: &Snapshot) {
        (self.mirror, self.queue, self.suspects) = Default::default();
        // They know what is no longer so.
        self.seats.clear();
        if let Some(mut recorder) = self.recorder.take() {
            recorder.end("all was read anew, since some changes were missed or too much was kept");
        }
        for resource in FOLLOWED {
            for (key, object) in snapshot.list(&Selection::of(resource)) {
                self.object(&key, &object, false, object.metadata.resource_version);
            }
        }
        self.mirror.symbols.settle();
    }

    fn is_overgrown(&self) -> bool {
        self.mirror.symbols.are_overgrown()
    }

    fn take_in(&mut self, changes: &Batch) {
        for event in &changes.events {
            let Event {
                kind,
                key,
                object,
                revision,
                ..
            } = &**event;
            self.object(key, object, *kind == EventKind::Deleted, *revision);
        }
        let news = self.mirror.take_news();
        self.queue.wake(news);
    }

    fn keep_ready(&mut self, term: Option<u64>) {
        self.mirror.sweep();
        self.tell();
        let mirror = &self.mirror;
        self.seats.take_line_up(term, make(mirror));
        for role in [Role::Active, Role::Shadow] {
            self.seats.ask(role, make(mirror), |seat| seat.instance.sync(mirror));
        }
        self.keep_recording(term);
        if self.term != term {
            self.term = term;
            self.queue.start_patience_anew();
        }
        self.mirror.told();
        let decides = self.seats.active.as_ref().map(|seat| seat.member.clone());
        if decides != self.decides {
            self.decides = decides;
            self.begin_anew();
        }
        self.answer_asked();
    }

    fn due(&self) -> Option<Instant> {
        let due = match self.suspects.is_empty() {
            true => self.queue.next_due(),
            false => Some(Instant::now()),
        };
        due.filter(|_| self.seats.may_decide())
    }

    fn decide(&mut self, term: u64) {
        self.give_up_groups(term);
        if let Some(call) = self.next_call() {
            self.schedule(call, term);
        }
    }

    async fn stirred(&mut self) {
        tokio::select! {
            () = self.seats.line_up_changed() => {}
            Some(ask) = self.questions.recv() => self.asked.push(ask),
        }
    }
}

impl Scheduling {
    /// Makes the loop.
    pub fn new(
        slot: &str,
        replica: ReplicaHandle,
        fleet: Arc<Fleet>,
        narrator: Narrator,
        questions: mpsc::Receiver<Ask>,
    ) -> Self {
        Scheduling {
            slot: slot.to_owned(),
            replica,
            narrator,
            seats: Seats::new(fleet, slot),
            mirror: Mirror::default(),
            queue: Queue::default(),
            suspects: Suspects::default(),
            decides: None,
            questions,
            asked: Vec::new(),
            recorder: None,
            term: None,
        }
    }

    /// Takes in an object as it is at a revision, or as it was at its end.
    fn object(&mut self, key: &Key, object: &Object, gone: bool, at: Revision) {
        match &*key.resource {
            "pods" => self.pod(key, object, gone, at),
            POD_GROUPS => {
                if self.mirror.groups.put(key, (!gone).then_some(object)) {
                    self.queue.recount(&key.namespace, &key.name);
                }
            }
            _ => self.mirror.object(key, object, gone),
        }
    }

    fn pod(&mut self, key: &Key, object: &Object, gone: bool, at: Revision) {
        let facts = Facts::of(object);
        let known = self.mirror.pods.number(key);
        let another = |id: &u32| {
            let pod = self.mirror.pods.get(*id);
            pod.is_some_and(|pod| *pod.uid != *object.metadata.uid)
        };
        let ended = gone || facts.finished || (facts.node.is_empty() && facts.deleting);
        if let Some(id) = known
            && (ended || another(&id))
        {
            self.forget(id);
        }
        if ended {
            return;
        }
        let shape = self.mirror.read(object);
        let waits = facts.node.is_empty();
        if waits && (shape.gated || *shape.scheduler != *self.slot) {
            if let Some(id) = self.mirror.pods.number(key) {
                self.forget(id);
            }
            return;
        }
        match self.mirror.pod(key, object, &shape, &facts, at) {
            Some(id) if waits => self.queue.put(id, &shape),
            Some(id) => self.queue.remove(id),
            None => {}
        }
    }

    fn forget(&mut self, id: u32) {
        self.queue.remove(id);
        let place = self.mirror.pods.get(id).map(|pod| pod.place.clone());
        self.mirror.remove(id);
        if let Some(Place::Bound { node, .. }) = place {
            // Those whom room is made for there need not wait out their back-off.
            let pods = &self.mirror.pods;
            pods.awaited_on(&node).for_each(|awaited| self.queue.hurry(awaited));
        }
    }

    /// Lets all instances know what changed.
    fn tell(&mut self) {
        let touched = self.mirror.take_touched();
        if !touched.is_empty() {
            for seat in self.seats.all() {
                seat.instance.tell(&touched);
            }
            if let Some(recorder) = &mut self.recorder {
                recorder.tell(&touched);
            }
        }
    }
}
