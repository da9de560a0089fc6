//! What a status written before says, read back when the agent starts: Kubernetes' own format is the agent's memory.
use super::{
    Actual, Container, Desired, Ended, Exit, Image, Millis, Sandbox, State, Waiting, absorb, actual::Terminal, probe,
};
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Time};

/// A container that the pod's shim knows, after the agent was away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    pub index: usize,
    pub attempt: u32,
    pub container_id: String,
    /// Milliseconds of Unix time.
    pub started_at: Millis,
    /// None: it runs.
    pub exit: Option<Exit>,
}

/// What is there of a pod, from its last status and what its shim knows or left behind. Where the shim is gone, all that
/// ran went with it.
pub fn recall(
    desired: &Desired,
    status: &core::PodStatus,
    survivors: Vec<Survivor>,
    shim_lives: bool,
    now: Millis,
) -> Actual {
    let mut actual = Actual::new(desired, now);
    actual.start_time = status.start_time.as_ref().map(millis).or(actual.start_time);
    actual.ips = status.pod_ips.iter().flatten().map(|one| one.ip.clone()).collect();
    if let Some(ip) = status
        .pod_ip
        .clone()
        .filter(|ip| !ip.is_empty() && actual.ips.is_empty())
    {
        actual.ips.push(ip);
    }
    for condition in status.conditions.iter().flatten() {
        let since = condition.last_transition_time.as_ref().map_or(now, millis);
        actual
            .conditions
            .insert(condition.type_.clone(), (condition.status == "True", since));
    }
    actual.initialized = actual.conditions.get("Initialized").is_some_and(|(holds, _)| *holds);
    let statuses = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten());
    for seen in statuses {
        if let Some(index) = desired.index_of(&seen.name) {
            actual.containers[index] = container(desired, index, seen, now);
        }
    }
    let phase = status.phase.as_deref();
    actual.sandbox = if shim_lives { Sandbox::Ready } else { Sandbox::Lost };
    adopt(desired, &mut actual, survivors, now);
    if !shim_lives {
        let had_run = actual.containers.iter().any(|container| container.ran);
        absorb::end_all(
            &mut actual,
            now,
            "the node or the pod's shim was restarted, and the container ended with it",
        );
        if had_run {
            absorb::again_from_the_start(desired, &mut actual);
        }
    }
    if let Some("Succeeded" | "Failed") = phase {
        let succeeded = phase == Some("Succeeded");
        actual.terminal = Some(Terminal {
            succeeded,
            reason: status.reason.clone(),
            message: status.message.clone(),
        });
        let cause = super::StopCause::Finished;
        actual.stop = Some(super::actual::Stop { cause, deadline: now });
    }
    actual
}

fn adopt(desired: &Desired, actual: &mut Actual, survivors: Vec<Survivor>, now: Millis) {
    let known: Vec<_> = survivors
        .iter()
        .map(|survivor| (survivor.index, survivor.attempt))
        .collect();
    for survivor in survivors {
        let Some(container) = actual.containers.get_mut(survivor.index) else {
            continue;
        };
        // Only the newest run matters.
        if survivor.attempt < container.attempt
            || (survivor.attempt == container.attempt && container.state.ended().is_some())
        {
            continue;
        }
        container.attempt = survivor.attempt;
        container.container_id = survivor.container_id;
        container.ran = true;
        if !container.state.is_running() {
            container.state = State::Running {
                since: survivor.started_at,
            };
            probe::begin(&desired.containers[survivor.index], container, now);
        }
        if let Some(exit) = survivor.exit {
            absorb::exited(actual, survivor.index, survivor.attempt, exit, now);
        }
    }
    // Said to run, and the shim does not know of it.
    let lost = |index: usize, container: &Container| {
        container.state.is_running() && !known.contains(&(index, container.attempt))
    };
    if actual.sandbox != Sandbox::Ready {
        return;
    }
    for index in 0..actual.containers.len() {
        if lost(index, &actual.containers[index]) {
            let exit = Exit {
                code: 137,
                finished_at: now,
                ..Exit::default()
            };
            let attempt = actual.containers[index].attempt;
            absorb::exited(actual, index, attempt, exit, now);
        }
    }
}

fn container(desired: &Desired, index: usize, seen: &core::ContainerStatus, now: Millis) -> Container {
    let mut container = Container {
        attempt: u32::try_from(seen.restart_count).unwrap_or(0),
        container_id: seen.container_id.clone().unwrap_or_default(),
        image: Image {
            name: seen.image.clone(),
            id: seen.image_id.clone(),
        },
        last: seen
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
            .map(ended),
        ..Container::default()
    };
    container.ran = container.last.is_some();
    let state = seen.state.clone().unwrap_or_default();
    if let Some(running) = state.running {
        container.state = State::Running {
            since: running.started_at.as_ref().map_or(now, millis),
        };
        container.ran = true;
        probe::begin(&desired.containers[index], &mut container, now);
        if seen.started == Some(true) {
            container.started = true;
            container.ready = seen.ready;
        }
    } else if let Some(terminated) = state.terminated {
        container.state = State::Ended(ended(&terminated));
        container.ran = true;
    } else {
        container.state = State::Waiting(Waiting::default());
    }
    container
}

fn ended(terminated: &core::ContainerStateTerminated) -> Ended {
    Ended {
        code: terminated.exit_code,
        signal: terminated.signal.unwrap_or(0),
        reason: terminated.reason.clone().unwrap_or_default(),
        message: terminated.message.clone().unwrap_or_default(),
        started_at: terminated.started_at.as_ref().map_or(0, millis),
        finished_at: terminated.finished_at.as_ref().map_or(0, millis),
        container_id: terminated.container_id.clone().unwrap_or_default(),
    }
}

fn millis(time: &Time) -> Millis {
    u64::try_from(time.0.as_millisecond()).unwrap_or(0)
}
