//! The pods that wait: in order of priority, with back-off, and parked while nothing happens that could help them.
mod patience;
#[cfg(test)]
mod tests;

use super::{
    mirror::News,
    reading::{Group, Shape},
};
use patience::Patience;
use sampan_sandbox::scheduler::{MOST_PODS, PodGroup};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// The first wait after a failed attempt, doubled up to [`LONGEST_BACK_OFF`]; Kubernetes' numbers.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);

/// However little happens, a parked pod is tried after this long; Kubernetes' number.
const LONGEST_PARKED: Duration = Duration::from_mins(5);

/// Where a pod stands: higher priority first, then who came first.
type Place = (Reverse<i32>, u64);

#[derive(Debug)]
struct Waiting {
    shape: Arc<Shape>,
    place: Place,
    attempts: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Ready,
    /// Being placed.
    Taken,
    /// Not before then.
    BackOff(Instant),
    /// Until there is such news, and then not before the first moment; at the second whatever happens.
    Parked(News, Instant, Instant),
    /// Until another policy decides.
    Held,
    /// Until more of its group are there.
    Gathering,
}

/// What a group comes to.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// How many of it have a node already.
    pub bound: u32,
    /// How many of it are placed, or none.
    pub least: u32,
    /// For how long it is tried at a time.
    pub patience: Option<Duration>,
}

/// Pods to be placed in one call.
#[derive(Debug, Default)]
pub struct Taken {
    pub pods: Vec<u32>,
    pub groups: Vec<PodGroup>,
    /// Of groups that are not all there: a pod, and how many are.
    pub incomplete: Vec<(u32, u32)>,
}

/// Pods without a node, by their numbers.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<u32, Waiting>,
    ready: BTreeMap<Place, u32>,
    later: BTreeSet<(Instant, u32)>,
    parked: HashMap<News, BTreeSet<u32>>,
    held: BTreeSet<u32>,
    groups: HashMap<Group, BTreeSet<u32>>,
    patience: Patience,
    arrivals: u64,
}

impl Queue {
    /// A pod waits, or waits with another shape than before: then it is tried at once.
    pub fn put(&mut self, id: u32, shape: &Arc<Shape>) {
        if self.pods.get(&id).is_some_and(|known| known.shape == *shape) {
            return;
        }
        self.remove(id);
        self.arrivals += 1;
        let place = (Reverse(shape.priority), self.arrivals);
        let waiting = Waiting {
            shape: shape.clone(),
            place,
            attempts: 0,
            state: State::Ready,
        };
        self.ready.insert(place, id);
        self.pods.insert(id, waiting);
        if let Some(group) = &shape.group {
            self.groups.entry(group.clone()).or_default().insert(id);
            self.gathered(group);
        }
    }

    /// It waits no more.
    pub fn remove(&mut self, id: u32) {
        self.leave(id, State::Taken);
        let Some(waiting) = self.pods.remove(&id) else { return };
        if let Some(group) = &waiting.shape.group
            && let Some(members) = self.groups.get_mut(group)
        {
            members.remove(&id);
            if members.is_empty() {
                self.groups.remove(group);
                self.patience.end(group);
            }
        }
    }

    /// It has its place, and with it enough of its group.
    pub fn placed(&mut self, id: u32) {
        if let Some(group) = self.pods.get(&id).and_then(|waiting| waiting.shape.group.as_ref()) {
            self.patience.end(group);
        }
        self.remove(id);
    }

    pub fn contains(&self, id: u32) -> bool {
        self.pods.contains_key(&id)
    }

    /// The next pods to place, about `most`: those of a group together. They stay known until [`Queue::remove`] or a failure
    /// is reported.
    pub fn take(&mut self, most: usize, now: Instant, needs: impl Fn(&Group) -> Needs) -> Taken {
        self.wake_due(now);
        let mut taken = Taken::default();
        while taken.pods.len() < most {
            let Some((_, id)) = self.ready.pop_first() else { break };
            let Some(waiting) = self.pods.get_mut(&id) else {
                continue;
            };
            waiting.state = State::Taken;
            match waiting.shape.group.clone() {
                None => taken.pods.push(id),
                Some(group) => {
                    if !self.take_group(&group, needs(&group), now, &mut taken) {
                        // It comes first in the next call.
                        self.again(id);
                        break;
                    }
                }
            }
        }
        taken
    }

    /// A group, if enough of it are there; whether it had room in the call.
    fn take_group(&mut self, group: &Group, needs: Needs, now: Instant, taken: &mut Taken) -> bool {
        let held = |id: &u32| self.pods.get(id).is_some_and(|pod| pod.state == State::Held);
        let members = self.groups.get(group).into_iter().flatten().copied();
        let mut members: Vec<u32> = members.filter(|id| !held(id)).collect();
        members.truncate(MOST_PODS);
        let there = needs.bound.saturating_add(members.len() as u32);
        if there < needs.least {
            self.patience.end(group);
            for id in members {
                self.leave(id, State::Gathering);
                taken.incomplete.push((id, there));
            }
            return true;
        }
        if taken.pods.len() + members.len() > MOST_PODS {
            return false;
        }
        match needs.patience.filter(|_| needs.bound < needs.least) {
            Some(patience) => self.patience.begin(group, now + patience),
            None => self.patience.end(group),
        }
        members.sort_by_key(|id| self.pods.get(id).map(|pod| pod.place));
        taken.groups.push(PodGroup {
            first: taken.pods.len() as u32,
            count: members.len() as u32,
            least: needs.least.saturating_sub(needs.bound).max(1).min(members.len() as u32),
        });
        for id in members {
            self.leave(id, State::Taken);
            taken.pods.push(id);
        }
        true
    }

