//! Lists in pages: each page shows the revision of the first, so snapshots are held for a little while.
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use sampan_api::{ApiError, Key, Reason, Revision};
use sampan_state::Snapshot;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Snapshots held at the most, and for how long after they were last used.
const HELD: usize = 16;
const HELD_FOR: Duration = Duration::from_secs(120);

/// The snapshots of lists that are under way.
#[derive(Default)]
pub struct Pages {
    held: Mutex<VecDeque<(Instant, Snapshot)>>,
}

impl Pages {
    /// Holds a snapshot for the pages to come.
    pub fn hold(&self, snapshot: &Snapshot) {
        let mut held = self.held.lock();
        held.retain(|(used, known)| known.revision() != snapshot.revision() && used.elapsed() < HELD_FOR);
        held.push_back((Instant::now(), snapshot.clone()));
        if held.len() > HELD {
            held.pop_front();
        }
    }

    /// The snapshot of a revision.
    ///
    /// # Errors
    /// `Expired` if it is held no more.
    pub fn of(&self, revision: Revision) -> Result<Snapshot, ApiError> {
        let held = self.held.lock();
        let found = held
            .iter()
            .find(|(used, known)| known.revision() == revision && used.elapsed() < HELD_FOR);
        found.map(|(_, snapshot)| snapshot.clone()).ok_or_else(|| {
            let message =
                format!("the list at revision {revision} is no longer kept: begin again, or ask for all at once");
            ApiError::new(Reason::Expired, message)
        })
    }
}

/// Where a page ended, as text that clients hand back.
pub fn token(revision: Revision, last: &Key) -> String {
    URL_SAFE_NO_PAD.encode(format!(
        "1\0{revision}\0{}\0{}\0{}",
        last.resource, last.namespace, last.name
    ))
}

/// What [`token`] made.
///
/// # Errors
/// `BadRequest` for what it did not make.
pub fn read_token(token: &str) -> Result<(Revision, Key), ApiError> {
    let wrong = || ApiError::bad_request("the continue token is none that this server gave");
    if token.len() > 2048 {
        return Err(wrong());
    }
    let text = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(wrong)?;
    match text.split('\0').collect::<Vec<_>>()[..] {
        ["1", revision, resource, namespace, name] => Ok((
            revision.parse().map_err(|_| wrong())?,
            Key::new(resource, namespace, name),
        )),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let key = Key::new("pods", "default", "a");
        assert_eq!(read_token(&token(7, &key)).unwrap(), (7, key));
        for wrong in ["", "x", "!!", &"A".repeat(3000)] {
            assert_eq!(read_token(wrong).unwrap_err().reason, Reason::BadRequest, "{wrong}");
        }
    }
}
