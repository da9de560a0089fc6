//! What was done, counted.
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Figures {
    counts: [AtomicU64; NAMES.len()],
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Answers from the cluster's own zones.
    Found,
    NoData,
    NoName,
    /// Answers that another server was asked for, or was before.
    Forwarded,
    /// … of these, from what is kept.
    CacheHits,
    /// … of these, by waiting for the same question of somebody else.
    Joined,
    /// Questions that no server answered.
    Unanswered,
    /// Attempts at one server that came to nothing.
    UpstreamFailures,
    /// Packets of servers that did not belong to what they were asked.
    Unbelieved,
    /// Packets that were no requests.
    Malformed,
    /// Answers left out by UDP because of their size.
    Truncated,
    /// Requests and connections above what is taken at a time.
    Overload,
}

/// As Prometheus has them, in the order of [`Figure`].
const NAMES: [&str; 12] = [
    "sampan_dns_answers_total{kind=\"found\"}",
    "sampan_dns_answers_total{kind=\"nodata\"}",
    "sampan_dns_answers_total{kind=\"nxdomain\"}",
    "sampan_dns_answers_total{kind=\"forwarded\"}",
    "sampan_dns_cache_hits_total",
    "sampan_dns_joined_total",
    "sampan_dns_unanswered_total",
    "sampan_dns_upstream_failures_total",
    "sampan_dns_unbelieved_total",
    "sampan_dns_malformed_total",
    "sampan_dns_truncated_total",
    "sampan_dns_overload_total",
];

impl Figures {
    pub fn count(&self, figure: Figure) {
        self.counts[figure as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All, by name.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        NAMES.into_iter().zip(counts).collect()
    }
}
