//! Following what the control plane wants of this node, through its absences.
use super::{ControlPlane, Retry};
use sampan_api::{ApiError, Object, Reason, rpc};
use std::collections::HashSet;
use tokio::sync::mpsc;

/// What changed.
#[derive(Debug)]
pub enum Change {
    /// It is there, and so.
    Seen(Box<Object>),
    /// It is gone; as it was last.
    Gone(Box<Object>),
    /// All that there is has been seen, by uid. What else is known of is gone.
    Synced(HashSet<String>),
}

/// Tells `changes` of everything in the selection, from the start and then as it happens, until nobody listens. When
/// the control plane is away nothing is told, and what happened meanwhile is told afterwards.
pub async fn follow(plane: ControlPlane, selection: rpc::Selection, changes: mpsc::Sender<Change>) {
    let mut revision = 0;
    let mut retry = Retry::default();
    loop {
        match watch_once(&plane, &selection, &mut revision, &mut retry, &changes).await {
            Ok(()) => return,
            Err(error) if error.reason == Reason::Expired => {
                tracing::debug!(resource = selection.resource, "the watch fell behind: starting over");
                revision = 0;
            }
            Err(error) => tracing::debug!(resource = selection.resource, %error, "the watch broke off"),
        }
        retry.wait().await;
    }
}

/// Ok when nobody listens any more.
async fn watch_once(
    plane: &ControlPlane,
    selection: &rpc::Selection,
    revision: &mut u64,
    retry: &mut Retry,
    changes: &mpsc::Sender<Change>,
) -> Result<(), ApiError> {
    let request = rpc::WatchRequest {
        selection: Some(selection.clone()),
        revision: *revision,
    };
    let mut stream = plane.objects().watch(request).await?.into_inner();
    // From the start: what is there comes first, and then a bookmark.
    let mut initial = (*revision == 0).then(HashSet::new);
    while let Some(event) = stream.message().await? {
        retry.reset();
        let change = match (event.r#type(), &event.object) {
            (rpc::EventType::Added | rpc::EventType::Modified, Some(object)) => {
                let object = object.object()?;
                if let Some(seen) = &mut initial {
                    seen.insert(object.metadata.uid.clone());
                }
                Some(Change::Seen(Box::new(object)))
            }
            (rpc::EventType::Deleted, Some(object)) => Some(Change::Gone(Box::new(object.object()?))),
            (rpc::EventType::Bookmark, _) => initial.take().map(Change::Synced),
            _ => None,
        };
        if let Some(change) = change
            && changes.send(change).await.is_err()
        {
            return Ok(());
        }
        // Until all is told, a new watch has to start over.
        if initial.is_none() {
            *revision = event.revision.max(*revision);
        }
    }
    Err(ApiError::unavailable("the control plane ended the watch"))
}
