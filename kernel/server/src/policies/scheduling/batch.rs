//! One batch: from pods that wait to bindings that were committed or refused.
use super::{Scheduling, fallback, mirror::wire_resources, pods::PodView, seat::Seat};
use sampan_api::{ApiError, Operation, Plan, Write, plan::Binding};
use sampan_sandbox::{
    CallError,
    scheduler::{Assignment, Delta, Outcome, Pod, Refusal, Usage},
};
use serde_json::json;
use std::{collections::HashMap, time::Instant};

/// Under this name bindings of the built-in policy are recorded.
const BUILT_IN: &str = "built-in";

impl Scheduling {
    /// Finds places for these pods and binds them.
    pub(super) fn schedule(&mut self, waiting: Vec<PodView>) {
        let pods: Vec<Pod> = waiting
            .iter()
            .enumerate()
            .map(|(id, pod)| self.mirror.wire_pod(id as u32, pod))
            .collect();
        self.tell(&[]);
        let (assignments, policy) = self.decide(&pods);
        self.compare_shadow(&pods, &assignments);

        let (mut plans, mut reports, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
        let now = Instant::now();
        let nodes = self.mirror.nodes().count();
        for assignment in &assignments {
            let Some(pod) = waiting.get(assignment.pod as usize) else {
                continue;
            };
            match &assignment.outcome {
                Outcome::Unschedulable(refusal) => {
                    reports.extend(self.unschedulable(pod, refusal, nodes));
                    self.queue.park(&pod.key, now);
                }
                Outcome::Bind(id) => {
                    let node = self.mirror.node_name(*id).unwrap_or_default().to_owned();
                    let binding = Binding {
                        node: node.clone(),
                        policy: policy.clone(),
                    };
                    plans.push(Plan::from(Write::new(pod.key.clone(), Operation::Bind(binding))));
                    bindings.push((pod, *id, node));
                }
            }
        }
        // The reports go along; what becomes of them matters to nobody.
        plans.append(&mut reports);
        match self.replica.commit_blocking(plans) {
            Ok(results) => {
                for ((pod, id, node), result) in bindings.into_iter().zip(results) {
                    self.settle(pod, id, &node, result.map(drop));
                }
            }
            Err(error) => self.put_all_back(&bindings, &error),
        }
    }

    /// Asks the active policy, and goes on to who comes after it while it fails.
    fn decide(&mut self, pods: &[Pod]) -> (Vec<Assignment>, String) {
        while let Some(seat) = &mut self.active {
            let result = seat.place(pods);
            let result = result.and_then(|assignments| self.check_nodes(assignments));
            match (result, &self.active) {
                (Ok(assignments), Some(seat)) => return (assignments, seat.member.digest.clone()),
                (Err(error), _) => self.replace_active(&error),
                (Ok(_), None) => {}
            }
        }
        // What the built-in policy assigns is counted at once in `settle`, as for a plugin that was told nothing.
        (fallback::place(&self.mirror, pods), BUILT_IN.to_owned())
    }

    /// A policy that names a node nobody has is no policy.
    fn check_nodes(&self, assignments: Vec<Assignment>) -> Result<Vec<Assignment>, CallError> {
        let unknown = assignments.iter().find_map(|assignment| match assignment.outcome {
            Outcome::Bind(id) if self.mirror.node_name(id).is_none() => Some(id),
            _ => None,
        });
        match unknown {
            Some(id) => Err(CallError::Rubbish(format!(
                "it chose node number {id}, which does not exist"
            ))),
            None => Ok(assignments),
        }
    }

    /// Lets the shadow decide too, and notes where it would have decided otherwise.
    fn compare_shadow(&mut self, pods: &[Pod], decided: &[Assignment]) {
        let Some(seat) = &mut self.shadow else { return };
        match seat.place(pods) {
            Ok(assignments) => {
                let choice = |assignment: &Assignment| match assignment.outcome {
                    Outcome::Bind(node) => Some(node),
                    Outcome::Unschedulable(_) => None,
                };
                let real: HashMap<u32, Option<u32>> = decided.iter().map(|a| (a.pod, choice(a))).collect();
                let differed = assignments
                    .iter()
                    .filter(|a| real.get(&a.pod) != Some(&choice(a)))
                    .count();
                seat.member.compared(assignments.len() as u64, differed as u64);
                seat.forget(&assignments, pods);
            }
            Err(error) => {
                if let Some(seat) = self.shadow.take() {
                    self.fleet.failed(&seat.member, &error);
                    self.shadow = self.seat(seat.member);
                }
            }
        }
    }

    /// What the committer said of one binding.
    fn settle(&mut self, pod: &PodView, id: u32, node: &str, result: Result<(), ApiError>) {
        let usage = Usage {
            node: id,
            resources: wire_resources(pod.demands.requests),
        };
        match result {
            Ok(()) => {
                self.queue.remove(&pod.key);
                let deltas = self.mirror.pod(&pod.key, Some((node, pod.demands.requests)));
                // The active policy counted it when it chose.
                let others = self.shadow.iter_mut();
                others.for_each(|seat| seat.tell(&deltas));
                self.narrator.normal(
                    &pod.key,
                    "Scheduled",
                    &format!("Successfully assigned {} to {node}", pod.key.path()),
                );
            }
            Err(error) => {
                tracing::debug!(pod = %pod.key, node, %error, "the committer refused a binding");
                if let Some(seat) = &mut self.active {
                    seat.tell(&[Delta::Released(usage)]);
                }
                match error.reason {
                    sampan_api::Reason::NotFound => self.queue.remove(&pod.key),
                    _ => self.queue.back_off(&pod.key, Instant::now()),
                }
            }
        }
    }

    /// Nothing was committed: the pods wait again, and the policy starts anew from what is.
    fn put_all_back(&mut self, bindings: &[(&PodView, u32, String)], error: &ApiError) {
        tracing::warn!(%error, pods = bindings.len(), "bindings could not be committed");
        for (pod, _, _) in bindings {
            self.queue.back_off(&pod.key, Instant::now());
        }
        if let Some(Seat { member, .. }) = self.active.take() {
            self.active = self.seat(member);
        }
    }

    /// The plan that tells why a pod waits; none where it was told already.
    fn unschedulable(&mut self, pod: &PodView, refusal: &Refusal, nodes: usize) -> Option<Plan> {
        let message = fallback::explain(refusal, nodes);
        if !self.narrator.warning_once(&pod.key, "FailedScheduling", &message) {
            return None;
        }
        let status = condition(&self.replica.snapshot().get(&pod.key)?.field_value("status"), &message);
        Some(Plan::from(Write::new(
            pod.key.clone(),
            Operation::MergeStatus(json!({ "status": status })),
        )))
    }
}

/// The status with its condition `PodScheduled` saying no.
fn condition(status: &serde_json::Value, message: &str) -> serde_json::Value {
    let others = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions: Vec<_> = others.into_iter().filter(|c| c["type"] != "PodScheduled").collect();
    conditions.push(json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}));
    json!({ "phase": status["phase"].as_str().unwrap_or("Pending"), "conditions": conditions })
}
