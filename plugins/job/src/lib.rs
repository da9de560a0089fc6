//! The controller `job`: pods run to completion, so many at a time, so often.
mod pod;

use pod::INDEX;
use sampan_sdk::{
    Value,
    controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
    time,
};
use std::collections::BTreeSet;

/// Failed pods until the job has failed, where it says nothing.
const BACKOFF_LIMIT: i64 = 6;

/// The wait after a pod has failed, doubled with each, up to [`LONGEST_BACKOFF_MS`].
const BACKOFF_MS: u64 = 10_000;
const LONGEST_BACKOFF_MS: u64 = 360_000;

/// All that is read of a pod.
const POD: &[&str] = &[
    "metadata",
    "status.phase",
    "status.conditions",
    "status.containerStatuses",
];

/// Pods made in one plan at the most.
const AT_ONCE: usize = 500;

#[derive(Default)]
pub struct Job;

impl Controller for Job {
    fn describe() -> Description {
        description("job", env!("CARGO_PKG_VERSION"), "Runs pods to completion.")
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("jobs.batch"), Watch::Owner("pods")]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let Some(job) = snapshot.get(key) else { return Ok(plan) };
        if job.is_deleting() {
            return Ok(plan);
        }
        if let Some(finished) = ["Complete", "Failed"].iter().find_map(|kind| finished_at(&job, kind)) {
            expire(&mut plan, &job, finished, now_ms);
            return Ok(plan);
        }
        let mut pods = snapshot.list(&Query::owned("pods", &job).only(POD));
        pods.retain(|pod| pod.controller() == Some(job.uid()));
        Run::new(&job, &pods, now_ms).decide(&mut plan);
        Ok(plan)
    }
}

fn finished_at(job: &Object, kind: &str) -> Option<u64> {
    let condition = job.condition(kind).filter(|condition| condition["status"] == "True")?;
    condition["lastTransitionTime"].as_str().and_then(time::parse)
}

/// Deletes a finished job when its time is up.
fn expire(plan: &mut Plan, job: &Object, finished_ms: u64, now_ms: u64) {
    let Some(ttl) = job.spec()["ttlSecondsAfterFinished"].as_u64() else {
        return;
    };
    let until = finished_ms + ttl * 1000;
    if until <= now_ms {
        plan.delete(job)
    } else {
        plan.wake_up(&job.key, until - now_ms)
    }
}

/// A job that is not finished, with its pods.
struct Run<'a> {
    job: &'a Object,
    active: Vec<&'a Object>,
    succeeded: Vec<&'a Object>,
    failed: Vec<&'a Object>,
    now_ms: u64,
}

impl<'a> Run<'a> {
    fn new(job: &'a Object, pods: &'a [Object], now_ms: u64) -> Self {
        let of = |phase: &str| pods.iter().filter(|pod| pod.phase() == phase).collect::<Vec<_>>();
        let ended = |pod: &&Object| matches!(pod.phase(), "Succeeded" | "Failed") || pod.is_deleting();
        let active = pods.iter().filter(|pod| !ended(pod)).collect();
        Run {
            job,
            active,
            succeeded: of("Succeeded"),
            failed: of("Failed"),
            now_ms,
        }
    }

    fn indexed(&self) -> bool {
        self.job.spec()["completionMode"] == "Indexed"
    }

    /// How many must succeed; none: one success ends it.
    fn completions(&self) -> Option<i64> {
        let given = self.job.spec()["completions"].as_i64();
        // Neither completions nor parallelism given means one pod.
        given.or_else(|| self.job.spec()["parallelism"].is_null().then_some(1))
    }

    /// Completion indexes among some pods.
    fn indexes(pods: &[&Object]) -> BTreeSet<i64> {
        pods.iter()
            .filter_map(|pod| pod.annotation(INDEX)?.parse().ok())
            .collect()
    }

