//! Carrying out what was decided: bindings and ends of pods as plans of one Raft entry, and what became of each.
use super::{Answer, Question, suspects::Unit};
use crate::policies::scheduling::{Scheduling, mirror::Mirror, reading::facts, refusal};
use sampan_api::{ApiError, Operation, Plan, Reason, Revision, Write, plan::Binding};
use sampan_sandbox::scheduler::Unplaced;
use serde_json::json;
use std::time::Instant;

/// What a plan is for.
#[derive(Debug)]
enum Step {
    /// Pods, each to its node. Those of a group are one plan: all of it or nothing.
    Bind(Vec<(u32, String)>),
    /// Room is made for a pod on a node, by the end of others.
    Preempt(u32, String, Vec<u32>),
    /// What becomes of it matters to nobody.
    Report,
}

impl Scheduling {
    pub(super) fn carry_out(&mut self, question: &Question, answer: Answer, term: u64) {
        let (mut steps, mut plans) = (Vec::new(), Vec::new());
        let now = Instant::now();
        let (mut first, mut unplaced) = (0, answer.placement.unplaced.iter().peekable());
        for unit in &question.call.units {
            let nodes = answer.placement.nodes.get(first..first + unit.pods.len());
            first += unit.pods.len();
            let Some(nodes) = nodes else {
                // Not answered for yet.
                unit.pods.iter().for_each(|id| self.queue.again(*id));
                continue;
            };
            let places = places(&self.mirror, unit, nodes);
            let standing = self.group_stands(unit, !places.is_empty());
            if !places.is_empty() {
                let mut plan = self.binding(&places, &answer.policy);
                plan.writes.extend(standing);
                plans.push(plan);
                steps.push(Step::Bind(places));
            } else if let Some(write) = standing {
                plans.push(Plan::from(write));
                steps.push(Step::Report);
            }
            while let Some(one) = unplaced.next_if(|one| (one.pod as usize) < first) {
                let Some(pod) = question.pods.get(one.pod as usize) else {
                    continue;
                };
                for (plan, step) in self.unplaced(pod.id, one, &answer, now) {
                    plans.push(plan);
                    steps.push(step);
                }
            }
        }
        match self.replica.commit_blocking_in(term, plans) {
            Ok(results) => {
                for (step, result) in steps.into_iter().zip(results) {
                    self.settle(step, result.map(|committed| committed.revision));
                }
            }
            Err(error) => self.put_all_back(&steps, &error),
        }
        self.mirror.doubt(&answer.doubted, answer.rooms);
        let news = self.mirror.take_news();
        self.queue.wake(news);
    }

    fn binding(&self, places: &[(u32, String)], policy: &str) -> Plan {
        let write = |(id, node): &(u32, String)| {
            let binding = Binding {
                node: node.clone(),
                policy: policy.to_owned(),
            };
            let pod = self.mirror.pods.get(*id)?;
            Some(Write::new(pod.key.clone(), Operation::Bind(binding)))
        };
        Plan {
            writes: places.iter().filter_map(write).collect(),
        }
    }

    /// A pod without a place: it is told why, and perhaps room is made for it.
    fn unplaced(&mut self, id: u32, said: &Unplaced, answer: &Answer, now: Instant) -> Vec<(Plan, Step)> {
        let Some(why) = answer.placement.refusals.get(said.refusal as usize) else {
            return Vec::new();
        };
        let node = self.mirror.nodes.get(said.nominated).map(|node| node.name.to_string());
        let preemption = refusal::Preemption {
            node: node.clone(),
            victims: said.victims.len(),
            never: self.mirror.pods.get(id).is_some_and(|pod| !pod.shape.may_preempt),
        };
        let message = self.words(why, &preemption, &answer.policy);
        self.queue.park(id, self.hopes(why, &answer.policy), now);
        let mut steps = self.end_nominations(id, node.as_deref());
        let plan = match (node, said.victims.is_empty()) {
            (Some(node), false) => self
                .preemption(id, &node, &said.victims, &message)
                .map(|plan| (plan, Step::Preempt(id, node, said.victims.clone()))),
            (node, _) => {
                let changed = self
                    .mirror
                    .pods
                    .get(id)
                    .is_some_and(|pod| pod.nominated.as_deref() != node.as_deref());
                if changed {
                    self.mirror.nominate(id, node.as_deref(), 0);
                }
                self.unschedulable(id, node.as_deref(), changed, &message)
                    .map(|plan| (plan, Step::Report))
            }
        };
        steps.extend(plan);
        steps
    }

