//! Doing what was decided: each action in a task of its own, which reports how it went.
use super::{
    node::Node,
    sandbox, start,
    table::{Entry, key},
};
use crate::{
    pod::sources::Wanted,
    probing,
    reconcile::{Action, Deletion, Desired, Index, ProbeKind, Report, StopCause, pull_policy},
    runtime::{self, Link},
};
use sampan_container::{Auth, Prepared};
use sampan_shim::{Event, Phase, Reason, Request};
use std::sync::Arc;

/// Begins an action.
pub fn perform(node: &Arc<Node>, entry: &Entry, action: Action) {
    let (node, desired) = (node.clone(), entry.desired.clone());
    let link = entry.link.clone();
    let (ip, ips) = (entry.actual.ip(), entry.actual.ips.clone());
    match action {
        Action::EnsureImage { index } => drop(tokio::spawn(ensure_image(node, desired, index))),
        Action::CreateSandbox => drop(tokio::spawn(sandbox::create(node, desired))),
        Action::RemoveSandbox => drop(tokio::spawn(sandbox::remove(node, desired, link))),
        Action::Start { index, attempt } => drop(tokio::spawn(start::start(node, desired, link, ips, index, attempt))),
        Action::Stop { index } => drop(tokio::spawn(stop(node, desired, link, index))),
        Action::Kill { index } => drop(tokio::spawn(signal(desired, link, index, libc::SIGKILL))),
        Action::Probe { index, kind, attempt } => drop(tokio::spawn(probe(node, desired, ip, (index, kind, attempt)))),
        Action::Forget => forget(&node, entry),
        Action::Event { .. } => {}
    }
}

/// What a shim's event means for the pod. None for what it knows of and the pod does not.
pub fn report_of(desired: &Desired, event: &Event) -> Option<Report> {
    let (Event::Started(state) | Event::Exited(state)) = event else {
        return None;
    };
    let index = desired.index_of(&state.name)?;
    let attempt = state.attempt;
    Some(match (state.phase, state.reason) {
        (Phase::Exited, Some(Reason::StartError)) => {
            let at = runtime::millis(state.finished_at);
            Report::NotStarted {
                index,
                attempt,
                message: state.message.clone(),
                at,
            }
        }
        (Phase::Exited, _) => Report::Exited {
            index,
            attempt,
            exit: runtime::exit(state),
        },
        _ => {
            let container_id = runtime::container_id(&desired.uid, &state.name, attempt);
            Report::Started {
                index,
                attempt,
                container_id,
                at: runtime::millis(state.started_at),
            }
        }
    })
}

async fn ensure_image(node: Arc<Node>, desired: Desired, index: Index) {
    let Some(container) = desired.container(index) else {
        return;
    };
    let image = container.image.clone().unwrap_or_default();
    let auths = pull_secrets(&node, &desired).await;
    let pulling = || node.report(&desired.uid, Report::Pulling { index });
    match node.images.ensure(&image, pull_policy(container), auths, pulling).await {
        Ok(ensured) => {
            if let Some(message) = ensured.warning {
                let note = Report::Note {
                    container: Some(index),
                    warning: true,
                    reason: "RegistryUnreachable",
                    message,
                };
                node.report(&desired.uid, note);
            }
            node.report(
                &desired.uid,
                Report::ImageReady {
                    index,
                    image: ensured.image,
                    pulled: ensured.pulled,
                },
            );
        }
        Err(missing) => {
            let report = Report::ImageFailed {
                index,
                reason: missing.reason,
                message: missing.message,
            };
            node.report(&desired.uid, report);
        }
    }
}

/// The credentials of the pod's `imagePullSecrets`; those that are missing are passed over, as in Kubernetes.
async fn pull_secrets(node: &Node, desired: &Desired) -> Vec<Auth> {
    let spec = desired.pod.spec.as_ref();
    let names = spec
        .iter()
        .flat_map(|spec| spec.image_pull_secrets.iter().flatten())
        .map(|secret| secret.name.clone());
    let wanted = Wanted {
        secrets: names.collect(),
        ..Wanted::default()
    };
    if wanted.is_empty() {
        return Vec::new();
    }
    let sources = node.sources(&desired.namespace, &wanted).await.unwrap_or_default();
    let configs = sources.secrets.values().filter_map(|secret| {
        let config = secret.data.as_ref()?.get(".dockerconfigjson")?;
        Some(Auth::Config(config.0.clone()))
    });
    configs.collect()
}

