//! Making room: the victims end gracefully, in one plan with the promise to the pod that they go for.
use crate::policies::scheduling::{
    Scheduling,
    deciding::BUILT_IN,
    fallback,
    mirror::{News, pods::PodEntry},
    refusal,
};
use sampan_api::{Object, Operation, Plan, Revision, Write, plan::Deletion};
use sampan_sandbox::scheduler::Refusal;
use serde::Deserialize;
use serde_json::json;

impl Scheduling {
    /// The plan that ends the victims and nominates the pod, or nothing of it.
    pub(super) fn preemption(&self, id: u32, node: &str, victims: &[u32], message: &str) -> Option<Plan> {
        let pod = self.mirror.pods.get(id)?;
        let mut status = self.waiting_status(id, message)?;
        status["nominatedNodeName"] = node.into();
        let nominated = Operation::MergeStatus(json!({ "status": status }));
        let mut writes = vec![Write::new(pod.key.clone(), nominated)];
        let state = self.replica.snapshot();
        for victim in victims.iter().filter_map(|id| self.mirror.pods.get(*id)) {
            // One that is gone by now makes the room, too; one that is another pod is not meant.
            let Some(now) = state.get(&victim.key).filter(|now| *now.metadata.uid == *victim.uid) else {
                continue;
            };
            writes.extend(end(victim, &now, &self.slot));
        }
        Some(Plan { writes })
    }

    /// The victims are ending.
    pub(super) fn preempted(&mut self, id: u32, node: &str, victims: &[u32], at: Revision) {
        let Some(pod) = self.mirror.pods.get(id) else { return };
        let message = format!("Preempted by pod {} on node {node}", pod.uid);
        for victim in victims.iter().filter_map(|id| self.mirror.pods.get(*id)) {
            self.narrator.normal(&victim.key, "Preempted", &message);
        }
        self.mirror.nominate(id, Some(node), at);
    }

    /// Why a pod waits, for people.
    pub(super) fn words(&self, why: &Refusal, preemption: &refusal::Preemption, policy: &str) -> String {
        match policy == BUILT_IN && fallback::is_beyond(why) {
            true => fallback::BEYOND.to_owned(),
            false => refusal::text(why, preemption, &self.mirror.symbols),
        }
    }

    /// The news that a pod which was refused so waits for.
    pub(super) fn hopes(&self, refusal: &Refusal, policy: &str) -> News {
        match policy == BUILT_IN && fallback::is_beyond(refusal) {
            true => News::POLICY,
            false => refusal::hopes(refusal),
        }
    }
}

/// What ends a victim: it says why, and has its grace. Both or nothing, of the pod as it is now.
fn end(victim: &PodEntry, now: &Object, scheduler: &str) -> Vec<Write> {
    let deletion = Deletion {
        uid: victim.uid.to_string(),
        ..Deletion::default()
    };
    let deleted = Write::new(victim.key.clone(), Operation::Delete(deletion));
    // One that is gone with the plan says nothing any more.
    if now.field::<Grace>("spec").is_ok_and(|grace| grace.seconds == Some(0)) {
        return vec![deleted];
    }
    let status = now.field_value("status");
    let others = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions: Vec<_> = others.into_iter().filter(|c| c["type"] != "DisruptionTarget").collect();
    let message = format!("{scheduler}: preempting to accommodate a higher priority pod");
    conditions.push(
        json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": message}),
    );
    let marked = Operation::MergeStatus(json!({"status": {"conditions": conditions}}));
    vec![
        Write::new(victim.key.clone(), marked).expecting(now.metadata.resource_version),
        deleted,
    ]
}

/// Of a pod's spec, how long it has to end.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Grace {
    #[serde(rename = "terminationGracePeriodSeconds")]
    seconds: Option<u32>,
}
