//! The clock of the control plane. Times of objects come from commands; this is for what is decided outside of them.
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of Unix time.
pub fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
