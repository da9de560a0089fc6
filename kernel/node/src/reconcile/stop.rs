//! Ending a pod or a container: the stop signal, the grace, the kill, and what is left to clear away.
use super::{
    Action, Actual, Deletion, Desired, Index, Millis, Role, Sandbox, Step, StopCause,
    actual::{Stop, Terminal},
    step::is_deleted,
};

/// How long after the kill a pod's processes may take to be gone before its sandbox is taken away regardless.
const PATIENCE: Millis = 5_000;

/// Sees whether the pod is to end from now on, or sooner than was known.
pub(super) fn notice(desired: &Desired, actual: &mut Actual, now: Millis, step: &mut Step) {
    let grace = match desired.deletion {
        Deletion::No => return notice_deadline(desired, actual, now, step),
        Deletion::Graceful(grace) => grace,
        Deletion::Gone => 0,
    };
    let deadline = now + grace;
    let ending = actual
        .stop
        .as_ref()
        .is_some_and(|stop| stop.cause == StopCause::Deleted);
    match &mut actual.stop {
        // Counted from when it was asked for; a later wish can only shorten it.
        Some(stop) if ending => stop.deadline = stop.deadline.min(deadline),
        stop => {
            let deadline = stop.as_ref().map_or(deadline, |earlier| earlier.deadline.min(deadline));
            *stop = Some(Stop {
                cause: StopCause::Deleted,
                deadline,
            });
        }
    }
}

fn notice_deadline(desired: &Desired, actual: &mut Actual, now: Millis, step: &mut Step) {
    let (Some(deadline), Some(start), None, None) = (
        desired.active_deadline,
        actual.start_time,
        &actual.stop,
        &actual.terminal,
    ) else {
        return;
    };
    if now < start + deadline {
        return step.wake(start + deadline);
    }
    let message = "Pod was active on the node longer than the specified deadline".to_owned();
    step.event(None, false, "DeadlineExceeded", message.clone());
    actual.stop = Some(Stop {
        cause: StopCause::DeadlineExceeded,
        deadline: now + desired.grace,
    });
    let reason = Some("DeadlineExceeded".to_owned());
    actual.terminal = Some(Terminal {
        succeeded: false,
        reason,
        message: Some(message),
    });
}

/// Carries on with what is being ended: single containers that a probe condemned, or the whole pod.
pub(super) fn pursue(desired: &Desired, actual: &mut Actual, now: Millis, step: &mut Step) {
    if let Some(stop) = actual.stop.clone() {
        stop_containers(desired, actual, &stop, now, step);
    }
    kill_overdue(actual, now, step);
    if let Some(stop) = &actual.stop {
        let overdue = now >= stop.deadline.saturating_add(PATIENCE);
        if !overdue && actual.is_alive() {
            step.wake(stop.deadline + PATIENCE);
        }
        if overdue || !actual.is_alive() {
            clear_away(desired, actual, step);
        }
    }
}

/// Sends the stop signal once to all that runs; sidecars come after the others.
fn stop_containers(desired: &Desired, actual: &mut Actual, stop: &Stop, now: Millis, step: &mut Step) {
    let of_role = |actual: &Actual, role: Role| {
        let alive = |(index, _): &(Index, _)| actual.containers[*index].state.is_alive();
        desired
            .containers
            .iter()
            .enumerate()
            .filter(|(_, spec)| spec.role == role)
            .any(|pair| alive(&pair))
    };
    let others_run = of_role(actual, Role::Main) || of_role(actual, Role::Init);
    for (index, spec) in desired.containers.iter().enumerate() {
        if !actual.containers[index].state.is_running()
            || (spec.role == Role::Sidecar && others_run && now < stop.deadline)
        {
            continue;
        }
        let message = format!("Stopping container {}", spec.name);
        stop_one(actual, index, stop.deadline, now, message, step);
    }
    if others_run && now < stop.deadline {
        step.wake(stop.deadline);
    }
}

/// Asks a running container to end and notes when it is killed.
pub(super) fn stop_one(actual: &mut Actual, index: Index, kill_at: Millis, now: Millis, why: String, step: &mut Step) {
    let container = &mut actual.containers[index];
    match container.kill_at {
        Some(earlier) => {
            container.kill_at = Some(if earlier == Millis::MAX {
                earlier
            } else {
                earlier.min(kill_at)
            })
        }
        None => {
            step.event(Some(index), false, "Killing", why);
            container.kill_at = Some(kill_at);
            if kill_at > now {
                step.act(Action::Stop { index });
            }
        }
    }
}

fn kill_overdue(actual: &mut Actual, now: Millis, step: &mut Step) {
    for (index, container) in actual.containers.iter_mut().enumerate() {
        match container.kill_at {
            Some(Millis::MAX) | None => {}
            Some(_) if !container.state.is_running() => {}
            Some(at) if now >= at => {
                container.kill_at = Some(Millis::MAX);
                step.act(Action::Kill { index });
            }
            Some(at) => step.wake(at),
        }
    }
}

/// Nothing runs any more (or will not go): the sandbox goes, and with a deleted pod all of it.
fn clear_away(desired: &Desired, actual: &mut Actual, step: &mut Step) {
    match actual.sandbox {
        Sandbox::Ready | Sandbox::Lost => {
            actual.sandbox = Sandbox::Removing;
            step.act(Action::RemoveSandbox);
        }
        // What is under way is waited for: its report comes.
        Sandbox::Creating | Sandbox::Removing => {}
        Sandbox::Absent { .. } => {
            actual.sandbox = Sandbox::Removed;
            clear_away(desired, actual, step);
        }
        Sandbox::Removed => {
            let shutdown = actual
                .stop
                .as_ref()
                .is_some_and(|stop| stop.cause == StopCause::NodeShutdown);
            if is_deleted(desired) || shutdown {
                actual.forgotten = true;
                step.act(Action::Forget);
            }
        }
    }
}

impl Actual {
    /// The node lets go of the pod: it ends within `grace` milliseconds, and is then forgotten here.
    pub fn let_go(&mut self, grace: Millis, now: Millis) {
        let deadline = self
            .stop
            .as_ref()
            .map_or(now + grace, |stop| stop.deadline.min(now + grace));
        self.stop = Some(Stop {
            cause: StopCause::NodeShutdown,
            deadline,
        });
    }
}
