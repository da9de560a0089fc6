//! A recording, step by step: a policy is told what was told, is asked what was asked, and its answers are held against those
//! that were given.
//!
//! What was carried out is what was recorded, so each decision is compared on the same cluster; what the policy said otherwise
//! is taken back before it is asked again, as of a shadow.
use super::{Candidate, Line, Place, PlaceError, Recording, Scene, Seconds, saying, world::World};
use sampan_sandbox::scheduler::{Changes, Placement, Pod, PodGroup, SchedulerPlugin};
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

/// A decision that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its line in the recording.
    pub line: usize,
    /// `NAMESPACE/NAME`
    pub pod: String,
    /// The nodes; empty where it got none.
    pub recorded: String,
    pub said: String,
    /// Why it got none, from whoever gave none; where both gave the same node, what else is not as it was.
    pub why: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Compared {
    pub decisions: u64,
    pub differences: Vec<Difference>,
    /// Calls that were answered with the same decisions in another form.
    pub forms: u64,
    /// How long the policy took, and the recorded one.
    pub took: Seconds,
    pub recorded_took: Seconds,
    /// Decisions in which room is made by the end of others.
    pub preemptions: u64,
    pub recorded_preemptions: u64,
    /// The cluster at the end; the pods that were asked about and are bound there are placed anew, in the order of asking.
    pub scene: Scene,
}

impl Compared {
    /// Whether all was answered as it was, byte for byte.
    pub fn all_the_same(&self) -> bool {
        self.differences.is_empty() && self.forms == 0
    }
}

/// Puts a recording through a policy.
///
/// # Errors
/// How the policy failed, and where.
pub fn compare(recording: &Recording, plugin: SchedulerPlugin) -> Result<Compared, PlaceError> {
    let mut course = Course {
        plugin,
        synced: 0,
        world: World::default(),
        asked: Vec::new(),
        last: HashMap::new(),
        compared: Compared::default(),
    };
    for (at, step) in recording.steps.iter().enumerate() {
        // The header is the first line.
        let line = at + 2;
        match step {
            Line::Sync(changes) => {
                course.world.apply(changes);
                course.sync(changes, line)?;
            }
            Line::Place(place) => course.place(place, line)?,
            Line::Recording(_) | Line::End(_) => {}
        }
    }
    Ok(course.finish(recording.header.revision))
}

struct Course {
    plugin: SchedulerPlugin,
    synced: u64,
    world: World,
    /// Pods that were asked about, in order.
    asked: Vec<(String, Pod)>,
    last: HashMap<u32, usize>,
    compared: Compared,
}

impl Course {
    fn sync(&mut self, changes: &Changes, line: usize) -> Result<(), PlaceError> {
        let next = self.synced + 1;
        let told = self.plugin.sync(self.synced, next, changes);
        told.map_err(|error| PlaceError::new(error, &format!("at line {line}, when it is told of changes")))?;
        self.synced = next;
        Ok(())
    }

    fn place(&mut self, place: &Place, line: usize) -> Result<(), PlaceError> {
        let name = |at: usize| place.names.get(at).cloned().unwrap_or_default();
        for (at, pod) in place.pods.iter().enumerate() {
            self.last.insert(pod.id, self.asked.len());
            self.asked.push((name(at), *pod));
        }
        self.compared.recorded_took.0 += place.micros as f64 / 1e6;
        let answered = place.answer.nodes.len().min(place.pods.len());
        let mut first = 0;
        while first < answered {
            let (pods, groups) = from(place, first);
            let started = Instant::now();
            let said = self.plugin.place(pods, &groups);
            self.compared.took.add(started.elapsed());
            let said = said.map_err(|error| PlaceError::new(error, &format!("at line {line}")))?;
            let count = said.nodes.len().clamp(1, answered - first);
            let whole = first == 0 && said == place.answer;
            if whole {
                let rooms = said.unplaced.iter().filter(|one| !one.victims.is_empty()).count() as u64;
                self.compared.preemptions += rooms;
                self.compared.recorded_preemptions += rooms;
            } else {
                let before = self.compared.differences.len();
                self.differ(place, first, count, &said, line);
                self.compared.forms += u64::from(self.compared.differences.len() == before);
                self.take_back(pods, &said, line)?;
            }
            self.compared.decisions += count as u64;
            first += count;
        }
        Ok(())
    }

