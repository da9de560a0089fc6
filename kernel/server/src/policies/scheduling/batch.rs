//! One batch: from pods that wait to bindings that were committed or refused.
use super::{
    Instance, Member, Role, Scheduling, fallback,
    mirror::{Mirror, wire_resources},
    pods::PodView,
};
use sampan_api::{ApiError, Object, Operation, Plan, Reason, Write, plan::Binding};
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
    pub(super) fn schedule(&mut self, waiting: Vec<PodView>, term: u64) {
        let pods: Vec<Pod> = waiting
            .iter()
            .enumerate()
            .map(|(id, pod)| self.mirror.wire_pod(id as u32, pod))
            .collect();
        self.tell(&[]);
        let (assignments, policy) = self.place(&pods);
        self.compare_shadow(&pods, &assignments);

        let (mut plans, mut reports, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
        let now = Instant::now();
        let nodes = self.mirror.nodes().count();
        let state = self.replica.snapshot();
        for assignment in &assignments {
            let Some(pod) = waiting.get(assignment.pod as usize) else {
                continue;
            };
            match &assignment.outcome {
                Outcome::Unschedulable(refusal) => {
                    let told = state.get(&pod.key);
                    reports.extend(told.and_then(|told| self.unschedulable(pod, &told, refusal, nodes)));
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
        match self.replica.commit_blocking_in(term, plans) {
            Ok(results) => {
                for ((pod, id, node), result) in bindings.into_iter().zip(results) {
                    self.settle(pod, id, &node, result.map(drop));
                }
            }
            Err(error) => self.put_all_back(&bindings, &error),
        }
    }

    /// Asks the active policy, who comes after it while it fails, and the built-in one in the end.
    fn place(&mut self, pods: &[Pod]) -> (Vec<Assignment>, String) {
        let mirror = &self.mirror;
        let make = |member: &Member| Instance::make(member, mirror.all());
        let placed = self.seats.ask(Role::Active, make, |seat| {
            let placed = seat.instance.place(pods);
            seat.member.record(seat.instance.figures());
            Ok((check_nodes(mirror, placed?)?, seat.member.digest.clone()))
        });
        // What the built-in policy assigns is counted at once in `settle`, as for a plugin that was told nothing.
        placed.unwrap_or_else(|| (fallback::place(mirror, pods), BUILT_IN.to_owned()))
    }

    /// Lets the shadow decide too, and notes where it would have decided otherwise.
    fn compare_shadow(&mut self, pods: &[Pod], decided: &[Assignment]) {
        let mirror = &self.mirror;
        let make = |member: &Member| Instance::make(member, mirror.all());
        self.seats.ask(Role::Shadow, make, |seat| {
            let assignments = seat.instance.place(pods)?;
            seat.member.record(seat.instance.figures());
            let choice = |assignment: &Assignment| match assignment.outcome {
                Outcome::Bind(node) => Some(node),
                Outcome::Unschedulable(_) => None,
            };
            let real: HashMap<u32, Option<u32>> = decided.iter().map(|a| (a.pod, choice(a))).collect();
            let differs = |a: &&Assignment| real.get(&a.pod) != Some(&choice(a));
            let differed = assignments.iter().filter(differs).count();
            seat.member.compared(assignments.len() as u64, differed as u64);
            seat.instance.forget(&assignments, pods);
            Ok(())
        });
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
                if let Some(seat) = &mut self.seats.shadow {
                    seat.instance.tell(&deltas);
                }
                self.narrator.normal(
                    &pod.key,
                    "Scheduled",
                    &format!("Successfully assigned {} to {node}", pod.key.path()),
                );
            }
            Err(error) => {
                tracing::debug!(pod = %pod.key, node, %error, "the committer refused a binding");
                if let Some(seat) = &mut self.seats.active {
                    seat.instance.tell(&[Delta::Released(usage)]);
                }
                match error.reason {
                    Reason::NotFound => self.queue.remove(&pod.key),
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
        self.seats.active = None;
    }

    /// The plan that tells why a pod waits; none where it was told already.
    fn unschedulable(&self, pod: &PodView, now: &Object, refusal: &Refusal, nodes: usize) -> Option<Plan> {
        let message = fallback::explain(refusal, nodes);
        if !self.narrator.warning_once(&pod.key, "FailedScheduling", &message) {
            return None;
        }
        let status = condition(&now.field_value("status"), &message);
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

/// A policy that names a node nobody has is no policy.
fn check_nodes(mirror: &Mirror, assignments: Vec<Assignment>) -> Result<Vec<Assignment>, CallError> {
    let unknown = assignments.iter().find_map(|assignment| match assignment.outcome {
        Outcome::Bind(id) if mirror.node_name(id).is_none() => Some(id),
        _ => None,
    });
    match unknown {
        Some(id) => Err(CallError::Rubbish(format!(
            "it chose node number {id}, which does not exist"
        ))),
        None => Ok(assignments),
    }
}
