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

/// Waits that grow from a tenth of a second to five, each a little different, so that many nodes do not come at once.
#[derive(Debug, Default)]
struct Retry(u32);

impl Retry {
    fn reset(&mut self) {
        self.0 = 0;
    }

    async fn wait(&mut self) {
        let millis = (100_u64 << self.0.min(6)).min(5_000);
        self.0 += 1;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let jitter = u64::from(now.subsec_nanos()) % (millis / 2 + 1);
        tokio::time::sleep(Duration::from_millis(millis * 3 / 4 + jitter)).await;
    }
}