    fn successes(&self) -> i64 {
        let count = if self.indexed() {
            Self::indexes(&self.succeeded).len()
        } else {
            self.succeeded.len()
        };
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn decide(&self, plan: &mut Plan) {
        let complete = match self.completions() {
            Some(completions) => self.successes() >= completions,
            None => self.successes() > 0 && self.active.is_empty(),
        };
        let started = self.job.status()["startTime"].as_str().and_then(time::parse);
        if complete {
            return self.finish(
                plan,
                "Complete",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
        }
        if self.is_hopeless() {
            return self.finish(
                plan,
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            );
        }
        let deadline = self.job.spec()["activeDeadlineSeconds"].as_u64();
        if let (Some(started), Some(seconds)) = (started, deadline) {
            let until = started + seconds * 1000;
            if until <= self.now_ms {
                let message = "Job was active longer than specified deadline";
                return self.finish(plan, "Failed", "DeadlineExceeded", message);
            }
            plan.wake_up(&self.job.key, until - self.now_ms);
        }
        if self.job.spec()["suspend"] == true {
            self.active.iter().for_each(|pod| plan.delete(pod));
            return self.report(plan, 0, json!({"startTime": null, "conditions": [self.condition("Suspended", "JobSuspended", "Job suspended")]}));
        }
        let made = self.make(plan);
        let start = started.map_or_else(|| json!(time::format(self.now_ms)), |ms| json!(time::format(ms)));
        self.report(plan, made, json!({"startTime": start, "conditions": null}));
    }

    /// Whether too many pods have failed, or those that restart in place were restarted too often.
    fn is_hopeless(&self) -> bool {
        let limit = self.job.spec_number("/backoffLimit", BACKOFF_LIMIT);
        let restarts = |pod: &&Object| {
            let statuses = pod.status()["containerStatuses"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            statuses
                .iter()
                .filter_map(|status| status["restartCount"].as_i64())
                .sum::<i64>()
        };
        let restarted: i64 = self.active.iter().map(restarts).sum();
        let in_place = self.job.spec()["template"]["spec"]["restartPolicy"] == "OnFailure";
        // Kubernetes counts the limit's own restart as one too many, but for a limit of 0.
        let worn_out = in_place && restarted > 0 && restarted >= limit;
        worn_out || i64::try_from(self.failed.len()).unwrap_or(i64::MAX) > limit
    }

    /// Makes the pods that are missing, or waits out the back-off; how many were made.
    fn make(&self, plan: &mut Plan) -> usize {
        let parallelism = self.job.spec_number("/parallelism", 1);
        let active = i64::try_from(self.active.len()).unwrap_or(i64::MAX);
        let left = match self.completions() {
            Some(completions) => completions - self.successes(),
            // A work queue: once one pod has found it empty, those that run end, and no other begins.
            None if self.successes() > 0 => active,
            None => parallelism,
        };
        let wanted = usize::try_from(parallelism.min(left)).unwrap_or(0);
        if self.active.len() > wanted {
            self.active.iter().skip(wanted).for_each(|pod| plan.delete(pod));
            return 0;
        }
        let missing = (wanted - self.active.len()).min(AT_ONCE);
        if missing == 0 || self.waits(plan) {
            return 0;
        }
        let taken: BTreeSet<i64> = Self::indexes(&self.active)
            .union(&Self::indexes(&self.succeeded))
            .copied()
            .collect();
        let mut free = (0..self.completions().unwrap_or(0)).filter(|index| !taken.contains(index));
        for _ in 0..missing {
            let pod = pod::of(self.job, if self.indexed() { free.next() } else { None });
            plan.create("pods", &self.job.key.namespace, pod);
        }
        plan.normal(self.job, "SuccessfulCreate", format!("Created {missing} pod(s)"));
        missing
    }

    /// Whether a pod failed so recently that the next has to wait.
    fn waits(&self, plan: &mut Plan) -> bool {
        let ended = |pod: &&&Object| {
            let statuses = pod.status()["containerStatuses"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let times = statuses
                .iter()
                .filter_map(|s| s["state"]["terminated"]["finishedAt"].as_str());
            times.filter_map(time::parse).max()
        };
        let Some(last) = self.failed.iter().filter_map(|pod| ended(&pod)).max() else {
            return false;
        };
        let doublings = u32::try_from(self.failed.len().saturating_sub(1)).unwrap_or(20).min(20);
        let until = last + (BACKOFF_MS << doublings).min(LONGEST_BACKOFF_MS);
        if until > self.now_ms {
            plan.wake_up(&self.job.key, until - self.now_ms);
        }
        until > self.now_ms
    }

    fn condition(&self, kind: &str, reason: &str, message: &str) -> Value {
        let known = self
            .job
            .condition(kind)
            .map(|condition| condition["lastTransitionTime"].clone());
        let since = known.unwrap_or_else(|| json!(time::format(self.now_ms)));
        json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since})
    }

    fn finish(&self, plan: &mut Plan, kind: &str, reason: &str, message: &str) {
        self.active.iter().for_each(|pod| plan.delete(pod));
        let mut more = json!({"conditions": [self.condition(kind, reason, message)]});
        if kind == "Complete" {
            more["completionTime"] = json!(time::format(self.now_ms));
            plan.normal(self.job, "Completed", "Job completed".to_owned());
        } else {
            plan.warning(self.job, reason, message.to_owned());
        }
        let status = json!({"active": null, "ready": null});
        self.report(plan, 0, merged(more, status));
        plan.wake_up(&self.job.key, 0);
    }

    fn report(&self, plan: &mut Plan, made: usize, more: Value) {
        let number = |count: usize| if count == 0 { Value::Null } else { json!(count) };
        let ready = self
            .active
            .iter()
            .filter(|pod| pod.has_condition("Ready", "True"))
            .count();
        let successes = usize::try_from(self.successes()).unwrap_or(0);
        let mut status = json!({
            "active": number(self.active.len() + made),
            "ready": number(ready),
            "succeeded": number(successes),
            "failed": number(self.failed.len()),
        });
        if self.indexed() {
            status["completedIndexes"] = json!(pod::ranges(&Self::indexes(&self.succeeded)));
        }
        plan.patch_status(self.job, merged(status, more));
    }
}

/// The fields of both; of two the second.
fn merged(mut first: Value, second: Value) -> Value {
    if let (Some(target), Value::Object(fields)) = (first.as_object_mut(), second) {
        target.extend(fields);
    }
    first
}

sampan_sdk::export_controller!(Job);

#[cfg(test)]
mod tests {
    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::Job>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }
}
