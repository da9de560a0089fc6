//! Following the state: each change once, in order, from the history that snapshots carry. A slow reader holds up nobody.
use super::{
    listeners::{EVERY, Listener},
    published::Published,
};
use sampan_api::Revision;
use sampan_state::Event;
use std::sync::Arc;

/// Changes that belong together: all that are of interest up to a revision.
#[derive(Clone, Debug)]
pub struct Batch {
    pub events: Vec<Arc<Event>>,
    pub revision: Revision,
}

/// A reader of changes.
pub struct Changes {
    published: Arc<Published>,
    listener: Arc<Listener>,
    resources: Vec<String>,
    after: Revision,
}

impl Changes {
    pub(super) fn new(published: Arc<Published>, after: Revision, resources: Vec<String>) -> Self {
        let listener = published.listen(after, &resources);
        Changes {
            published,
            listener,
            resources,
            after,
        }
    }

    /// The resources whose changes it reads.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(String::as_str)
    }

    /// The next changes; waits for some. `None` if the replica was closed, or the reader was so slow that what it missed
    /// is forgotten: to watch again says which. May be dropped while it waits, and nothing is lost.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            // Before anything else is looked at: what is closed has nothing more to tell.
            let closed = self.published.is_closed();
            if let Some(first) = self.listener.take() {
                let snapshot = self.published.snapshot.read().clone();
                let mut events = snapshot.since(self.after.max(first - 1)).ok()?;
                events.retain(|event| self.is_of_interest(event));
                self.after = snapshot.revision();
                if !events.is_empty() {
                    return Some(Batch {
                        events,
                        revision: self.after,
                    });
                }
            } else if closed {
                return None;
            } else {
                self.listener.woken().await;
            }
        }
    }

    /// The revision up to which nothing of interest is still to be read; none while there may be.
    pub fn read_up_to(&self) -> Option<Revision> {
        self.published.seen_by(&self.listener)
    }

    fn is_of_interest(&self, event: &Event) -> bool {
        let wanted = |resource: &String| resource == EVERY || **resource == *event.key.resource;
        self.resources.iter().any(wanted)
    }
}
