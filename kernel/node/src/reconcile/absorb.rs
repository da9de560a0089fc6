//! What a report changes.
use super::{
    Action, Actual, Desired, Ended, Exit, Image, Index, Millis, Pull, Report, Role, Sandbox, State, Step, Waiting,
    probe, retry_delay,
};

/// Takes what a driver saw into `actual`. The answer holds what cannot wait for [`super::reconcile`]: events, and the stop
/// of a container that a probe condemned.
pub fn absorb(desired: &Desired, actual: &mut Actual, report: Report, now: Millis) -> Vec<Action> {
    let mut step = Step::default();
    match report {
        Report::Pulling { index } => {
            let image = &desired.containers[index].image;
            step.event(Some(index), false, "Pulling", format!("Pulling image \"{image}\""));
        }
        Report::ImageReady { index, image, pulled } => image_ready(desired, actual, index, image, pulled, &mut step),
        Report::ImageFailed { index, reason, message } => {
            image_failed(desired, actual, (index, reason, message), now, &mut step);
        }
        Report::SandboxReady { ips } => sandbox_ready(actual, ips),
        Report::SandboxFailed { message } => sandbox_failed(actual, &message, now, &mut step),
        Report::SandboxLost => sandbox_lost(desired, actual, now, &mut step),
        Report::SandboxRemoved => {
            actual.sandbox = Sandbox::Removed;
            end_all(actual, now, "the pod was taken down");
        }
        Report::Started {
            index,
            attempt,
            container_id,
            at,
        } => {
            started(
                desired,
                actual,
                (index, attempt),
                container_id,
                at.min(now),
                now,
                &mut step,
            );
        }
        Report::NotCreated {
            index,
            attempt,
            reason,
            message,
        } => {
            not_created(actual, (index, attempt), reason, message, now, &mut step);
        }
        Report::NotStarted {
            index,
            attempt,
            message,
            at,
        } => {
            not_started(desired, actual, (index, attempt), message, at.min(now), &mut step);
        }
        Report::Exited { index, attempt, exit } => exited(actual, index, attempt, exit, now),
        Report::Probed {
            index,
            kind,
            attempt,
            result,
        } => {
            if actual.containers[index].attempt == attempt && actual.containers[index].state.is_running() {
                probe::answered(desired, actual, (index, kind), &result, now, &mut step);
            }
        }
        Report::Note {
            container,
            warning,
            reason,
            message,
        } => step.event(container, warning, reason, message),
    }
    step.actions
}

fn image_ready(
    desired: &Desired,
    actual: &mut Actual,
    index: Index,
    image: Image,
    pulled: Option<(u64, u64)>,
    step: &mut Step,
) {
    let name = &desired.containers[index].image;
    let message = match pulled {
        Some((millis, bytes)) => {
            let seconds = millis as f64 / 1000.0;
            format!("Successfully pulled image \"{name}\" in {seconds:.3}s. Image size: {bytes} bytes.")
        }
        None => format!("Container image \"{name}\" already present on machine"),
    };
    step.event(Some(index), false, "Pulled", message);
    let container = &mut actual.containers[index];
    container.pull = Pull::Ready;
    container.pull_backoff = Default::default();
    container.image = image;
    if let State::Waiting(waiting) = &mut container.state
        && IMAGE_REASONS.contains(&waiting.reason.as_str())
    {
        *waiting = Waiting::default();
    }
}

/// Reasons to wait that an image which came settles.
const IMAGE_REASONS: [&str; 4] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
];

