//! What was done, counted.
use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Figures {
    counts: [AtomicU64; NAMES.len()],
    in_flight: AtomicU64,
}

/// A request that has no answer yet, for as long as this is held.
pub struct Begun<'a>(&'a AtomicU64);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Answers, by the class of their status.
    Answered1xx,
    Answered2xx,
    Answered3xx,
    Answered4xx,
    Answered5xx,
    /// Requests that no rule is for.
    NoRoute,
    /// Requests that are refused for what they are.
    Refused,
    /// Requests whose pool has no backend.
    NoBackend,
    /// Requests whose filter is not here.
    NoFilter,
    /// Attempts at a backend that did not connect.
    Unreached,
    /// Backends that broke off before they answered.
    Broken,
    /// Backends that did not answer in time.
    Late,
    /// Requests that went to another backend, since nothing had been sent to the first.
    Retried,
    /// Connections that were upgraded.
    Upgraded,
    Connections,
    /// Connections that ended in the handshake.
    Handshakes,
    /// Connections that ended for what was sent, or was not.
    Malformed,
}

/// As Prometheus has them, in the order of [`Figure`].
const NAMES: [&str; 17] = [
    "sampan_ingress_requests_total{class=\"1xx\"}",
    "sampan_ingress_requests_total{class=\"2xx\"}",
    "sampan_ingress_requests_total{class=\"3xx\"}",
    "sampan_ingress_requests_total{class=\"4xx\"}",
    "sampan_ingress_requests_total{class=\"5xx\"}",
    "sampan_ingress_no_route_total",
    "sampan_ingress_refused_total",
    "sampan_ingress_no_backend_total",
    "sampan_ingress_no_filter_total",
    "sampan_ingress_upstream_errors_total{kind=\"connect\"}",
    "sampan_ingress_upstream_errors_total{kind=\"broken\"}",
    "sampan_ingress_upstream_errors_total{kind=\"timeout\"}",
    "sampan_ingress_retries_total",
    "sampan_ingress_upgrades_total",
    "sampan_ingress_connections_total",
    "sampan_ingress_handshake_failures_total",
    "sampan_ingress_malformed_total",
];

impl Figures {
    pub fn count(&self, figure: Figure) {
        self.counts[figure as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn begun(&self) -> Begun<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Begun(&self.in_flight)
    }

    pub fn answered(&self, status: StatusCode) {
        self.count(match status.as_u16() {
            ..200 => Figure::Answered1xx,
            200..300 => Figure::Answered2xx,
            300..400 => Figure::Answered3xx,
            400..500 => Figure::Answered4xx,
            _ => Figure::Answered5xx,
        });
    }

    /// All, by name.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let in_flight = (
            "sampan_ingress_requests_in_flight",
            self.in_flight.load(Ordering::Relaxed),
        );
        NAMES.into_iter().zip(counts).chain([in_flight]).collect()
    }
}
