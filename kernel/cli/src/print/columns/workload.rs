//! Cells of what makes pods: deployments, replica sets, jobs.
use super::{Moment, lasting};
use crate::doc::{at, is_true, list, number, text};
use serde_json::Value;

/// Replicas that are wanted; 1 where nothing is said.
pub fn wanted(object: &Value) -> i64 {
    at(object, "/spec/replicas").as_i64().unwrap_or(1)
}

/// The names of the template's containers.
pub fn containers(object: &Value) -> String {
    of_containers(object, "/name")
}

/// The images of the template's containers.
pub fn images(object: &Value) -> String {
    of_containers(object, "/image")
}

fn of_containers(object: &Value, field: &str) -> String {
    let containers = list(object, "/spec/template/spec/containers").iter();
    containers
        .map(|container| text(container, field))
        .collect::<Vec<_>>()
        .join(",")
}

/// One word for how a job is.
pub fn job_status(job: &Value) -> String {
    let named = |name: &'static str| is_true(job, name).then_some(name);
    let going = || (!at(job, "/metadata/deletionTimestamp").is_null()).then_some("Terminating");
    let word = named("Complete").or_else(|| named("Failed")).or_else(going);
    let word = word
        .or_else(|| named("Suspended"))
        .or_else(|| named("FailureTarget"))
        .or_else(|| named("SuccessCriteriaMet"));
    word.unwrap_or("Running").to_owned()
}

/// `1/3`
pub fn completions(job: &Value) -> String {
    let succeeded = number(job, "/status/succeeded");
    match (at(job, "/spec/completions").as_i64(), number(job, "/spec/parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

/// How long a job took, or takes.
pub fn duration(job: &Value, now: Moment) -> String {
    let end = match text(job, "/status/completionTime") {
        "" if is_true(job, "Failed") => text(crate::doc::condition(job, "Failed"), "/lastTransitionTime"),
        end => end,
    };
    lasting(text(job, "/status/startTime"), end, now)
}