fn image_failed(
    desired: &Desired,
    actual: &mut Actual,
    (index, reason, message): (Index, &'static str, String),
    now: Millis,
    step: &mut Step,
) {
    let name = &desired.containers[index].image;
    let container = &mut actual.containers[index];
    let retry_at = container.pull_backoff.failed(now);
    container.pull = Pull::Failed { at: now, retry_at };
    let event = match reason {
        "ErrImagePull" => format!("Failed to pull image \"{name}\": {message}"),
        "ErrImageNeverPull" => format!("Container image \"{name}\" is not present with pull policy of Never"),
        _ => format!("Failed to apply default image tag \"{name}\": {message}"),
    };
    if let State::Ended(ended) = &container.state {
        container.last = Some(ended.clone());
    }
    container.state = State::Waiting(Waiting {
        reason: reason.to_owned(),
        message,
        not_before: 0,
    });
    step.event(
        Some(index),
        true,
        if reason == "InvalidImageName" {
            "InspectFailed"
        } else {
            "Failed"
        },
        event,
    );
}

fn sandbox_ready(actual: &mut Actual, ips: Vec<String>) {
    actual.sandbox = Sandbox::Ready;
    actual.ips = ips;
    actual.trouble = None;
    actual.sandbox_tries = 0;
}

fn sandbox_failed(actual: &mut Actual, message: &str, now: Millis, step: &mut Step) {
    let not_before = now + retry_delay(actual.sandbox_tries);
    actual.sandbox_tries += 1;
    actual.sandbox = Sandbox::Absent { not_before };
    let message = format!("Failed to create pod sandbox: {message}");
    step.event(None, true, "FailedCreatePodSandBox", message.clone());
    actual.trouble = Some(message);
}

fn sandbox_lost(desired: &Desired, actual: &mut Actual, now: Millis, step: &mut Step) {
    end_all(actual, now, "the pod's shim is gone, and what ran in it with it");
    actual.sandbox = Sandbox::Lost;
    if actual.stop.is_some() {
        return;
    }
    step.event(
        None,
        false,
        "SandboxChanged",
        "Pod sandbox changed, it will be killed and re-created.",
    );
    if desired.containers.iter().any(|spec| spec.role != Role::Main) {
        again_from_the_start(desired, actual);
    }
}

/// In a new sandbox the init containers run again.
pub(super) fn again_from_the_start(desired: &Desired, actual: &mut Actual) {
    actual.initialized = false;
    for (spec, container) in desired.containers.iter().zip(&mut actual.containers) {
        if spec.role == Role::Init
            && let State::Ended(ended) = &container.state
        {
            container.last = Some(ended.clone());
            container.state = State::default();
        }
    }
}

/// Whatever was alive is not any more, and nobody saw how it ended.
pub(super) fn end_all(actual: &mut Actual, now: Millis, message: &str) {
    for container in &mut actual.containers {
        match container.state {
            State::Running { since } => {
                let ended = Ended {
                    code: 137,
                    reason: "ContainerStatusUnknown".to_owned(),
                    message: message.to_owned(),
                    started_at: since,
                    finished_at: now,
                    container_id: container.container_id.clone(),
                    ..Ended::default()
                };
                container.end(ended);
            }
            State::Starting(_) => container.state = State::default(),
            _ => {}
        }
    }
}

fn started(
    desired: &Desired,
    actual: &mut Actual,
    (index, attempt): (Index, u32),
    container_id: String,
    at: Millis,
    now: Millis,
    step: &mut Step,
) {
    let spec = &desired.containers[index];
    let container = &mut actual.containers[index];
    if container.attempt != attempt || !matches!(container.state, State::Starting(_)) {
        return;
    }
    container.container_id = container_id;
    container.ran = true;
    container.create_tries = 0;
    container.state = State::Running { since: at };
    probe::begin(spec, container, now);
    step.event(
        Some(index),
        false,
        "Created",
        format!("Created container {}", spec.name),
    );
    step.event(
        Some(index),
        false,
        "Started",
        format!("Started container {}", spec.name),
    );
}

fn not_created(
    actual: &mut Actual,
    (index, attempt): (Index, u32),
    reason: &'static str,
    message: String,
    now: Millis,
    step: &mut Step,
) {
    let container = &mut actual.containers[index];
    if container.attempt != attempt || !matches!(container.state, State::Starting(_)) {
        return;
    }
    let not_before = now + retry_delay(container.create_tries);
    container.create_tries += 1;
    step.event(Some(index), true, "Failed", format!("Error: {message}"));
    container.state = State::Waiting(Waiting {
        reason: reason.to_owned(),
        message,
        not_before,
    });
}

fn not_started(
    desired: &Desired,
    actual: &mut Actual,
    (index, attempt): (Index, u32),
    message: String,
    at: Millis,
    step: &mut Step,
) {
    let container = &mut actual.containers[index];
    if container.attempt != attempt || !container.state.is_alive() {
        return;
    }
    let name = &desired.containers[index].name;
    step.event(Some(index), false, "Created", format!("Created container {name}"));
    step.event(Some(index), true, "Failed", format!("Error: {message}"));
    container.ran = true;
    container.create_tries = 0;
    container.end(Ended {
        code: 128,
        reason: "StartError".to_owned(),
        message,
        finished_at: at,
        ..Ended::default()
    });
}

/// Nothing ends later than now, whatever another clock says: else its restart would be waited for.
pub(super) fn exited(actual: &mut Actual, index: Index, attempt: u32, exit: Exit, now: Millis) {
    let container = &mut actual.containers[index];
    if container.attempt != attempt || !container.state.is_alive() {
        return;
    }
    let reason = match (exit.oom, exit.code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    container.ran = true;
    container.end(Ended {
        code: exit.code,
        signal: exit.signal,
        reason: reason.to_owned(),
        message: exit.message,
        started_at: exit.started_at,
        finished_at: exit.finished_at.min(now),
        container_id: container.container_id.clone(),
    });
}
