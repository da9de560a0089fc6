//! What is said of groups: on their PodGroup how they stand, and on their pods that their time is over.
use super::suspects::Unit;
use crate::policies::scheduling::{POD_GROUPS, Scheduling, reading::Group};
use sampan_api::{Key, Operation, Plan, Write, time::Timestamp};
use serde_json::{Value, json};
use std::time::Instant;

/// Where a group is on its way to its nodes; the phases are those of Kubernetes' coscheduling plugin.
enum Standing {
    /// It is tried.
    Scheduling,
    /// Its time is over. There it is then "accepted by the system, but cannot be given enough resources".
    Pending(String),
    Scheduled,
}

impl Standing {
    fn phase(&self) -> &'static str {
        match self {
            Standing::Scheduling => "Scheduling",
            Standing::Pending(_) => "Pending",
            Standing::Scheduled => "Scheduled",
        }
    }

    /// The condition `Scheduled`; none while nothing is decided.
    fn condition(&self) -> Option<Value> {
        match self {
            Standing::Scheduling => None,
            Standing::Pending(message) => {
                Some(json!({"type": "Scheduled", "status": "False", "reason": "ScheduleTimeout", "message": message}))
            }
            Standing::Scheduled => Some(json!({"type": "Scheduled", "status": "True", "reason": "Scheduled"})),
        }
    }
}

impl Scheduling {
    /// Groups that found no place in their time are told so, and left alone for a while. They hold nothing that would have to
    /// be given back.
    pub(in crate::policies::scheduling) fn give_up_groups(&mut self, term: u64) {
        let now = Instant::now();
        while let Some((group, members)) = self.queue.give_up(now) {
            let (bound, least) = (self.mirror.pods.bound_of(&group), self.mirror.groups.least(&group));
            let Some(patience) = self.mirror.groups.patience(&group).filter(|_| bound < least) else {
                continue;
            };
            let message = format!(
                "pod group {} timed out: {least} of it are placed together or none, and there was no place for them within {} s \
                 (scheduleTimeoutSeconds). It holds nothing, and is tried again soon.",
                group.name,
                patience.as_secs()
            );
            let mut plans: Vec<Plan> = members.iter().filter_map(|id| self.timed_out(*id, &message)).collect();
            self.narrator.warning(&key(&group), "PodGroupTimedOut", &message);
            plans.extend(self.stands(&group, &Standing::Pending(message)).map(Plan::from));
            if let Err(error) = self.replica.commit_blocking_in(term, plans) {
                tracing::debug!(group = &*group.name, %error, "it could not be said that a group's time is over");
            }
        }
    }

    /// The condition's reason stays `Unschedulable`: that is what whoever adds nodes looks for.
    fn timed_out(&self, id: u32, message: &str) -> Option<Plan> {
        let pod = self.mirror.pods.get(id)?;
        let said = self.told_before(&pod.key);
        let message = match said.filter(|said| !said.starts_with("pod group ")) {
            Some(said) => format!("{message} Before: {said}"),
            None => message.to_owned(),
        };
        self.narrator.warning_once(&pod.key, "PodGroupTimedOut", &message);
        let status = self.waiting_status(id, &message)?;
        let write = Operation::MergeStatus(json!({ "status": status }));
        Some(Plan::from(Write::new(pod.key.clone(), write)))
    }

    fn told_before(&self, pod: &Key) -> Option<String> {
        let status = self.replica.snapshot().get(pod)?.field_value("status");
        let mut conditions = status["conditions"].as_array()?.iter();
        let scheduled = conditions.find(|condition| condition["type"] == "PodScheduled")?;
        scheduled["message"].as_str().map(str::to_owned)
    }

    /// What is to be said of a unit's group after a try, if it has an object that does not say so.
    pub(super) fn group_stands(&self, unit: &Unit, placed: bool) -> Option<Write> {
        let group = self.mirror.pods.get(*unit.pods.first()?)?.shape.group.as_ref()?;
        let enough = placed || self.mirror.pods.bound_of(group) >= self.mirror.groups.least(group);
        let standing = match enough {
            true => Standing::Scheduled,
            false => Standing::Scheduling,
        };
        self.stands(group, &standing)
    }

    fn stands(&self, group: &Group, standing: &Standing) -> Option<Write> {
        let key = key(group);
        let object = self.replica.snapshot().get(&key)?;
        let status = object.field_value("status");
        if status["phase"] == standing.phase() {
            return None;
        }
        let now = Timestamp::from_millis(self.replica.now_millis());
        let mut next = json!({ "phase": standing.phase() });
        if matches!(standing, Standing::Scheduling) {
            next["scheduleStartTime"] = json!(now);
        }
        if let Some(mut condition) = standing.condition() {
            condition["lastTransitionTime"] = json!(now);
            let others = status["conditions"].as_array().cloned().unwrap_or_default();
            let mut conditions: Vec<Value> = others.into_iter().filter(|c| c["type"] != "Scheduled").collect();
            conditions.push(condition);
            next["conditions"] = json!(conditions);
        }
        Some(Write::new(key, Operation::MergeStatus(json!({ "status": next }))))
    }
}

fn key(group: &Group) -> Key {
    Key::new(POD_GROUPS, &group.namespace, &group.name)
}
