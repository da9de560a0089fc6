//! The pods that wait: in order of priority, with back-off, and parked while nothing happens that could help them.
use super::pods::PodView;
use sampan_api::Key;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

/// The first wait after a failed attempt, doubled up to [`LONGEST_BACK_OFF`]; Kubernetes' numbers.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);

/// Where a pod stands: higher priority first, then who came first.
type Place = (Reverse<i32>, u64);

#[derive(Debug)]
struct Waiting {
    pod: PodView,
    place: Place,
    attempts: u32,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Ready,
    /// Not before then.
    BackOff(Instant),
    /// Until something changes on the nodes, and not before then.
    Parked(Instant),
}

/// Pods without a node.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Key, Waiting>,
    ready: BTreeMap<Place, Key>,
    later: BTreeSet<(Instant, u64, Key)>,
    arrivals: u64,
}

impl Queue {
    /// A pod waits, or waits with other demands than before: then it is tried at once.
    pub fn put(&mut self, pod: PodView) {
        if let Some(known) = self.pods.get(&pod.key)
            && known.pod.uid == pod.uid
            && known.pod.demands == pod.demands
            && known.pod.priority == pod.priority
        {
            return;
        }
        self.remove(&pod.key);
        self.arrivals += 1;
        let place = (Reverse(pod.priority), self.arrivals);
        self.ready.insert(place, pod.key.clone());
        self.pods.insert(
            pod.key.clone(),
            Waiting {
                pod,
                place,
                attempts: 0,
                state: State::Ready,
            },
        );
    }

    /// It waits no more.
    pub fn remove(&mut self, key: &Key) {
        if let Some(waiting) = self.pods.remove(key) {
            self.ready.remove(&waiting.place);
            if let State::BackOff(until) | State::Parked(until) = waiting.state {
                self.later.remove(&(until, waiting.place.1, key.clone()));
            }
        }
    }

    /// The next pods to place, at most `most`. They stay known until [`Queue::remove`] or a failure is reported.
    pub fn take(&mut self, most: usize, now: Instant) -> Vec<PodView> {
        self.wake_due(now);
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some((_, key)) = self.ready.pop_first() else { break };
            if let Some(waiting) = self.pods.get(&key) {
                taken.push(waiting.pod.clone());
            }
        }
        taken
    }

    /// Its binding was refused: again after a while.
    pub fn back_off(&mut self, key: &Key, now: Instant) {
        self.later(key, now, State::BackOff);
    }

    /// No node would do: again after a while, if something has changed.
    pub fn park(&mut self, key: &Key, now: Instant) {
        self.later(key, now, State::Parked);
    }

    fn later(&mut self, key: &Key, now: Instant, state: impl Fn(Instant) -> State) {
        if let Some(waiting) = self.pods.get_mut(key) {
            let until = now
                + FIRST_BACK_OFF
                    .saturating_mul(1 << waiting.attempts.min(4))
                    .min(LONGEST_BACK_OFF);
            waiting.attempts += 1;
            waiting.state = state(until);
            if matches!(waiting.state, State::BackOff(_)) {
                self.later.insert((until, waiting.place.1, key.clone()));
            }
        }
    }

    /// Something changed on the nodes that could help: the parked wait out their back-off, no longer.
    pub fn unpark(&mut self) {
        for (key, waiting) in &mut self.pods {
            if let State::Parked(until) = waiting.state {
                waiting.state = State::BackOff(until);
                self.later.insert((until, waiting.place.1, key.clone()));
            }
        }
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some((until, _, _)) = self.later.first() {
            if *until > now {
                break;
            }
            if let Some((_, _, key)) = self.later.pop_first()
                && let Some(waiting) = self.pods.get_mut(&key)
            {
                waiting.state = State::Ready;
                self.ready.insert(waiting.place, key);
            }
        }
    }

    /// When there are pods to take: now if some are ready.
    pub fn next_due(&self) -> Option<Instant> {
        match self.ready.is_empty() {
            true => self.later.first().map(|(until, _, _)| *until),
            false => Some(Instant::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::scheduling::pods::Demands;

    fn pod(name: &str, priority: i32) -> PodView {
        PodView {
            key: Key::new("pods", "default", name),
            uid: name.to_owned(),
            node: String::new(),
            finished: false,
            deleting: false,
            scheduler: "default-scheduler".to_owned(),
            gated: false,
            priority,
            demands: Demands::default(),
        }
    }

    fn names(pods: &[PodView]) -> Vec<&str> {
        pods.iter().map(|pod| &*pod.key.name).collect()
    }

    #[test]
    fn priority_first_then_arrival() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.put(pod(name, priority));
        }
        assert_eq!(names(&queue.take(3, now)), ["b", "d", "a"]);
        assert_eq!(names(&queue.take(3, now)), ["c"]);
    }

    #[test]
    fn a_parked_pod_waits_for_an_event_and_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0));
        let key = queue.take(1, now)[0].key.clone();
        queue.park(&key, now);
        assert!(queue.take(1, now + LONGEST_BACK_OFF * 2).is_empty(), "nothing happened");
        queue.unpark();
        assert!(queue.take(1, now).is_empty(), "too early");
        assert_eq!(names(&queue.take(1, now + FIRST_BACK_OFF)), ["a"]);
    }

    #[test]
    fn changed_demands_are_tried_at_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0));
        let mut changed = queue.take(1, now).remove(0);
        queue.park(&changed.key, now);
        queue.put(changed.clone());
        assert!(queue.take(1, now).is_empty(), "the same pod again");
        changed.demands.requests.milli_cpu = 1;
        queue.put(changed);
        assert_eq!(queue.take(1, now).len(), 1);
    }
}
