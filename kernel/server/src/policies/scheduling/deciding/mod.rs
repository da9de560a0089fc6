//! One call: from pods that wait to a placement that makes sense, whoever it comes from.
mod carrying;
mod check;
mod grouping;
mod preempting;
mod shadowing;
pub mod suspects;

use super::{
    Instance, Member, Role, Scheduling, fallback,
    mirror::{Mirror, pods::NOBODY},
    queue::Needs,
};
use sampan_sandbox::{
    CallError,
    scheduler::{Placement, Pod, PodGroup},
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use suspects::{Blame, Call, Unit};

/// Under this name bindings of the built-in policy are recorded.
const BUILT_IN: &str = "built-in";

/// What was asked, in the plugin's terms.
struct Question {
    call: Call,
    pods: Vec<Pod>,
    groups: Vec<PodGroup>,
}

/// What a policy said, and what other policies believe since that may not be so.
struct Answer {
    placement: Placement,
    policy: String,
    /// How long it thought.
    took: Duration,
    doubted: BTreeSet<u32>,
    /// Whether room was made for anybody, which changes budgets and nominations.
    rooms: bool,
}

impl Scheduling {
    /// Finds places for pods, and carries out what was decided.
    pub(super) fn schedule(&mut self, call: Call, term: u64) {
        let pods: Vec<Pod> = call.pods().filter_map(|id| self.mirror.waiting(id)).collect();
        let groups = call.groups();
        let question = Question { call, pods, groups };
        self.tell();
        let Some(mut answer) = self.ask(&question) else { return };
        self.compare_shadow(&question, &mut answer, term);
        self.carry_out(&question, answer, term);
    }

    /// Asks the active policy, or the built-in one where there is none. None where it failed: then who is to blame is being
    /// found out.
    fn ask(&mut self, question: &Question) -> Option<Answer> {
        let Question { pods, groups, .. } = question;
        let mirror = &self.mirror;
        let asked = self.seats.ask_once(Role::Active, |seat| {
            seat.instance.sync(mirror)?;
            let started = Instant::now();
            let placed = seat.instance.place(mirror, pods, groups);
            let took = started.elapsed();
            seat.member.record(seat.instance.figures());
            let placement = placed?;
            check::names(mirror, pods, &placement).map_err(CallError::Rubbish)?;
            Ok((placement, seat.member.digest.clone(), took))
        });
        let (placement, policy, took) = match asked {
            Some(Ok(placed)) => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.place(mirror, pods, groups, &placed.0, placed.2);
                }
                placed
            }
            Some(Err((member, error))) => {
                self.failed(question.call.clone(), member, &error);
                return None;
            }
            // What the built-in policy places is counted in the mirror as it is bound.
            None => {
                let started = Instant::now();
                let placement = fallback::place(mirror, pods, groups);
                (placement, BUILT_IN.to_owned(), started.elapsed())
            }
        };
        let mut answer = Answer {
            placement,
            policy,
            took,
            doubted: pods.iter().map(|pod| pod.id).collect(),
            rooms: pods.iter().any(|pod| self.mirror.is_awaited(pod.id)),
        };
        answer.rooms |= note_victims(&mut answer.doubted, &answer.placement);
        Some(answer)
    }

    /// The active policy failed over these pods.
    fn failed(&mut self, call: Call, member: Member, error: &CallError) {
        tracing::warn!(plugin = member.name, %error, pods = call.pods().count(), "a policy failed");
        let all: Vec<u32> = call.pods().collect();
        match self.suspects.failed(call) {
            Blame::Open => self.seats.afresh(Role::Active, member, make(&self.mirror)),
            Blame::Policy => self.dismiss(&member, error, &all),
            Blame::Unit(unit) => self.isolate(&member, error, unit),
        }
    }

    /// One pod, or one group, makes a policy fail: it is put aside, unless the policy fails over another, too.
    fn isolate(&mut self, member: &Member, error: &CallError, unit: Unit) {
        self.seats.afresh(Role::Active, member.clone(), make(&self.mirror));
        let fails = self.fails_over_another(&unit);
        if fails || self.suspects.poisoned() {
            self.dismiss(member, error, &unit.pods);
            return;
        }
        for id in unit.pods {
            self.queue.hold(id);
            if let Some(pod) = self.mirror.pods.get(id) {
                let who = match pod.shape.group {
                    Some(_) => "this pod's group",
                    None => "this pod",
                };
                let message = format!(
                    "the policy {} fails over {who}: {error}. It waits until it is changed, or another policy decides.",
                    member.name
                );
                self.narrator.warning_once(&pod.key, "FailedScheduling", &message);
            }
        }
    }

    /// Whether the active policy fails when it is asked about a pod like another, or about none if there is no other.
    fn fails_over_another(&mut self, unit: &Unit) -> bool {
        let mirror = &self.mirror;
        let class = |id: &u32| mirror.pods.get(*id).map(|pod| pod.class);
        let suspected: BTreeSet<u32> = unit.pods.iter().filter_map(class).collect();
        let other = mirror
            .classes
            .numbers()
            .filter(|class| !suspected.contains(class))
            .min();
        let pods: Vec<Pod> = other
            .map(|class| Pod {
                id: NOBODY,
                class,
                pinned: 0,
            })
            .into_iter()
            .collect();
        let asked = self.seats.ask_once(Role::Active, |seat| {
            let placed = seat.instance.place(mirror, &pods, &[])?;
            check::names(mirror, &pods, &placed).map_err(CallError::Rubbish)?;
            // It was a question only.
            let mut doubted = BTreeSet::from([NOBODY]);
            let rooms = note_victims(&mut doubted, &placed);
            seat.instance.tell(&mirror.doubts(&doubted, rooms));
            Ok(())
        });
        matches!(asked, Some(Err(_)))
    }

    /// The policy is to blame: who was good before takes its place, and all whom it failed over are asked again.
    fn dismiss(&mut self, member: &Member, error: &CallError, pods: &[u32]) {
        self.seats
            .dismiss(Role::Active, member.clone(), error, make(&self.mirror));
        pods.iter().for_each(|id| self.queue.again(*id));
        self.begin_anew();
    }

    /// Why pods of a group wait for others of it.
    pub(super) fn report_incomplete(&mut self, incomplete: &[(u32, u32)]) {
        for (id, there) in incomplete {
            let Some(pod) = self.mirror.pods.get(*id) else { continue };
            let Some(group) = &pod.shape.group else { continue };
            let message = format!(
                "of its group {} {there} are there, and {} are placed together or none. Remedy: create the others.",
                group.name,
                self.mirror.groups.least(group)
            );
            self.narrator.warning_once(&pod.key, "FailedScheduling", &message);
        }
    }

    /// Whether a pod says more than schedulers can be told: it is told so, and waits until it is changed.
    fn beyond_bounds(&mut self, unit: &Unit) -> bool {
        let refused = |id: &u32| self.mirror.pods.get(*id).and_then(|pod| pod.shape.refused.clone());
        let Some(why) = unit.pods.iter().find_map(refused) else {
            return false;
        };
        for id in &unit.pods {
            self.queue.hold(*id);
            if let Some(pod) = self.mirror.pods.get(*id) {
                let message = format!("it cannot be scheduled: {why}");
                self.narrator.warning_once(&pod.key, "FailedScheduling", &message);
            }
        }
        true
    }

    /// Another policy decides: what the one before could not place, it may.
    pub(super) fn begin_anew(&mut self) {
        for id in self.suspects.clear() {
            self.queue.again(id);
        }
        self.queue.wake(super::mirror::News::POLICY);
    }

    /// The next call: what is suspected apart, everybody else in their order.
    pub(super) fn next_call(&mut self) -> Option<Call> {
        while let Some(mut call) = self.suspects.next() {
            for unit in &mut call.units {
                unit.pods.retain(|id| self.queue.contains(*id));
            }
            call.units.retain(|unit| !unit.pods.is_empty());
            if !call.units.is_empty() {
                return Some(call);
            }
        }
        let mirror = &self.mirror;
        let needs = |group: &_| Needs {
            bound: mirror.pods.bound_of(group),
            least: mirror.groups.least(group),
            patience: mirror.groups.patience(group),
        };
        let taken = self.queue.take(super::BATCH, Instant::now(), needs);
        self.report_incomplete(&taken.incomplete);
        let mut call = Call::new(&taken.pods, &taken.groups);
        call.units.retain(|unit| !self.beyond_bounds(unit));
        (!call.units.is_empty()).then_some(call)
    }
}

/// Makes instances that know what the mirror holds.
pub(super) fn make(mirror: &Mirror) -> impl FnMut(&Member) -> Result<Instance, CallError> {
    |member| Instance::make(member, mirror)
}

/// Adds those who would have to go; whether room would be made anywhere.
fn note_victims(doubted: &mut BTreeSet<u32>, placement: &Placement) -> bool {
    let victims = placement.unplaced.iter().flat_map(|unplaced| &unplaced.victims);
    doubted.extend(victims);
    placement.unplaced.iter().any(|unplaced| unplaced.nominated != 0)
}
