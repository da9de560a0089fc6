//! Pods placed anew by a policy, without a cluster: asked as the scheduling loop asks, and carried out as the committer would.
//!
//! What differs from a cluster: pods come one after the other in the order that is given, nothing else happens meanwhile, and
//! victims are gone at once and come again at the end.
use super::{
    Answer, Candidate, PlaceError, Scene, Seconds, committer, saying,
    world::{Counted, World},
};
use crate::policies::scheduling::mirror::touched::Touched;
use sampan_sandbox::{
    CallError,
    scheduler::{Nomination, Placement, Pod, PodGroup, SchedulerPlugin, Unplaced},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Instant,
};

/// Pods in a call, as the loop gives them; whole groups may make it more.
const BATCH: usize = 256;

/// How often pods that found no place are asked for again once all others have theirs.
const ROUNDS: usize = 8;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Where each pod is in the end: a node's name, or why it has none. By the pods' places in the scene.
    pub answers: Vec<Answer>,
    pub placed: u32,
    pub waiting: u32,
    /// Pods that others went for, and those that went. Who went may have found another place.
    pub preemptors: u32,
    pub victims: u32,
    /// Bindings that the committer would have refused.
    pub refused: u32,
    /// Decisions asked for, and how long they took.
    pub decisions: u64,
    pub took: Seconds,
    /// The cluster in the end.
    pub world: World,
}

/// Places the pods of a scene.
///
/// # Errors
/// How the policy failed, and over which pods.
pub fn place_anew(scene: &Scene, plugin: SchedulerPlugin) -> Result<Outcome, PlaceError> {
    let mut course = Course::new(scene, plugin)?;
    for _ in 0..ROUNDS {
        let before = course.outcome.placed;
        while let Some(call) = course.next_call() {
            course.ask(call)?;
        }
        if course.outcome.placed == before || course.aside.is_empty() {
            break;
        }
        course.queue.extend(std::mem::take(&mut course.aside));
    }
    course.tell()?;
    Ok(course.finish())
}

/// Pods that go together, by their places in the scene: one, or a group with its least number.
#[derive(Clone, Debug)]
struct Unit {
    pods: Vec<usize>,
    least: Option<u32>,
}

/// A placing under way.
struct Course<'a> {
    scene: &'a Scene,
    plugin: SchedulerPlugin,
    synced: u64,
    touched: Touched,
    world: World,
    queue: VecDeque<Unit>,
    /// They found no place.
    aside: Vec<Unit>,
    /// Pods that others went for already: a second time nobody does.
    made_room: HashSet<u32>,
    by_number: HashMap<u32, usize>,
    outcome: Outcome,
}

impl<'a> Course<'a> {
    fn new(scene: &'a Scene, plugin: SchedulerPlugin) -> Result<Self, PlaceError> {
        let pods = scene.pods.iter().enumerate();
        let mut course = Course {
            scene,
            plugin,
            synced: 0,
            touched: Touched::default(),
            world: scene.world.clone(),
            queue: units(&scene.pods).into(),
            aside: Vec::new(),
            made_room: HashSet::new(),
            by_number: pods.map(|(at, one)| (one.pod.id, at)).collect(),
            outcome: Outcome::default(),
        };
        course.outcome.answers = vec![Answer::default(); scene.pods.len()];
        for changes in scene.world.everything() {
            course.sync(&changes)?;
        }
        Ok(course)
    }

    fn sync(&mut self, changes: &sampan_sandbox::scheduler::Changes) -> Result<(), PlaceError> {
        let next = self.synced + 1;
        let told = self.plugin.sync(self.synced, next, changes);
        told.map_err(|error| PlaceError::new(error, "when it is told of the cluster"))?;
        self.synced = next;
        Ok(())
    }

