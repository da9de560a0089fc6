//! What the driver lets everybody else see, and wait for.
use super::{
    ReplicaStatus,
    listeners::{Listener, Listeners},
};
use parking_lot::{Mutex, RwLock};
use sampan_api::Revision;
use sampan_state::Snapshot;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::watch;

/// What the driver publishes after each batch.
pub struct Published {
    pub snapshot: RwLock<Snapshot>,
    pub status: RwLock<ReplicaStatus>,
    pub leadership: watch::Receiver<Option<u64>>,
    /// Held while the snapshot is changed, so that it and what listeners were told fit together.
    listeners: Mutex<Listeners>,
    closed: AtomicBool,
}

impl Published {
    /// Whether there will be nothing more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// One who listens to changes of resources after a revision.
    pub fn listen(&self, after: Revision, resources: &[String]) -> Arc<Listener> {
        let mut listeners = self.listeners.lock();
        let missed = after < self.snapshot.read().revision();
        let listener = Listener::since(missed.then_some(after + 1));
        listeners.add(resources, &listener);
        listener
    }

    /// The revision up to which a listener has seen all that concerns it, if it has.
    pub fn seen_by(&self, listener: &Listener) -> Option<Revision> {
        let _listeners = self.listeners.lock();
        listener.has_seen_all().then(|| self.snapshot.read().revision())
    }
}

/// The driver's end of what can be waited for. Dropping it says that there will be nothing more.
pub struct Publisher {
    pub published: Arc<Published>,
    leadership: watch::Sender<Option<u64>>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.published.closed.store(true, Ordering::Release);
        self.published
            .listeners
            .lock()
            .all()
            .for_each(|listener| listener.wake());
    }
}

impl Publisher {
    /// With what is so at the start.
    pub fn new(snapshot: Snapshot, status: ReplicaStatus, leads: Option<u64>) -> Self {
        let (leadership, terms) = watch::channel(leads);
        let published = Published {
            snapshot: RwLock::new(snapshot),
            status: RwLock::new(status),
            leadership: terms,
            listeners: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        Publisher {
            published: Arc::new(published),
            leadership,
        }
    }

    /// Shows all this; whom to wake because of it. Leadership last: who decides because of it sees all that came before.
    #[must_use]
    pub fn publish(&self, snapshot: Snapshot, status: ReplicaStatus, leads: Option<u64>) -> Vec<Arc<Listener>> {
        let before = self.published.snapshot.read().revision();
        let news = snapshot.since(before);
        let mut listeners = self.published.listeners.lock();
        // First the snapshot: who is told of a change and is awake looks for it at once.
        *self.published.snapshot.write() = snapshot;
        let woken = match news {
            Ok(events) => listeners.note(&events),
            // History was cut off meanwhile: everybody looks for himself.
            Err(_) => listeners.note_gap(before + 1),
        };
        drop(listeners);
        *self.published.status.write() = status;
        self.leadership.send_if_modified(|known| {
            let newer = *known != leads;
            *known = leads;
            newer
        });
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Changes, listeners::EVERY};
    use super::*;
    use sampan_api::{Key, Object, Operation, Write, kinds};
    use sampan_state::{Command, Store};

    /// The next revision, with one object more.
    fn grow(store: &mut Store) {
        let index = store.applied() + 1;
        let name = format!("n{index}");
        let object = Object::new(kinds::of_manifest("v1", "Namespace").unwrap(), "", &name);
        let write = Write::new(Key::new("namespaces", "", &name), Operation::Create(object));
        let command = Command {
            plans: vec![write.into()],
            now_ms: index,
            ..Command::default()
        };
        store.apply(index, command);
    }

    /// What is told while a reader is just looking is not passed over: it once was, when it was told before it was shown.
    #[test]
    fn readers_that_never_sleep_miss_nothing() {
        const REVISIONS: u64 = 5_000;
        let mut store = Store::new("test");
        let publisher = Publisher::new(store.snapshot(), ReplicaStatus::default(), None);
        let published = publisher.published.clone();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let mut changes = Changes::new(published.clone(), 0, vec![EVERY.to_owned()]);
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    loop {
                        match std::pin::pin!(changes.next()).poll(&mut context) {
                            std::task::Poll::Ready(Some(batch)) => {
                                seen.extend(batch.events.iter().map(|event| event.revision));
                            }
                            std::task::Poll::Ready(None) => break,
                            std::task::Poll::Pending => std::thread::yield_now(),
                        }
                    }
                    assert_eq!(seen, (1..=REVISIONS).collect::<Vec<_>>());
                });
            }
            for _ in 0..REVISIONS {
                grow(&mut store);
                let woken = publisher.publish(store.snapshot(), ReplicaStatus::default(), None);
                woken.into_iter().for_each(|listener| listener.wake());
            }
            drop(publisher);
        });
    }
}
