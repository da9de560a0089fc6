//! Why a run failed.

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    pub fn new(why: impl Into<String>) -> Self {
        Failure(why.into())
    }
}
