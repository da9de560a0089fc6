//! One download of a blob and one unpacking of a layer at a time: whoever comes second waits, and finds it there.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::digest::Digest;

type Gate = tokio::sync::Mutex<()>;

/// A lock for each digest that someone works on.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Weak<Gate>>>);

impl Flights {
    /// Waits until nobody else works on this; hold the guard while you do.
    pub(crate) async fn enter(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let gate = self.gate(digest);
        gate.lock_owned().await
    }

    fn gate(&self, digest: Digest) -> Arc<Gate> {
        let mut gates = self.0.lock();
        if let Some(gate) = gates.get(&digest).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::default());
        gates.insert(digest, Arc::downgrade(&gate));
        gate
    }
}
