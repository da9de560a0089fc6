//! When a slot whose plugin failed is asked again: soon, then later and later, so that a plugin that always fails costs little
//! and one that stumbled is back before anybody misses it.
use std::time::{Duration, Instant};

/// Before the first try after a failure; doubled with each that follows.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// The back-off of a slot.
#[derive(Default)]
pub struct Retry {
    failures: u32,
    due: Option<Instant>,
}

impl Retry {
    /// When the slot is to be asked again, whatever else happens; none while nothing is wrong.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether nobody is to be brought in yet.
    pub fn is_early(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now < due)
    }

    /// Somebody is being tried.
    pub fn began(&mut self) {
        self.due = None;
    }

    /// A plugin has failed. Whoever takes the place of one that was given up need not wait.
    pub fn failed(&mut self, now: Instant, given_up: bool) {
        if given_up {
            *self = Retry {
                failures: 0,
                due: Some(now),
            };
            return;
        }
        let pause = FIRST * 2_u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        self.due = Some(now + pause.min(LONGEST));
    }

    /// A plan was good.
    pub fn succeeded(&mut self) {
        *self = Retry::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_later_and_later_until_one_succeeds() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            retry.failed(now, false);
            let due = retry.due().unwrap();
            assert!(retry.is_early(now) && !retry.is_early(due));
            pauses.push(due.duration_since(now).as_millis());
            retry.began();
            assert!(retry.due().is_none() && !retry.is_early(now));
        }
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[9..], [30_000; 3]);
        retry.succeeded();
        retry.failed(now, false);
        assert_eq!(retry.due(), Some(now + FIRST));
    }

    #[test]
    fn the_next_in_line_does_not_wait() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        retry.failed(now, false);
        retry.failed(now, true);
        assert!(!retry.is_early(now) && retry.due() == Some(now));
        retry.began();
        retry.failed(now, false);
        assert_eq!(retry.due(), Some(now + FIRST), "and begins with the shortest pause");
    }
}
