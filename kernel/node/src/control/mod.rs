//! The node's side of the conversation with the control plane: what it watches, what it writes, that it lives.
mod client;
mod events;
mod register;
mod renew;
mod watch;
mod writer;

pub use client::ControlPlane;
pub use events::{About, NodeEvent};
pub use register::{Identity, keep_registered};
pub use renew::keep_certificate;
pub use watch::{Change, follow};
pub use writer::Writer;

use std::time::Duration;

/// The longest wait, where nobody wants it shorter.
const MOST: Duration = Duration::from_secs(5);

/// Waits that grow from a tenth of a second to [`MOST`], each a little different, so that many nodes do not come at once.
#[derive(Debug)]
struct Retry {
    tries: u32,
    most: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { tries: 0, most: MOST }
    }
}

impl Retry {
    fn reset(&mut self) {
        self.tries = 0;
    }

    /// Waits no longer than this from now on, give or take a quarter.
    fn limit(&mut self, most: Duration) {
        self.most = most.min(MOST);
    }

    /// The next wait before it is made a little different.
    fn next(&mut self) -> Duration {
        let wait = Duration::from_millis(100_u64 << self.tries.min(6)).min(self.most);
        self.tries += 1;
        wait
    }

    async fn wait(&mut self) {
        let wait = self.next();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let jitter = u64::from(now.subsec_nanos()) % (millis / 2 + 1);
        tokio::time::sleep(wait * 3 / 4 + Duration::from_millis(jitter)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_what_is_wanted_at_most() {
        let mut retry = Retry::default();
        let waits: Vec<_> = (0..8).map(|_| retry.next().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        retry.limit(Duration::from_millis(750));
        assert_eq!(retry.next().as_millis(), 750);
        retry.limit(Duration::from_secs(10));
        assert_eq!(retry.next(), MOST);
        retry.reset();
        assert_eq!(retry.next().as_millis(), 100);
    }
}
