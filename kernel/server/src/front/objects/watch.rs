//! Watch: what there is, then what changes, as seen through a selection.
use super::{super::Pieces, super::access, super::access::Verb, Front, read::selection_of, read::whole};
use crate::{pki::Identity, replica::Changes};
use sampan_api::{ApiError, Object, Reason, Revision, Selection, rpc};
use sampan_state::{Event, EventKind, Snapshot};
use std::time::Duration;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How often a watcher that sees no change is told up to which revision it has missed nothing.
const BOOKMARK: Duration = Duration::from_secs(60);

/// Events that may wait for a slow client; more wait in the history.
const AHEAD: usize = 256;

impl Front {
    pub(super) async fn watch(
        &self,
        who: &Identity,
        request: &rpc::WatchRequest,
    ) -> Result<Pieces<rpc::WatchEvent>, ApiError> {
        let selection = selection_of(request.selection.as_ref())?;
        self.replica.barrier().await?;
        let state = self.replica.snapshot();
        access::check(who, Verb::Watch, &whole(&selection), &state)?;
        let from = if request.revision == 0 {
            state.revision()
        } else {
            request.revision
        };
        if from > state.revision() {
            let message = format!(
                "revision {from} is ahead of the cluster, which is at {}: it was put back to an older state; list again",
                state.revision()
            );
            return Err(ApiError::new(Reason::Expired, message));
        }
        let changes = self.replica.watch_only(from, vec![selection.resource.clone()])?;
        let (events, receiver) = mpsc::channel(AHEAD);
        let watcher = Watcher {
            selection,
            events,
            told: from,
            replica: self.replica.clone(),
            serving: self.serving.clone(),
        };
        let first = (request.revision == 0).then_some(state);
        tokio::spawn(watcher.run(first, changes));
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

/// The client went away.
struct Gone;

struct Watcher {
    selection: Selection,
    events: mpsc::Sender<Result<rpc::WatchEvent, Status>>,
    /// The client has missed nothing up to here.
    told: Revision,
    replica: crate::replica::ReplicaHandle,
    serving: CancellationToken,
}

impl Watcher {
    async fn run(mut self, first: Option<Snapshot>, mut changes: Changes) {
        if let Some(state) = first
            && self.all(state).await.is_err()
        {
            return;
        }
        let mut bookmarks = tokio::time::interval_at(tokio::time::Instant::now() + BOOKMARK, BOOKMARK);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let serving = self.serving.clone();
        loop {
            tokio::select! {
                () = self.events.closed() => return,
                () = serving.cancelled() => {
                    let error = ApiError::unavailable("the control plane is shutting down");
                    return drop(self.events.try_send(Err(error.into())));
                }
                _ = bookmarks.tick() => {
                    self.told = changes.read_up_to().map_or(self.told, |read| read.max(self.told));
                    if self.bookmark().await.is_err() {
                        return;
                    }
                }
                batch = changes.next() => {
                    let Some(batch) = batch else {
                        // To watch again says why there was nothing more.
                        let why = self.replica.watch(self.told).err();
                        let why = why.unwrap_or_else(|| ApiError::unavailable("the watch was broken off: watch again"));
                        return drop(self.events.send(Err(why.into())).await);
                    };
                    for event in &batch.events {
                        if let Some(event) = seen(&self.selection, event)
                            && self.send(event).await.is_err()
                        {
                            return;
                        }
                    }
                    self.told = batch.revision;
                }
            }
        }
    }

    async fn send(&self, event: rpc::WatchEvent) -> Result<(), Gone> {
        self.events.send(Ok(event)).await.map_err(|_| Gone)
    }

    async fn bookmark(&self) -> Result<(), Gone> {
        let event = rpc::WatchEvent {
            r#type: rpc::EventType::Bookmark.into(),
            object: None,
            revision: self.told,
        };
        self.send(event).await
    }

    /// All that is selected, as added, and a bookmark.
    async fn all(&self, state: Snapshot) -> Result<(), Gone> {
        for (key, object) in state.list(&self.selection) {
            let revision = object.metadata.resource_version;
            let object = Some(rpc::Object::new(&key, &object));
            self.send(rpc::WatchEvent {
                r#type: rpc::EventType::Added.into(),
                object,
                revision,
            })
            .await?;
        }
        self.bookmark().await
    }
}

/// A change as it looks through a selection: what begins to be selected is added, what is no longer is deleted.
fn seen(selection: &Selection, event: &Event) -> Option<rpc::WatchEvent> {
    if !selection.matches_key(&event.key) {
        return None;
    }
    let selected = |object: &Object| selection.matches(&event.key, object);
    let before = event.previous.as_deref().filter(|object| selected(object));
    let after = Some(&*event.object).filter(|object| event.kind != EventKind::Deleted && selected(object));
    let (kind, object) = match (before, after) {
        (None, None) => return None,
        (None, Some(object)) => (rpc::EventType::Added, rpc::Object::new(&event.key, object)),
        (Some(_), Some(object)) => (rpc::EventType::Modified, rpc::Object::new(&event.key, object)),
        (Some(last), None) => {
            let mut last = last.clone();
            last.metadata.resource_version = event.revision;
            (rpc::EventType::Deleted, rpc::Object::new(&event.key, &last))
        }
    };
    Some(rpc::WatchEvent {
        r#type: kind.into(),
        object: Some(object),
        revision: event.revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_api::{Key, LabelSelector};
    use std::sync::Arc;

    fn object(label: &str) -> Arc<Object> {
        let mut object = Object::default();
        object.metadata.labels.insert("app".to_owned(), label.to_owned());
        Arc::new(object)
    }

    #[test]
    fn a_selection_makes_its_own_beginnings_and_ends() {
        use rpc::EventType::{Added, Deleted, Modified};
        let selection = Selection {
            labels: LabelSelector::parse("app=a").unwrap(),
            ..Selection::of("pods")
        };
        let change = |kind, before: Option<&str>, after: &str| Event {
            kind,
            revision: 7,
            key: Key::new("pods", "default", "p"),
            object: object(after),
            previous: before.map(object),
        };
        let cases = [
            (change(EventKind::Added, None, "a"), Some(Added)),
            (change(EventKind::Added, None, "b"), None),
            (change(EventKind::Modified, Some("b"), "a"), Some(Added)),
            (change(EventKind::Modified, Some("a"), "a"), Some(Modified)),
            (change(EventKind::Modified, Some("a"), "b"), Some(Deleted)),
            (change(EventKind::Modified, Some("b"), "b"), None),
            (change(EventKind::Deleted, Some("a"), "a"), Some(Deleted)),
            (change(EventKind::Deleted, Some("b"), "b"), None),
        ];
        for (event, expected) in cases {
            assert_eq!(
                seen(&selection, &event).map(|event| event.r#type()),
                expected,
                "{event:?}"
            );
        }
        let left = seen(&selection, &change(EventKind::Modified, Some("a"), "b")).unwrap();
        assert_eq!(left.object.unwrap().revision, 7);
    }
}
