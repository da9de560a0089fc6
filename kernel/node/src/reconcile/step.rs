//! The next actions of a pod that is wanted: images, sandbox, init containers in order, then all others.
use super::actual::Terminal;
use super::{
    Action, Actual, Container, ContainerSpec, Deletion, Desired, Index, Millis, Pull, Restart, Role, Sandbox, State,
    Step, StopCause, Waiting, probe, stop,
};

/// What to do now for a pod. What is begun is noted in `actual`, so that asking again does not begin it again.
pub fn reconcile(desired: &Desired, actual: &mut Actual, now: Millis) -> Step {
    let mut step = Step::default();
    if actual.forgotten {
        return step;
    }
    stop::notice(desired, actual, now, &mut step);
    finish(desired, actual, now);
    if actual.stop.is_none() && actual.terminal.is_none() {
        create_sandbox(actual, now, &mut step);
        images(desired, actual, now, &mut step);
        if actual.sandbox == Sandbox::Ready {
            start(desired, actual, now, &mut step);
        }
        probe::schedule(desired, actual, now, &mut step);
    }
    stop::pursue(desired, actual, now, &mut step);
    step
}

fn create_sandbox(actual: &mut Actual, now: Millis, step: &mut Step) {
    match actual.sandbox {
        Sandbox::Absent { not_before } if now < not_before => step.wake(not_before),
        Sandbox::Absent { .. } | Sandbox::Lost => {
            actual.sandbox = Sandbox::Creating;
            step.act(Action::CreateSandbox);
        }
        _ => {}
    }
}

/// All images are fetched at once, whatever their containers' turn: the pod starts the sooner.
fn images(desired: &Desired, actual: &mut Actual, now: Millis, step: &mut Step) {
    for (index, container) in actual.containers.iter_mut().enumerate() {
        let spec = &desired.containers[index];
        let due = match (&container.pull, &container.state) {
            (_, State::Running { .. } | State::Starting(_)) => false,
            (Pull::Unknown, State::Waiting(waiting)) => now >= waiting.not_before,
            // A run that ended and will not be repeated needs no image.
            (Pull::Unknown, State::Ended(ended)) => restarts(desired, spec, ended.code) == Next::Run,
            (Pull::Failed { at, retry_at }, _) => {
                let (at, retry_at) = (*at, *retry_at);
                pull_back_off(index, spec, container, (at, now), step);
                step.wake(retry_at);
                now >= retry_at
            }
            (Pull::UnderWay | Pull::Ready, _) => false,
        };
        if due {
            container.pull = Pull::UnderWay;
            step.act(Action::EnsureImage { index });
        }
    }
}

/// How long a failed pull is shown as such, before it is shown as being backed off from.
const SHOWN: Millis = 2_000;

fn pull_back_off(
    index: Index,
    spec: &ContainerSpec,
    container: &mut Container,
    (at, now): (Millis, Millis),
    step: &mut Step,
) {
    let State::Waiting(waiting) = &mut container.state else {
        return;
    };
    if waiting.reason != "ErrImagePull" {
        return;
    }
    if now < at + SHOWN {
        return step.wake(at + SHOWN);
    }
    waiting.message = format!(
        "Back-off pulling image \"{}\": ErrImagePull: {}",
        spec.image, waiting.message
    );
    waiting.reason = "ImagePullBackOff".to_owned();
    step.event(
        Some(index),
        false,
        "BackOff",
        format!("Back-off pulling image \"{}\"", spec.image),
    );
}

/// What becomes of a container whose run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Run,
    /// It is done, and well.
    Done,
    /// It is done, and not well.
    Failed,
}

fn restarts(desired: &Desired, spec: &ContainerSpec, code: i32) -> Next {
    let always = match spec.role {
        Role::Sidecar => true,
        Role::Init => false,
        Role::Main => desired.restart == Restart::Always,
    };
    match (always, code, desired.restart) {
        (true, ..) => Next::Run,
        (false, 0, _) => Next::Done,
        (false, _, Restart::Never) => Next::Failed,
        (false, ..) => Next::Run,
    }
}

