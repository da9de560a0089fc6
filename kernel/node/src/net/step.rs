//! Steps that the kernel may refuse, each with its name.
use std::io;

/// A step that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("the network of pods: cannot {step}: {source}")]
pub struct WireError {
    step: &'static str,
    source: io::Error,
}

/// Names the step that failed.
pub(super) trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, WireError>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, step: &'static str) -> Result<T, WireError> {
        self.map_err(|source| WireError { step, source })
    }
}