    fn tell(&mut self) -> Result<(), PlaceError> {
        let touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return Ok(());
        }
        let calls = self.world.anew(&touched);
        calls.iter().try_for_each(|changes| self.sync(changes))
    }

    fn next_call(&mut self) -> Option<Vec<Unit>> {
        let (mut call, mut count) = (Vec::new(), 0);
        while let Some(unit) = self.queue.pop_front() {
            if count > 0 && count + unit.pods.len() > BATCH {
                self.queue.push_front(unit);
                break;
            }
            count += unit.pods.len();
            call.push(unit);
        }
        (!call.is_empty()).then_some(call)
    }

    fn ask(&mut self, call: Vec<Unit>) -> Result<(), PlaceError> {
        self.tell()?;
        let (mut pods, mut groups): (Vec<Pod>, Vec<PodGroup>) = (Vec::new(), Vec::new());
        for unit in &call {
            groups.extend(unit.least.map(|least| PodGroup {
                first: pods.len() as u32,
                count: unit.pods.len() as u32,
                least,
            }));
            pods.extend(unit.pods.iter().filter_map(|at| Some(self.scene.pods.get(*at)?.pod)));
        }
        let started = Instant::now();
        let placed = self.plugin.place(&pods, &groups);
        self.outcome.took.add(started.elapsed());
        let placement = placed.map_err(|error| PlaceError::new(error, &over(self.scene, &call)))?;
        if let Some(node) = placement
            .nodes
            .iter()
            .find(|node| **node != 0 && self.world.node(**node).is_none())
        {
            let what = format!("it chose node number {node}, which does not exist");
            return Err(PlaceError::new(CallError::Rubbish(what), &over(self.scene, &call)));
        }
        self.outcome.decisions += placement.nodes.len() as u64;
        self.touched
            .add(&self.world.doubts(pods.iter().map(|pod| pod.id), false));
        let mut first = 0;
        let mut again = Vec::new();
        for unit in call {
            let count = unit.pods.len();
            match placement.nodes.get(first..first + count) {
                Some(nodes) => self.carry_out(unit, first, nodes, &placement)?,
                // Not answered for yet.
                None => again.push(unit),
            }
            first += count;
        }
        again.into_iter().rev().for_each(|unit| self.queue.push_front(unit));
        Ok(())
    }

    /// What was said of the pods of a unit, which begin at a place of the call.
    fn carry_out(&mut self, unit: Unit, first: usize, nodes: &[u32], said: &Placement) -> Result<(), PlaceError> {
        let bound = self.bind(&unit, nodes);
        for (offset, (at, node)) in unit.pods.iter().zip(nodes).enumerate() {
            if *node != 0 {
                if !bound {
                    self.answer(*at, Answer::without("the committer refused its place"));
                    self.aside.push(Unit::one(*at));
                }
                continue;
            }
            let place = (first + offset) as u32;
            let Some(one) = said.unplaced.iter().find(|one| one.pod == place) else {
                continue;
            };
            self.unplaced(*at, one, said)?;
        }
        Ok(())
    }

    /// Binds those of a unit that have a node, all or none; whether it was done.
    fn bind(&mut self, unit: &Unit, nodes: &[u32]) -> bool {
        let mut done = Vec::new();
        for (at, node) in unit.pods.iter().zip(nodes).filter(|(_, node)| **node != 0) {
            let Some(candidate) = self.scene.pods.get(*at) else {
                continue;
            };
            let class = self.world.class(candidate.pod.class);
            let asked = self.world.asked_of(*node);
            let may = class.is_some_and(|class| committer::bind(&self.world, class, *node, &asked).is_ok());
            if !may {
                self.outcome.refused += 1;
                done.into_iter().for_each(|pod| self.world.release(pod));
                return false;
            }
            let counted = Counted {
                node: *node,
                class: candidate.pod.class,
                start: candidate.start,
                ending: false,
            };
            self.world.bind(candidate.pod.id, counted);
            done.push(candidate.pod.id);
        }
        for (at, node) in unit.pods.iter().zip(nodes).filter(|(_, node)| **node != 0) {
            let answer = Answer::on(self.world.node_name(*node));
            self.answer(*at, answer);
            self.outcome.placed += 1;
            if let Some(candidate) = self.scene.pods.get(*at) {
                self.nominate(candidate.pod.id, None);
            }
        }
        true
    }

    fn unplaced(&mut self, at: usize, said: &Unplaced, placement: &Placement) -> Result<(), PlaceError> {
        let scene = self.scene;
        let Some(candidate) = scene.pods.get(at) else {
            return Ok(());
        };
        let pod = candidate.pod;
        let rubbish = |what: String| PlaceError::rubbish(what, &candidate.name);
        committer::victims(&self.world, &pod, said).map_err(rubbish)?;
        let why = saying::refusal(placement, said, &self.world);
        self.answer(at, Answer::without(&why));
        if said.nominated != 0 {
            let doubts = self.world.doubts(said.victims.iter().copied().chain([pod.id]), true);
            self.touched.add(&doubts);
        }
        if said.victims.is_empty() || !self.made_room.insert(pod.id) {
            self.nominate(pod.id, None);
            self.aside.push(Unit::one(at));
            return Ok(());
        }
        self.outcome.preemptors += 1;
        for victim in &said.victims {
            self.outcome.victims += 1;
            self.world.release(*victim);
            if let Some(victim) = self.by_number.get(victim).copied() {
                self.outcome.placed = self.outcome.placed.saturating_sub(1);
                self.answer(victim, Answer::without("it was preempted"));
                self.queue.push_back(Unit::one(victim));
            }
        }
        self.end_nominations(&pod, said.nominated);
        self.nominate(
            pod.id,
            Some(Nomination {
                pod: pod.id,
                node: said.nominated,
                class: pod.class,
            }),
        );
        // Room was made for it: it comes next.
        self.queue.push_front(Unit::one(at));
        Ok(())
    }

    /// Those of less important pods on that node end with an answer that names it.
    fn end_nominations(&mut self, pod: &Pod, node: u32) {
        let priority = |class: u32| self.world.class(class).map_or(0, |class| class.priority);
        let mine = priority(pod.class);
        let less = self
            .world
            .nominations()
            .filter(|one| one.node == node && priority(one.class) < mine);
        let ended: Vec<u32> = less.map(|one| one.pod).collect();
        ended.into_iter().for_each(|pod| self.nominate(pod, None));
    }

    fn nominate(&mut self, pod: u32, nomination: Option<Nomination>) {
        self.world.nominate(pod, nomination);
        self.touched.nominations.insert(pod);
    }

    fn answer(&mut self, at: usize, answer: Answer) {
        if let Some(kept) = self.outcome.answers.get_mut(at) {
            *kept = answer;
        }
    }

    fn finish(mut self) -> Outcome {
        self.outcome.waiting = self.outcome.answers.iter().filter(|one| one.node.is_empty()).count() as u32;
        self.outcome.world = self.world;
        self.outcome
    }
}