    /// A group that was tried for as long as it is at a time, and found no place: all of it backs off, whatever the news. Those
    /// who are told so.
    pub fn give_up(&mut self, now: Instant) -> Option<(Group, Vec<u32>)> {
        let group = self.patience.take_over(now)?;
        let waits = |id: &u32| {
            let pod = self.pods.get(id);
            pod.is_some_and(|pod| !matches!(pod.state, State::Held | State::Taken))
        };
        let members = self.groups.get(&group).into_iter().flatten().copied();
        let members: Vec<u32> = members.filter(waits).collect();
        let until = now + LONGEST_BACK_OFF;
        for id in &members {
            self.leave(*id, State::BackOff(until));
            self.later.insert((until, *id));
        }
        Some((group, members))
    }

    /// The time of all groups begins anew, with the next try of each.
    pub fn start_patience_anew(&mut self) {
        self.patience.clear();
    }

    /// Its binding was refused: again after a while.
    pub fn back_off(&mut self, id: u32, now: Instant) {
        let until = self.pause(id, now);
        self.leave(id, State::BackOff(until));
        if self.pods.contains_key(&id) {
            self.later.insert((until, id));
        }
    }

    /// No node would do: again after a while, if there was news that could help.
    pub fn park(&mut self, id: u32, hopes: News, now: Instant) {
        let until = self.pause(id, now);
        let last = now + LONGEST_PARKED;
        self.leave(id, State::Parked(hopes, until, last));
        if self.pods.contains_key(&id) {
            self.parked.entry(hopes).or_default().insert(id);
            self.later.insert((last, id));
        }
    }

    /// It was not answered for: again, in its place.
    pub fn again(&mut self, id: u32) {
        self.leave(id, State::Ready);
        if let Some(waiting) = self.pods.get(&id) {
            self.ready.insert(waiting.place, id);
        }
    }

    /// What it waits for has come: now, whatever its back-off.
    pub fn hurry(&mut self, id: u32) {
        let waits = |waiting: &Waiting| matches!(waiting.state, State::BackOff(_) | State::Parked(..));
        if self.pods.get(&id).is_some_and(waits) {
            self.again(id);
        }
    }

    /// Until another policy decides, or it changes.
    pub fn hold(&mut self, id: u32) {
        self.leave(id, State::Held);
        if self.pods.contains_key(&id) {
            self.held.insert(id);
        }
    }

    fn pause(&mut self, id: u32, now: Instant) -> Instant {
        let Some(waiting) = self.pods.get_mut(&id) else {
            return now;
        };
        let pause = FIRST_BACK_OFF.saturating_mul(1 << waiting.attempts.min(4));
        waiting.attempts += 1;
        now + pause.min(LONGEST_BACK_OFF)
    }

    /// Out of wherever it stands, into a state.
    fn leave(&mut self, id: u32, next: State) {
        let Some(waiting) = self.pods.get_mut(&id) else { return };
        match std::mem::replace(&mut waiting.state, next) {
            State::Ready => drop(self.ready.remove(&waiting.place)),
            State::BackOff(until) => drop(self.later.remove(&(until, id))),
            State::Parked(hopes, _, last) => {
                self.later.remove(&(last, id));
                if let Some(parked) = self.parked.get_mut(&hopes) {
                    parked.remove(&id);
                    if parked.is_empty() {
                        self.parked.remove(&hopes);
                    }
                }
            }
            State::Held => drop(self.held.remove(&id)),
            State::Taken | State::Gathering => {}
        }
    }

    /// There is news: those whom it could help wait out their back-off, no longer.
    pub fn wake(&mut self, news: News) {
        if news.meets(News::POLICY) {
            for id in std::mem::take(&mut self.held) {
                self.again(id);
            }
        }
        let concerned = self.parked.keys().filter(|hopes| hopes.meets(news)).copied();
        for hopes in concerned.collect::<Vec<_>>() {
            for id in self.parked.remove(&hopes).unwrap_or_default() {
                if let Some(waiting) = self.pods.get_mut(&id)
                    && let State::Parked(_, until, last) = waiting.state
                {
                    self.later.remove(&(last, id));
                    waiting.state = State::BackOff(until);
                    self.later.insert((until, id));
                }
            }
        }
    }

    /// A group asks for another number of pods, or for another time: what was too few may be enough.
    pub fn recount(&mut self, namespace: &str, name: &str) {
        let named = self
            .groups
            .keys()
            .filter(|group| (&*group.namespace, &*group.name) == (namespace, name));
        for group in named.cloned().collect::<Vec<_>>() {
            self.patience.end(&group);
            self.gathered(&group);
        }
    }

    /// One more of a group is there.
    fn gathered(&mut self, group: &Group) {
        let members = self.groups.get(group).into_iter().flatten().copied();
        let waits = |id: &u32| self.pods.get(id).is_some_and(|pod| pod.state == State::Gathering);
        for id in members.filter(waits).collect::<Vec<_>>() {
            self.again(id);
        }
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some((until, id)) = self.later.first().copied() {
            if until > now {
                break;
            }
            self.later.pop_first();
            self.again(id);
        }
    }

    /// When there are pods to take, now if some are ready, or a group to give up.
    pub fn next_due(&self) -> Option<Instant> {
        match self.ready.is_empty() {
            true => {
                let later = self.later.first().map(|(until, _)| *until);
                later.into_iter().chain(self.patience.next()).min()
            }
            false => Some(Instant::now()),
        }
    }
}
