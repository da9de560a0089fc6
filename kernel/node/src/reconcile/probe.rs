//! When a container is probed, and what follows from the answers.
use super::{
    Action, Actual, Container, ContainerSpec, Desired, Index, Millis, Probe, ProbeKind, State, Step, actual::Probing,
    stop,
};

/// The first try after a start is followed by quicker ones than the period says, so that a pod becomes ready when it is,
/// and not at the next tick. Those in between count for nothing when they fail.
const QUICK: Millis = 50;

/// The run began: probes are set up.
pub(super) fn begin(spec: &ContainerSpec, container: &mut Container, now: Millis) {
    container.started = spec.startup.is_none();
    container.ready = container.started && spec.readiness.is_none();
    container.probes.clear();
    for kind in [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness] {
        if let Some(probe) = spec.probe(kind) {
            let probing = Probing {
                due: now + probe.initial_delay,
                counted_at: now,
                ..Probing::default()
            };
            container.probes.insert(kind, probing);
        }
    }
}

/// Gives out the probes that are due.
pub(super) fn schedule(desired: &Desired, actual: &mut Actual, now: Millis, step: &mut Step) {
    for (index, container) in actual.containers.iter_mut().enumerate() {
        if !container.state.is_running() || container.kill_at.is_some() {
            continue;
        }
        let spec = &desired.containers[index];
        for (kind, probing) in &mut container.probes {
            // Until it has started, nothing else is asked.
            let its_turn = (*kind == ProbeKind::Startup) != container.started;
            if !its_turn || probing.under_way || spec.probe(*kind).is_none() {
                continue;
            }
            if now < probing.due {
                step.wake(probing.due);
                continue;
            }
            probing.under_way = true;
            step.act(Action::Probe {
                index,
                kind: *kind,
                attempt: container.attempt,
            });
        }
    }
}

/// Takes an answer.
pub(super) fn answered(
    desired: &Desired,
    actual: &mut Actual,
    (index, kind): (Index, ProbeKind),
    result: &Result<(), String>,
    now: Millis,
    step: &mut Step,
) {
    let spec = &desired.containers[index];
    let container = &mut actual.containers[index];
    let (Some(probe), Some(probing)) = (spec.probe(kind), container.probes.get_mut(&kind)) else {
        return;
    };
    probing.under_way = false;
    let counts = record(probing, probe, kind, result.is_ok(), now);
    if let Err(message) = result {
        if counts {
            step.event(
                Some(index),
                true,
                "Unhealthy",
                format!("{} probe failed: {message}", kind.title()),
            );
        }
        if probing.failures >= probe.failures {
            failed(desired, actual, index, kind, now, step);
        }
    } else if probing.successes >= probe.successes {
        succeeded(spec, container, kind, now);
    }
}

/// Counts an answer and says when the next is due. Whether a failure counted.
fn record(probing: &mut Probing, probe: &Probe, kind: ProbeKind, good: bool, now: Millis) -> bool {
    probing.tries += 1;
    if good {
        probing.was_good = true;
        probing.successes += 1;
        probing.failures = 0;
        probing.due = now
            + if probing.successes < probe.successes {
                QUICK.min(probe.period)
            } else {
                probe.period
            };
        return false;
    }
    probing.successes = 0;
    let quick = !probing.was_good && kind != ProbeKind::Liveness;
    probing.due = now
        + if quick {
            (QUICK << probing.tries.min(12)).min(probe.period)
        } else {
            probe.period
        };
    let counts = !quick || now >= probing.counted_at + probe.period;
    if counts {
        probing.failures += 1;
        probing.counted_at = now;
    }
    counts
}

fn succeeded(spec: &ContainerSpec, container: &mut Container, kind: ProbeKind, now: Millis) {
    match kind {
        ProbeKind::Startup => {
            container.started = true;
            container.ready = spec.readiness.is_none();
            for (_, probing) in container
                .probes
                .iter_mut()
                .filter(|(kind, _)| **kind != ProbeKind::Startup)
            {
                probing.due = probing.due.max(now);
                probing.counted_at = now;
            }
        }
        ProbeKind::Readiness => container.ready = true,
        ProbeKind::Liveness => {}
    }
}

fn failed(desired: &Desired, actual: &mut Actual, index: Index, kind: ProbeKind, now: Millis, step: &mut Step) {
    let container = &mut actual.containers[index];
    if kind == ProbeKind::Readiness {
        container.ready = false;
        return;
    }
    if !matches!(container.state, State::Running { .. }) || container.kill_at.is_some() {
        return;
    }
    let spec = &desired.containers[index];
    let grace = spec.probe(kind).and_then(|probe| probe.grace).unwrap_or(desired.grace);
    let why = format!(
        "Container {} failed {} probe, will be restarted",
        spec.name,
        kind.title().to_lowercase()
    );
    stop::stop_one(actual, index, now + grace, now, why, step);
}
