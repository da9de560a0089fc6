//! What the driver lets everybody else see, and wait for.
use super::ReplicaStatus;
use parking_lot::RwLock;
use sampan_api::Revision;
use sampan_state::Snapshot;
use std::sync::Arc;
use tokio::sync::watch;

/// What the driver publishes after each batch.
pub struct Published {
    pub snapshot: RwLock<Snapshot>,
    pub status: RwLock<ReplicaStatus>,
    pub revision: watch::Receiver<Revision>,
    pub leadership: watch::Receiver<Option<u64>>,
}

/// The driver's end of what can be waited for.
pub struct Publisher {
    pub published: Arc<Published>,
    revision: watch::Sender<Revision>,
    leadership: watch::Sender<Option<u64>>,
}

impl Publisher {
    /// With what is so at the start.
    pub fn new(snapshot: Snapshot, status: ReplicaStatus, leads: Option<u64>) -> Self {
        let (revision, revisions) = watch::channel(snapshot.revision());
        let (leadership, terms) = watch::channel(leads);
        let published = Published {
            snapshot: RwLock::new(snapshot),
            status: RwLock::new(status),
            revision: revisions,
            leadership: terms,
        };
        Publisher {
            published: Arc::new(published),
            revision,
            leadership,
        }
    }

    /// Leadership last: who decides because of it sees all that came before.
    pub fn publish(&self, snapshot: Snapshot, status: ReplicaStatus, leads: Option<u64>) {
        fn changed<T: PartialEq>(known: &mut T, now: T) -> bool {
            let newer = *known != now;
            *known = now;
            newer
        }
        let revision = snapshot.revision();
        *self.published.snapshot.write() = snapshot;
        *self.published.status.write() = status;
        self.revision.send_if_modified(|known| changed(known, revision));
        self.leadership.send_if_modified(|known| changed(known, leads));
    }
}