impl Unit {
    fn one(at: usize) -> Self {
        Unit {
            pods: vec![at],
            least: None,
        }
    }
}

/// Pods in their order; a group comes when the last of it does. Of one that is not all there nobody is asked.
fn units(pods: &[Candidate]) -> Vec<Unit> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, one) in pods.iter().enumerate() {
        if let Some((name, _)) = &one.group {
            groups.entry(name).or_default().push(at);
        }
    }
    let mut units = Vec::new();
    for (at, one) in pods.iter().enumerate() {
        let Some((name, least)) = &one.group else {
            units.push(Unit::one(at));
            continue;
        };
        let Some(members) = groups.get(name.as_str()).filter(|members| members.last() == Some(&at)) else {
            continue;
        };
        if members.len() >= *least as usize {
            units.push(Unit {
                pods: members.clone(),
                least: Some((*least).max(1)),
            });
        }
    }
    units
}

/// Which pods a call was about, for people.
fn over(scene: &Scene, call: &[Unit]) -> String {
    let names = call.iter().flat_map(|unit| &unit.pods);
    let mut names = names.filter_map(|at| scene.pods.get(*at)).map(|one| one.name.as_str());
    let (first, count) = (names.next().unwrap_or_default(), names.count());
    match count {
        0 => format!("over pod {first}"),
        more => format!("over pod {first} and {more} others"),
    }
}
