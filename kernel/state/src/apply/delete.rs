//! Deletion: at once, after a pod's grace, or when the last finalizer is gone.
use super::Draft;
use crate::view::{PodView, is_finished};
use sampan_api::{
    ApiError, Key, Object, Reason,
    plan::{Deletion, Propagation},
    time::Timestamp,
};

/// What Kubernetes gives a pod that says nothing.
const DEFAULT_GRACE_SECONDS: u32 = 30;

impl Draft<'_> {
    pub(super) fn delete(&mut self, key: Key, mut stored: Object, deletion: &Deletion) -> Result<(), ApiError> {
        if !deletion.uid.is_empty() && deletion.uid != stored.metadata.uid {
            let message = format!(
                "{} {key} is another object now: its uid is {}",
                Self::kind_of(&key),
                stored.metadata.uid
            );
            return Err(ApiError::new(Reason::Conflict, message));
        }
        if deletion.final_ {
            self.set(&key, None);
            return Ok(());
        }
        let finalizer = match deletion.propagation {
            Propagation::Background => None,
            Propagation::Foreground => Some("foregroundDeletion"),
            Propagation::Orphan => Some("orphan"),
        };
        if let Some(finalizer) = finalizer
            && !stored.metadata.finalizers.iter().any(|known| known == finalizer)
        {
            stored.metadata.finalizers.push(finalizer.to_owned());
        }
        let grace = if &*key.resource == "pods" {
            pod_grace(&stored, deletion)
        } else {
            0
        };
        if grace == 0 && stored.metadata.finalizers.is_empty() {
            self.set(&key, None);
            return Ok(());
        }
        let until = Timestamp::from_millis(self.now.as_millis().saturating_add(u64::from(grace) * 1000));
        // Asked again, an end can come earlier, never later.
        if stored.metadata.deletion_timestamp.is_none_or(|known| until < known) {
            stored.metadata.deletion_timestamp = Some(until);
            stored.metadata.deletion_grace_period_seconds = Some(i64::from(grace));
        }
        self.put(key, stored)
    }
}

/// Seconds a pod has to end; 0 if nothing of it can be running.
fn pod_grace(pod: &Object, deletion: &Deletion) -> u32 {
    let view = PodView::of(pod).unwrap_or_default();
    if view.node.is_empty() || is_finished(pod) {
        return 0;
    }
    deletion
        .grace_period_seconds
        .or(view.grace)
        .unwrap_or(DEFAULT_GRACE_SECONDS)
}
