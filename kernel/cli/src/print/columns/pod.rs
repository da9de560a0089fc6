//! A pod's cells. What stands below STATUS follows kubectl's rules, which the users know by heart.
use super::Moment;
use crate::doc::{at, is_true, list, number, text};
use serde_json::Value;

/// What the containers' states come to.
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    /// When the last restart was, in RFC 3339.
    last_restart: String,
}

/// `1/2`: containers that are ready, and all.
pub fn ready(pod: &Value) -> String {
    let sidecars = list(pod, "/spec/initContainers")
        .iter()
        .filter(|container| is_sidecar(container))
        .count();
    let statuses = list(pod, "/spec/containers").len() + sidecars;
    format!("{}/{statuses}", summary(pod).ready)
}

/// The one word for how a pod is: `Running`, `CrashLoopBackOff`, `Init:0/1`, `Terminating`, …
pub fn status(pod: &Value) -> String {
    let going = !at(pod, "/metadata/deletionTimestamp").is_null();
    let phase = text(pod, "/status/phase");
    if going && text(pod, "/status/reason") == "NodeLost" {
        return "Unknown".to_owned();
    }
    if going && !matches!(phase, "Succeeded" | "Failed") {
        return "Terminating".to_owned();
    }
    summary(pod).reason
}

/// `3 (2m ago)`
pub fn restarts(pod: &Value, now: Moment) -> String {
    let summary = summary(pod);
    if summary.restarts == 0 || summary.last_restart.is_empty() {
        return summary.restarts.to_string();
    }
    format!("{} ({} ago)", summary.restarts, now.since(&summary.last_restart))
}

/// `<none>`, or `1/2`: readiness gates that are passed, and all.
pub fn gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let passed = gates
        .iter()
        .filter(|gate| is_true(pod, text(gate, "/conditionType")))
        .count();
    format!("{passed}/{}", gates.len())
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn summary(pod: &Value) -> Summary {
    let phase = text(pod, "/status/phase");
    let reason = match text(pod, "/status/reason") {
        "" if phase.is_empty() => "Pending",
        "" => phase,
        reason => reason,
    };
    let mut summary = Summary {
        reason: reason.to_owned(),
        ready: 0,
        restarts: 0,
        last_restart: String::new(),
    };
    let scheduled = crate::doc::condition(pod, "PodScheduled");
    if scheduled["reason"] == "SchedulingGated" {
        "SchedulingGated".clone_into(&mut summary.reason);
    }
    let initializing = init_containers(pod, &mut summary);
    if !initializing || is_true(pod, "Initialized") {
        containers(pod, &mut summary);
    }
    summary
}

/// Whether init containers are under way; then the reason is theirs.
fn init_containers(pod: &Value, summary: &mut Summary) -> bool {
    let specs = list(pod, "/spec/initContainers");
    let mut sidecar_restarts = 0;
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let name = text(status, "/name");
        let sidecar = specs
            .iter()
            .find(|spec| text(spec, "/name") == name)
            .is_some_and(is_sidecar);
        summary.restarts += number(status, "/restartCount");
        note_restart(status, summary);
        let terminated = at(status, "/state/terminated");
        if sidecar && at(status, "/started") == &Value::Bool(true) {
            sidecar_restarts += number(status, "/restartCount");
            summary.ready += usize::from(at(status, "/ready") == &Value::Bool(true));
            continue;
        }
        if !terminated.is_null() && number(terminated, "/exitCode") == 0 {
            continue;
        }
        let waiting = text(status, "/state/waiting/reason");
        summary.reason = if !terminated.is_null() {
            format!("Init:{}", ending(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", specs.len())
        };
        return true;
    }
    // Those of init containers that are done count no longer.
    summary.restarts = sidecar_restarts;
    false
}

fn containers(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        summary.restarts += number(status, "/restartCount");
        note_restart(status, summary);
        let terminated = at(status, "/state/terminated");
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if !terminated.is_null() {
            summary.reason = ending(terminated);
        } else if at(status, "/ready") == &Value::Bool(true) && !at(status, "/state/running").is_null() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        let word = if is_true(pod, "Ready") { "Running" } else { "NotReady" };
        word.clone_into(&mut summary.reason);
    }
}

fn note_restart(status: &Value, summary: &mut Summary) {
    // RFC 3339 in UTC sorts as text.
    let finished = text(status, "/lastState/terminated/finishedAt");
    if finished > summary.last_restart.as_str() {
        finished.clone_into(&mut summary.last_restart);
    }
}

/// Why a container ended.
fn ending(terminated: &Value) -> String {
    match (text(terminated, "/reason"), number(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