fn start(desired: &Desired, actual: &mut Actual, now: Millis, step: &mut Step) {
    let mut initialized = true;
    for (index, spec) in desired.containers.iter().enumerate() {
        match spec.role {
            Role::Main if !initialized => break,
            // Not yet its turn.
            Role::Init | Role::Sidecar if !initialized && !actual.initialized => break,
            Role::Init if actual.initialized => continue,
            _ => {}
        }
        start_one(desired, actual, index, now, step);
        let container = &actual.containers[index];
        initialized &= match spec.role {
            Role::Init => container.state.ended().is_some_and(|ended| ended.code == 0),
            Role::Sidecar => actual.initialized || container.started,
            Role::Main => true,
        };
    }
    actual.initialized |= initialized;
}

/// Starts the container if it is to run, does not, and nothing holds it up.
fn start_one(desired: &Desired, actual: &mut Actual, index: Index, now: Millis, step: &mut Step) {
    let spec = &desired.containers[index];
    let container = &mut actual.containers[index];
    match &container.state {
        State::Starting(_) | State::Running { .. } => return,
        State::Waiting(waiting) if now < waiting.not_before => return step.wake(waiting.not_before),
        State::Waiting(_) => {}
        State::Ended(ended) => {
            if restarts(desired, spec, ended.code) != Next::Run {
                return;
            }
            let due = container.backoff.until(ended.finished_at);
            if now < due {
                let message = format!(
                    "back-off {} restarting failed container={} pod={}",
                    span(container.backoff.delay()),
                    spec.name,
                    desired.full_name()
                );
                let event = format!(
                    "Back-off restarting failed container {} in pod {}",
                    spec.name,
                    desired.full_name()
                );
                container.last = Some(ended.clone());
                let reason = "CrashLoopBackOff".to_owned();
                container.state = State::Waiting(Waiting {
                    reason,
                    message,
                    not_before: due,
                });
                step.event(Some(index), true, "BackOff", event);
                return step.wake(due);
            }
            container.last = Some(ended.clone());
            container.state = State::default();
        }
    }
    if container.pull != Pull::Ready {
        return;
    }
    // After a run comes the next; what could not be created tries the same one again.
    if container.ran {
        container
            .backoff
            .tried(container.last.as_ref().map_or(now, |last| last.finished_at), now);
        container.attempt += 1;
        container.ran = false;
    }
    let waited = match std::mem::take(&mut container.state) {
        State::Waiting(waiting) => waiting,
        _ => Waiting::default(),
    };
    container.state = State::Starting(waited);
    // The next run asks the registry again.
    container.pull = if spec.pull_always { Pull::Unknown } else { Pull::Ready };
    step.act(Action::Start {
        index,
        attempt: container.attempt,
    });
}

/// Notes that all that had to run has ended; what is left is stopped by [`stop::pursue`].
fn finish(desired: &Desired, actual: &mut Actual, now: Millis) {
    let mut all_done = true;
    let mut failed = false;
    for (spec, container) in desired.containers.iter().zip(&actual.containers) {
        let next = container.state.ended().map(|ended| restarts(desired, spec, ended.code));
        match (spec.role, next) {
            (Role::Init, Some(Next::Failed)) => {
                all_done = true;
                failed = true;
                break;
            }
            (Role::Main, Some(Next::Done)) => {}
            (Role::Main, Some(Next::Failed)) => failed = true,
            (Role::Main, _) => all_done = false,
            _ => {}
        }
    }
    if all_done && actual.stop.is_none() && actual.terminal.is_none() {
        actual.terminal = Some(Terminal {
            succeeded: !failed,
            reason: None,
            message: None,
        });
        actual.stop = Some(super::actual::Stop {
            cause: StopCause::Finished,
            deadline: now + desired.grace,
        });
    }
}

/// `10s`, `1m20s`, `5m0s`: as Kubernetes writes a delay.
fn span(millis: Millis) -> String {
    match millis / 1000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

/// Whether the pod's object is to go.
pub(super) fn is_deleted(desired: &Desired) -> bool {
    desired.deletion != Deletion::No
}