    /// Notes which of an answer's decisions are not as they were.
    fn differ(&mut self, place: &Place, first: usize, count: usize, said: &Placement, line: usize) {
        for offset in 0..count {
            let at = first + offset;
            let (was, is) = (self.words(&place.answer, at), self.words(said, offset));
            self.compared.recorded_preemptions += u64::from(!was.victims.is_empty());
            self.compared.preemptions += u64::from(!is.victims.is_empty());
            if was == is {
                continue;
            }
            let why = match (was.node.is_empty(), is.node.is_empty()) {
                (_, true) => is.why,
                (true, false) => was.why,
                (false, false) => String::new(),
            };
            self.compared.differences.push(Difference {
                line,
                pod: place.names.get(at).cloned().unwrap_or_default(),
                recorded: was.node,
                said: is.node,
                why,
            });
        }
    }

    fn words(&self, placement: &Placement, at: usize) -> Words {
        let node = placement.nodes.get(at).copied().unwrap_or_default();
        let unplaced = placement.unplaced.iter().find(|one| one.pod as usize == at);
        Words {
            node: match (node, self.world.node_name(node)) {
                (0, _) => String::new(),
                (number, "") => format!("number {number}, which is none"),
                (_, name) => name.to_owned(),
            },
            why: unplaced.map_or_else(String::new, |one| saying::refusal(placement, one, &self.world)),
            victims: unplaced.map(|one| one.victims.clone()).unwrap_or_default(),
        }
    }

    /// What was said is not what was done.
    fn take_back(&mut self, pods: &[Pod], said: &Placement, line: usize) -> Result<(), PlaceError> {
        let victims = said.unplaced.iter().flat_map(|one| one.victims.iter().copied());
        let rooms = said.unplaced.iter().any(|one| one.nominated != 0);
        let doubts = self.world.doubts(pods.iter().map(|pod| pod.id).chain(victims), rooms);
        let calls = self.world.anew(&doubts);
        calls.iter().try_for_each(|changes| self.sync(changes, line))
    }

    fn finish(mut self, revision: u64) -> Compared {
        let mut pods = Vec::new();
        let mut order: BTreeMap<usize, u32> = BTreeMap::new();
        order.extend(self.last.iter().map(|(id, at)| (*at, *id)));
        for (at, id) in order {
            let (Some((name, pod)), Some(counted)) = (self.asked.get(at), self.world.bound(id).copied()) else {
                continue;
            };
            if counted.ending || counted.class != pod.class {
                continue;
            }
            let on = self.world.node_name(counted.node).to_owned();
            pods.push(Candidate {
                name: name.clone(),
                pod: *pod,
                start: counted.start,
                group: None,
                on,
            });
        }
        pods.iter().for_each(|one| self.world.release(one.pod.id));
        self.compared.scene = Scene {
            pods,
            revision,
            world: self.world,
        };
        self.compared
    }
}

/// A decision as people read it.
#[derive(Debug, PartialEq)]
struct Words {
    node: String,
    why: String,
    victims: Vec<u32>,
}

/// What is left of a question from a pod on, with the groups that lie in it.
fn from(place: &Place, first: usize) -> (&[Pod], Vec<PodGroup>) {
    let pods = place.pods.get(first..).unwrap_or_default();
    let groups = place.groups.iter().filter(|group| group.first as usize >= first);
    let moved = groups.map(|group| PodGroup {
        first: group.first - first as u32,
        ..*group
    });
    (pods, moved.collect())
}
