//! A watch that goes on: it connects again where it stopped, and starts over where the history is gone.
use super::Session;
use crate::{doc::Doc, failure};
use anyhow::Result;
use sampan_api::{
    Reason,
    rpc::{self, EventType, WatchEvent},
};
use std::time::Duration;
use tonic::Streaming;

/// How often a server that went away is looked for again, a little longer each time: about a minute in all.
const PATIENCE: u32 = 30;

/// What a watch saw.
#[derive(Debug)]
pub enum Seen {
    Added(Doc),
    Modified(Doc),
    /// With its last state.
    Deleted(Doc),
    /// Nothing up to this revision is missing.
    Synced(u64),
    /// What was known may be stale: everything there is comes again, as `Added`.
    Restarted,
}

/// A watch.
pub struct Watcher {
    session: Session,
    selection: rpc::Selection,
    revision: u64,
    stream: Option<Streaming<WatchEvent>>,
    failures: u32,
    answered: bool,
}

impl Watcher {
    pub(super) fn new(session: Session, selection: rpc::Selection, revision: u64) -> Self {
        Watcher {
            session,
            selection,
            revision,
            stream: None,
            failures: 0,
            answered: false,
        }
    }

    /// The next thing seen; waits for it.
    ///
    /// # Errors
    /// What the server refuses, or that it cannot be reached any more.
    pub async fn next(&mut self) -> Result<Seen> {
        loop {
            match self.event().await {
                Ok(event) => {
                    self.failures = 0;
                    self.answered = true;
                    // Events of the first listing have the revisions of their objects: only a bookmark says "all".
                    if event.r#type() == EventType::Bookmark || self.revision != 0 {
                        self.revision = event.revision.max(self.revision);
                    }
                    if let Some(seen) = read(&event)? {
                        return Ok(seen);
                    }
                }
                Err(error) if failure::reason(&error) == Some(Reason::Expired) => {
                    (self.stream, self.revision) = (None, 0);
                    return Ok(Seen::Restarted);
                }
                Err(error) => self.retry(error).await?,
            }
        }
    }

    async fn retry(&mut self, error: anyhow::Error) -> Result<()> {
        self.stream = None;
        self.failures += 1;
        let gone = failure::reason(&error) == Some(Reason::Unavailable);
        let patience = if self.answered { PATIENCE } else { 3 };
        if !gone || self.failures > patience {
            return Err(error);
        }
        tracing::debug!(%error, "the watch connects again");
        self.session.turn();
        tokio::time::sleep(Duration::from_millis(100).saturating_mul(self.failures.min(20))).await;
        Ok(())
    }

    async fn event(&mut self) -> Result<WatchEvent> {
        if self.stream.is_none() {
            let request = rpc::WatchRequest {
                selection: Some(self.selection.clone()),
                revision: self.revision,
            };
            let stream = self
                .session
                .once(async { self.session.objects().watch(request).await })
                .await?;
            self.stream = Some(stream);
        }
        let ended = || sampan_api::ApiError::unavailable("the server ended the watch");
        let stream = self.stream.as_mut().ok_or_else(ended)?;
        match stream.message().await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err(ended().into()),
            Err(status) => Err(self.session.error(status)),
        }
    }
}

fn read(event: &WatchEvent) -> Result<Option<Seen>> {
    let object = || event.object.as_ref().map(Doc::from_message).transpose();
    Ok(match event.r#type() {
        EventType::Bookmark => Some(Seen::Synced(event.revision)),
        EventType::Added => object()?.map(Seen::Added),
        EventType::Modified => object()?.map(Seen::Modified),
        EventType::Deleted => object()?.map(Seen::Deleted),
        EventType::Unspecified => None,
    })
}
