//! Waiting longer each time: the delays of Kubernetes for crashes and for image pulls.
use super::Millis;

const FIRST: Millis = 10_000;
const LONGEST: Millis = 300_000;

/// 10 seconds, doubling to 5 minutes; forgotten after twice the longest without need of it. The first failure costs
/// nothing: the delay counts from the second on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// 0: no failure yet.
    delay: Millis,
    /// When it was last made longer.
    since: Millis,
}

impl Backoff {
    /// When to try again after a failure at `failed_at`.
    pub fn until(&self, failed_at: Millis) -> Millis {
        if self.expired(failed_at) {
            failed_at
        } else {
            failed_at + self.delay
        }
    }

    /// The delay in force, in milliseconds.
    pub fn delay(&self) -> Millis {
        self.delay
    }

    /// A new try is made `now`, after a failure at `failed_at`: should it fail too, it waits longer.
    pub fn tried(&mut self, failed_at: Millis, now: Millis) {
        self.delay = if self.delay == 0 || self.expired(failed_at) {
            FIRST
        } else {
            (self.delay * 2).min(LONGEST)
        };
        self.since = now;
    }

    /// A try failed `now`; the next is due at the answer. For what waits from its first failure on.
    pub fn failed(&mut self, now: Millis) -> Millis {
        self.tried(now, now);
        now + self.delay
    }

    fn expired(&self, at: Millis) -> bool {
        at.saturating_sub(self.since) > 2 * LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_five_minutes_and_forgets_after_ten() {
        let mut backoff = Backoff::default();
        let mut now = 1_000_000;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let next = backoff.until(now);
            waits.push((next - now) / 1000);
            backoff.tried(now, next);
            now = next;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        let later = now + 600_001;
        assert_eq!(backoff.until(later), later);
        backoff.tried(later, later);
        assert_eq!(backoff.delay(), 10_000);
    }

    #[test]
    fn pulls_wait_from_the_first_failure() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed(1_000_000), 1_010_000);
        assert_eq!(backoff.failed(1_010_000), 1_030_000);
    }
}
