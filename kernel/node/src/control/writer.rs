//! Telling the control plane: statuses, deletions and events, many to a commit.
//!
//! A commit is sent as soon as there is something urgent and none is under way; what comes meanwhile goes with the next.
//! Of a pod's statuses only the newest is told. Nothing is lost while the control plane is away but the oldest events.
use super::{ControlPlane, NodeEvent, Retry, events::Ledger};
use sampan_api::{Key, Object, Operation, Plan, Reason, Write, plan::Deletion};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// How long what is not urgent may wait for company.
const PATIENCE: Duration = Duration::from_millis(20);
/// Events wait longer: nobody's decision hangs on them.
const EVENT_PATIENCE: Duration = Duration::from_millis(150);
/// Plans in one commit.
const BATCH: usize = 500;
/// Events kept while the control plane is away.
const MAX_EVENTS: usize = 2_000;

enum Item {
    Status {
        key: Key,
        object: Box<Object>,
        urgent: bool,
    },
    Delete {
        key: Key,
        uid: String,
    },
    Event(Box<NodeEvent>),
    Flush(oneshot::Sender<()>),
}

/// Where to put what is to be told. Never waits.
#[derive(Clone)]
pub struct Writer {
    items: mpsc::UnboundedSender<Item>,
}

impl Writer {
    /// Starts the task that tells; it ends with the last writer.
    pub fn start(plane: ControlPlane, node: &str, salt: u64) -> Self {
        let (items, receiver) = mpsc::unbounded_channel();
        let ledger = Ledger::new(node, salt);
        tokio::spawn(
            Task {
                plane,
                ledger,
                receiver,
                waiting: Waiting::default(),
                flushes: Vec::new(),
            }
            .run(),
        );
        Writer { items }
    }

    /// A pod's status, whole: `object` has its uid and its status.
    pub fn status(&self, key: Key, object: Object, urgent: bool) {
        let _ = self.items.send(Item::Status {
            key,
            object: Box::new(object),
            urgent,
        });
    }

    /// The pod has ended: its object may go.
    pub fn delete(&self, key: Key, uid: &str) {
        let _ = self.items.send(Item::Delete {
            key,
            uid: uid.to_owned(),
        });
    }

    pub fn event(&self, event: NodeEvent) {
        let _ = self.items.send(Item::Event(Box::new(event)));
    }

    /// Waits until all that was given before has been told, or `limit` is over.
    pub async fn flush(&self, limit: Duration) {
        let (done, wait) = oneshot::channel();
        let _ = self.items.send(Item::Flush(done));
        let _ = tokio::time::timeout(limit, wait).await;
    }
}

#[derive(Default)]
struct Waiting {
    /// By uid.
    statuses: HashMap<String, (Key, Box<Object>)>,
    deletions: Vec<(Key, String)>,
    events: VecDeque<NodeEvent>,
    due: Option<Instant>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.statuses.is_empty() && self.deletions.is_empty() && self.events.is_empty()
    }

    fn due_in(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.due = Some(self.due.map_or(at, |earlier| earlier.min(at)));
    }
}

/// What a plan of a batch was for.
enum About {
    Status(Key, Box<Object>),
    Deletion(Key, String),
    Event(NodeEvent),
}

struct Task {
    plane: ControlPlane,
    ledger: Ledger,
    receiver: mpsc::UnboundedReceiver<Item>,
    waiting: Waiting,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Task {
    async fn run(mut self) {
        let mut retry = Retry::default();
        loop {
            // A timer is a millisecond late; what is due is sent at once.
            if self.waiting.due.is_some_and(|due| due <= Instant::now()) {
                while let Ok(item) = self.receiver.try_recv() {
                    self.take(item);
                }
                if self.send().await {
                    retry.reset();
                } else {
                    retry.wait().await;
                }
                continue;
            }
            let due = self
                .waiting
                .due
                .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                item = self.receiver.recv() => match item {
                    Some(item) => self.take(item),
                    None => return,
                },
            }
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Status { key, object, urgent } => {
                self.waiting.due_in(if urgent { Duration::ZERO } else { PATIENCE });
                self.waiting.statuses.insert(object.metadata.uid.clone(), (key, object));
            }
            Item::Delete { key, uid } => {
                self.waiting.due_in(Duration::ZERO);
                self.waiting.deletions.push((key, uid));
            }
            Item::Event(event) => {
                self.waiting.due_in(EVENT_PATIENCE);
                if self.waiting.events.len() >= MAX_EVENTS {
                    self.waiting.events.pop_front();
                }
                self.waiting.events.push_back(*event);
            }
            Item::Flush(done) => {
                self.flushes.push(done);
                self.waiting.due_in(Duration::ZERO);
            }
        }
    }

