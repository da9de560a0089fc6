//! The keys that wait to be reconciled: each once, some later, the failing ones ever later.
use sampan_api::Key;
use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

/// The wait after a first failure, doubled with each, up to [`LONGEST_BACK_OFF`].
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// Keys in the order in which they are due.
#[derive(Debug, Default)]
pub struct Keys {
    due: HashMap<Key, Instant>,
    order: BTreeSet<(Instant, Key)>,
    failures: HashMap<Key, u32>,
}

impl Keys {
    /// Due at `when`, or earlier if it was already.
    pub fn add(&mut self, key: Key, when: Instant) {
        match self.due.get(&key) {
            Some(known) if *known <= when => return,
            Some(known) => {
                self.order.remove(&(*known, key.clone()));
            }
            None => {}
        }
        self.due.insert(key.clone(), when);
        self.order.insert((when, key));
    }

    /// Takes what is due, at most `most`.
    pub fn take(&mut self, most: usize, now: Instant) -> Vec<Key> {
        let mut taken = Vec::new();
        while taken.len() < most && self.order.first().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, key)) = self.order.pop_first() {
                self.due.remove(&key);
                taken.push(key);
            }
        }
        taken
    }

    /// It failed: again, later than the last time.
    pub fn failed(&mut self, key: Key, now: Instant) {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures += 1;
        let wait = FIRST_BACK_OFF
            .saturating_mul(1 << (*failures - 1).min(13))
            .min(LONGEST_BACK_OFF);
        self.add(key, now + wait);
    }

    /// It went well: the next failure is a first one.
    pub fn succeeded(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// How often it failed in a row.
    pub fn failures(&self, key: &Key) -> u32 {
        self.failures.get(key).copied().unwrap_or_default()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_the_earlier_time_counts() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        let key = Key::new("pods", "default", "a");
        keys.add(key.clone(), now + Duration::from_secs(5));
        keys.add(key.clone(), now);
        keys.add(key.clone(), now + Duration::from_secs(9));
        assert_eq!(keys.take(9, now), [key]);
        assert_eq!(keys.next_due(), None);
    }

    #[test]
    fn failing_keys_come_ever_later() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        let key = Key::new("pods", "default", "a");
        let mut last = now;
        for _ in 0..20 {
            keys.failed(key.clone(), now);
            let due = keys.next_due().unwrap();
            assert!(due > last || due == now + LONGEST_BACK_OFF);
            last = due;
            keys.take(1, due);
        }
        keys.succeeded(&key);
        keys.failed(key, now);
        assert_eq!(keys.next_due(), Some(now + FIRST_BACK_OFF));
    }
}