    /// The plan that tells why a pod waits; none where it was told already and nothing else changed.
    fn unschedulable(&self, id: u32, node: Option<&str>, changed: bool, message: &str) -> Option<Plan> {
        let pod = self.mirror.pods.get(id)?;
        let new = self.narrator.warning_once(&pod.key, "FailedScheduling", message);
        if !new && !changed {
            return None;
        }
        let mut status = self.waiting_status(id, message)?;
        if changed {
            status["nominatedNodeName"] = json!(node);
        }
        let write = Operation::MergeStatus(json!({ "status": status }));
        Some(Plan::from(Write::new(pod.key.clone(), write)))
    }

    /// The status of a pod with its condition `PodScheduled` saying no.
    pub(super) fn waiting_status(&self, id: u32, message: &str) -> Option<serde_json::Value> {
        let pod = self.mirror.pods.get(id)?;
        let status = self.replica.snapshot().get(&pod.key)?.field_value("status");
        let others = status["conditions"].as_array().cloned().unwrap_or_default();
        let mut conditions: Vec<_> = others.into_iter().filter(|c| c["type"] != "PodScheduled").collect();
        conditions
            .push(json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}));
        Some(json!({ "phase": status["phase"].as_str().unwrap_or("Pending"), "conditions": conditions }))
    }

    /// What the committer said of one step.
    fn settle(&mut self, step: Step, result: Result<Revision, ApiError>) {
        match (step, result) {
            (Step::Bind(places), Ok(at)) => {
                let start = facts::seconds(self.replica.now_millis());
                for (id, node) in places {
                    self.queue.placed(id);
                    if let Some(pod) = self.mirror.pods.get(id) {
                        let path = pod.key.path();
                        let message = format!("Successfully assigned {path} to {node}");
                        self.narrator.normal(&pod.key, "Scheduled", &message);
                    }
                    self.mirror.bound(id, &node, start, at);
                }
            }
            (Step::Bind(places), Err(error)) => {
                for (id, node) in places {
                    self.refused(id, &node, &error);
                }
            }
            (Step::Preempt(id, node, victims), Ok(at)) => self.preempted(id, &node, &victims, at),
            (Step::Preempt(id, node, _), Err(error)) => self.refused(id, &node, &error),
            (Step::Report, _) => {}
        }
    }

    /// The committer refused what was decided for a pod.
    fn refused(&mut self, id: u32, node: &str, error: &ApiError) {
        let Some(pod) = self.mirror.pods.get(id) else { return };
        tracing::debug!(pod = %pod.key, node, %error, "the committer refused what was decided");
        // A pod that is not there any more leaves the queue with the news of it.
        if error.reason != Reason::NotFound {
            self.narrator.warning_once(&pod.key, "FailedScheduling", &error.message);
        }
        self.queue.back_off(id, Instant::now());
    }

    /// Nothing was committed: all wait again.
    fn put_all_back(&mut self, steps: &[Step], error: &ApiError) {
        tracing::warn!(%error, steps = steps.len(), "what was decided could not be committed");
        for step in steps {
            match step {
                Step::Bind(places) => {
                    for (id, _) in places {
                        self.queue.back_off(*id, Instant::now());
                    }
                }
                Step::Preempt(id, ..) => self.queue.back_off(*id, Instant::now()),
                Step::Report => {}
            }
        }
    }

    /// Ends the nominations that a policy ended with its answer: of less important pods on that node.
    fn end_nominations(&mut self, id: u32, node: Option<&str>) -> Vec<(Plan, Step)> {
        let Some(node) = node else { return Vec::new() };
        let Some(priority) = self.mirror.pods.get(id).map(|pod| pod.shape.priority) else {
            return Vec::new();
        };
        let awaited: Vec<u32> = self.mirror.pods.awaited_on(node).collect();
        let mut steps = Vec::new();
        for other in awaited.into_iter().filter(|other| *other != id) {
            let Some(pod) = self.mirror.pods.get(other).filter(|pod| pod.shape.priority < priority) else {
                continue;
            };
            let none = Operation::MergeStatus(json!({"status": {"nominatedNodeName": null}}));
            steps.push((Plan::from(Write::new(pod.key.clone(), none)), Step::Report));
            self.mirror.nominate(other, None, 0);
            self.queue.again(other);
        }
        steps
    }
}

/// Where the pods of a unit go.
fn places(mirror: &Mirror, unit: &Unit, nodes: &[u32]) -> Vec<(u32, String)> {
    let placed = unit.pods.iter().zip(nodes);
    let named = placed.filter_map(|(id, node)| Some((*id, mirror.nodes.get(*node)?.name.to_string())));
    named.collect()
}