async fn stop(node: Arc<Node>, desired: Desired, link: Option<Link>, index: Index) {
    let number = stop_signal(&node, &desired, index).await.unwrap_or(libc::SIGTERM);
    signal(desired, link, index, number).await;
}

/// As the pod says it, else as the image does.
async fn stop_signal(node: &Node, desired: &Desired, index: Index) -> Option<i32> {
    let container = desired.container(index)?;
    if let Some(name) = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.stop_signal.as_deref())
    {
        return signal_number(name);
    }
    let image = container.image.as_deref()?.parse().ok()?;
    match node.images.store.prepare(&image).await.ok()? {
        Prepared::Container { config, .. } => signal_number(config.stop_signal.as_deref()?),
        Prepared::Wasm { .. } => None,
    }
}

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`.
pub fn signal_number(name: &str) -> Option<i32> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    if let Some(offset) = bare.strip_prefix("RTMIN+") {
        return offset
            .parse::<i32>()
            .ok()
            .map(|offset| 34 + offset)
            .filter(|number| *number <= 64);
    }
    Some(match bare {
        "HUP" => libc::SIGHUP,
        "INT" => libc::SIGINT,
        "QUIT" => libc::SIGQUIT,
        "ABRT" => libc::SIGABRT,
        "KILL" => libc::SIGKILL,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        "TERM" => libc::SIGTERM,
        "WINCH" => libc::SIGWINCH,
        "CONT" => libc::SIGCONT,
        "STOP" => libc::SIGSTOP,
        "PWR" => libc::SIGPWR,
        number => return number.parse().ok().filter(|number| (1..=64).contains(number)),
    })
}

async fn signal(desired: Desired, link: Option<Link>, index: Index, number: i32) {
    let (Some(link), Some(spec)) = (link, desired.containers.get(index)) else {
        return;
    };
    let request = Request::Signal {
        container: spec.name.clone(),
        signal: number,
    };
    if let Err(error) = link.call(request).await {
        tracing::debug!(pod = desired.name, container = spec.name, %error, "a signal was not sent");
    }
}

async fn probe(node: Arc<Node>, desired: Desired, ip: String, (index, kind, attempt): (Index, ProbeKind, u32)) {
    let probe = desired.containers.get(index).and_then(|spec| spec.probe(kind));
    let (Some(probe), Some(container)) = (probe, desired.container(index)) else {
        return;
    };
    let result = match probing::kind(probe) {
        probing::Ask::Network => probing::ask(probe, container, &ip).await,
        // What cannot be asked ends nobody; the user was told when the container started.
        probing::Ask::Exec(_) | probing::Ask::Unsupported(_) => Ok(()),
    };
    node.report(
        &desired.uid,
        Report::Probed {
            index,
            kind,
            attempt,
            result,
        },
    );
}

/// All that is left of the pod goes: its logs here, its object there.
fn forget(node: &Arc<Node>, entry: &Entry) {
    let desired = &entry.desired;
    node.views.remove(&desired.namespace, &desired.name, &desired.uid);
    node.images.release(&desired.uid);
    let (volumes, dir) = (node.volumes_dir(&desired.uid), node.pod_dir(&desired.uid));
    let shutdown = entry
        .actual
        .stop
        .as_ref()
        .is_some_and(|stop| stop.cause == StopCause::NodeShutdown);
    if !shutdown && desired.deletion != Deletion::Gone {
        node.writer.delete(key(desired), &desired.uid);
    }
    let work = {
        let dir = dir.clone();
        move || crate::pod::volumes::remove(&volumes).and_then(|()| std::fs::remove_dir_all(dir))
    };
    let records = node.records.clone();
    tokio::spawn(async move {
        // What was last written of the pod must not come into a directory that is being emptied.
        records.barrier().await;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove a pod's directory");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_any_name() {
        for (name, number) in [
            ("SIGQUIT", 3),
            ("QUIT", 3),
            ("15", 15),
            ("SIGRTMIN+3", 37),
            ("SIGWINCH", 28),
        ] {
            assert_eq!(signal_number(name), Some(number), "{name}");
        }
        for name in ["", "SIGNOPE", "0", "65", "-9", "RTMIN+99"] {
            assert_eq!(signal_number(name), None, "{name}");
        }
    }
}
