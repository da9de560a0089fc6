//! Events are stories for people, and are forgotten after a while.
use crate::replica::{ReplicaHandle, leads};
use sampan_api::{Object, Operation, Plan, Selection, Write, plan::Deletion, time::Timestamp};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Events that go with one entry.
const TOGETHER: usize = 500;

/// Deletes events that nothing was added to for `keep`, while this member leads, until the server closes.
pub async fn forget_events(replica: ReplicaHandle, keep: Duration, closing: CancellationToken) {
    let pause = (keep / 60).clamp(Duration::from_millis(100), Duration::from_secs(60));
    let mut leadership = replica.leadership();
    while closing.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let Some(Some(term)) = closing.run_until_cancelled(leads(&mut leadership)).await else {
            return;
        };
        if let Err(error) = forget(&replica, term, keep).await {
            tracing::debug!(%error, "old events could not be deleted");
        }
    }
}

async fn forget(replica: &ReplicaHandle, term: u64, keep: Duration) -> Result<(), sampan_api::ApiError> {
    let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let now = replica.now_millis();
    let before = now.saturating_sub(keep);
    let old: Vec<Plan> = {
        let state = replica.snapshot();
        let selection = Selection::of("events");
        let old = state
            .list(&selection)
            .filter(|(_, event)| last_told(event, now) < before);
        old.map(|(key, event)| {
            let deletion = Deletion {
                final_: true,
                ..Deletion::default()
            };
            Write::new(key, Operation::Delete(deletion))
                .expecting(event.metadata.resource_version)
                .into()
        })
        .collect()
    };
    for batch in old.chunks(TOGETHER) {
        replica.commit_in(term, batch.to_vec()).await?;
    }
    Ok(())
}

/// When something was last added to it, in milliseconds of Unix time.
fn last_told(event: &Object, now: u64) -> u64 {
    let made = event.metadata.creation_timestamp.map_or(0, Timestamp::as_millis);
    let last = event.field::<Option<Timestamp>>("lastTimestamp").ok().flatten();
    // A clock that is ahead must not make an event last for ever.
    last.map_or(made, |last| last.as_millis().clamp(made, now.max(made)))
}
