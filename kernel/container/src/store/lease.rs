//! What is being worked on or run must not be collected, though no name leads to it yet, or any more.

use std::fmt;
use std::sync::Arc;

use super::Inner;
use crate::digest::Digest;

/// Keeps blobs and layers from being collected until it is dropped.
pub struct Lease {
    inner: Arc<Inner>,
    digests: Vec<Digest>,
}

impl Lease {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            digests: Vec::new(),
        }
    }

    /// Take it before looking whether the content is there.
    pub(crate) fn add(&mut self, digest: Digest) {
        *self.inner.pins.lock().entry(digest).or_default() += 1;
        self.digests.push(digest);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pins = self.inner.pins.lock();
        for digest in &self.digests {
            if let Some(count) = pins.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(digest);
                }
            }
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.digests).finish()
    }
}