    /// Sends one batch. Whether the control plane took it.
    async fn send(&mut self) -> bool {
        let batch = self.batch();
        if batch.is_empty() {
            self.waiting.due = None;
            for done in self.flushes.drain(..) {
                let _ = done.send(());
            }
            return true;
        }
        let plans: Vec<Plan> = batch.iter().map(|about| self.plan(about)).collect();
        let results = match self.plane.commit(&plans).await {
            Ok(results) => results,
            Err(error) => {
                tracing::warn!(%error, "the control plane does not take what the node tells; it is told again");
                self.put_back(batch);
                self.waiting.due = Some(Instant::now());
                return false;
            }
        };
        for (about, result) in batch.iter().zip(results) {
            if let Err(error) = result {
                self.refused(about, &error);
            }
        }
        self.waiting.due = None;
        if !self.waiting.is_empty() || !self.flushes.is_empty() {
            self.waiting.due_in(Duration::ZERO);
        }
        true
    }

    fn refused(&self, about: &About, error: &sampan_api::ApiError) {
        match (about, error.reason) {
            // It is gone already, or another of its name is there.
            (About::Status(..) | About::Deletion(..), Reason::NotFound | Reason::Conflict) => {}
            (About::Status(key, _) | About::Deletion(key, _), _) => tracing::warn!(%key, %error, "a write was refused"),
            // Its namespace is going, or the event was forgotten: nothing to be done.
            (About::Event(event), _) => tracing::debug!(about = event.about.name, %error, "an event was refused"),
        }
    }

    fn batch(&mut self) -> Vec<About> {
        let mut batch = Vec::new();
        let uids: Vec<String> = self.waiting.statuses.keys().take(BATCH).cloned().collect();
        for uid in uids {
            if let Some((key, object)) = self.waiting.statuses.remove(&uid) {
                batch.push(About::Status(key, object));
            }
        }
        // After the last status of the same pod: only when no status waits any more.
        if self.waiting.statuses.is_empty() {
            batch.extend(
                self.waiting
                    .deletions
                    .drain(..)
                    .map(|(key, uid)| About::Deletion(key, uid)),
            );
        }
        let room = BATCH.saturating_sub(batch.len()).min(self.waiting.events.len());
        batch.extend(self.waiting.events.drain(..room).map(About::Event));
        batch
    }

    /// What could not be told waits on, unless there is newer.
    fn put_back(&mut self, batch: Vec<About>) {
        let mut events = VecDeque::new();
        for about in batch {
            match about {
                About::Status(key, object) => {
                    self.waiting
                        .statuses
                        .entry(object.metadata.uid.clone())
                        .or_insert((key, object));
                }
                About::Deletion(key, uid) => self.waiting.deletions.push((key, uid)),
                About::Event(event) => events.push_back(event),
            }
        }
        events.append(&mut self.waiting.events);
        self.waiting.events = events;
    }

    fn plan(&mut self, about: &About) -> Plan {
        match about {
            About::Status(key, object) => Write::new(key.clone(), Operation::ReplaceStatus((**object).clone())).into(),
            About::Deletion(key, uid) => {
                let deletion = Deletion {
                    uid: uid.clone(),
                    final_: true,
                    ..Deletion::default()
                };
                Write::new(key.clone(), Operation::Delete(deletion)).into()
            }
            About::Event(event) => self.ledger.plan(event),
        }
    }
}
