//! Following the state: each change once, in order, from the history that snapshots carry. A slow reader holds up nobody.
use super::published::Published;
use sampan_api::Revision;
use sampan_state::Event;
use std::sync::Arc;

/// Changes that belong together: all up to a revision.
#[derive(Clone, Debug)]
pub struct Batch {
    pub events: Vec<Arc<Event>>,
    pub revision: Revision,
}

/// A reader of changes.
pub struct Changes {
    published: Arc<Published>,
    revision: tokio::sync::watch::Receiver<Revision>,
    after: Revision,
}

impl Changes {
    pub(super) fn new(published: Arc<Published>, after: Revision) -> Self {
        let revision = published.revision.clone();
        Changes {
            published,
            revision,
            after,
        }
    }

    /// The next changes; waits for some. `None` if the replica was closed, or the reader was so slow that what it missed
    /// is forgotten: to watch again says which. May be dropped while it waits, and nothing is lost.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            if *self.revision.borrow_and_update() > self.after {
                let snapshot = self.published.snapshot.read().clone();
                let events = snapshot.since(self.after).ok()?;
                self.after = snapshot.revision();
                return Some(Batch {
                    events,
                    revision: self.after,
                });
            }
            self.revision.changed().await.ok()?;
        }
    }
}
