//! The circuit breaker: three failures in a minute are enough.
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const FAILURES: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// Remembers failures of one plugin.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    failures: VecDeque<Instant>,
}

impl Breaker {
    /// Notes a failure; whether it was one too many.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures.push_back(now);
        while self
            .failures
            .front()
            .is_some_and(|first| now.duration_since(*first) > WITHIN)
        {
            self.failures.pop_front();
        }
        self.failures.len() >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_minute_open_it() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        assert!(!breaker.failed(start));
        assert!(!breaker.failed(start + Duration::from_secs(1)));
        assert!(breaker.failed(start + Duration::from_secs(59)));
        let mut slow = Breaker::default();
        assert!((0..10).all(|n| !slow.failed(start + Duration::from_secs(40 * n))));
    }
}
