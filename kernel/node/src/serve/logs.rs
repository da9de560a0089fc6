//! Logs of the node's pods, for those who ask.
use super::Answers;
use crate::{
    agent::{ContainerView, Node, View},
    logs::{Reader, Wanted, send},
};
use jiff::{SignedDuration, Timestamp};
use sampan_api::{ApiError, Key, Reason, rpc};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// The answers to a request for logs.
///
/// # Errors
/// Where there is no such pod, no such container, or nothing of it yet.
pub fn logs(node: Arc<Node>, request: rpc::LogsRequest) -> Result<Answers<rpc::LogsResponse>, ApiError> {
    let (namespace, pod) = (request.namespace.clone(), request.pod.clone());
    let view = node
        .views
        .get(&namespace, &pod)
        .ok_or_else(|| ApiError::not_found(&Key::new("pods", &namespace, &pod)))?;
    let container = container(&view, &request)?;
    let attempt = attempt(container, &request)?;
    let path = node.log_path(&view.uid, &container.name, attempt);
    if request.previous && !path.exists() {
        return Err(no_previous(container, &request));
    }
    let since = (request.since_seconds > 0)
        .then(|| {
            Timestamp::now()
                .checked_sub(SignedDuration::from_secs(i64::from(request.since_seconds)))
                .ok()
        })
        .flatten();
    let tail = request.tail.map(|tail| usize::try_from(tail).unwrap_or(usize::MAX));
    let reader = Reader::new(
        path,
        Wanted {
            tail,
            timestamps: request.timestamps,
            since,
        },
    );
    let (sink, chunks) = mpsc::channel(16);
    let (uid, name) = (view.uid.clone(), container.name.clone());
    let follow = request.follow && !request.previous;
    tokio::task::spawn_blocking(move || {
        let alive = || {
            let view = node.views.get(&namespace, &pod).filter(|view| view.uid == uid);
            let container = view.and_then(|view| view.containers.into_iter().find(|c| c.name == name));
            container.is_some_and(|container| container.alive && container.attempt == attempt)
        };
        if let Err(error) = send(reader, follow, alive, &sink) {
            let _ = sink.blocking_send(Err(ApiError::internal(format!("the log of container {name}: {error}"))));
        }
    });
    let answer = |chunk: Result<_, ApiError>| chunk.map(|data| rpc::LogsResponse { data }).map_err(Into::into);
    Ok(Box::pin(ReceiverStream::new(chunks).map(answer)))
}

fn container<'a>(view: &'a View, request: &rpc::LogsRequest) -> Result<&'a ContainerView, ApiError> {
    let names = || {
        view.containers
            .iter()
            .map(|c| c.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if request.container.is_empty() {
        return match view.containers.as_slice() {
            [only] => Ok(only),
            _ => {
                let message = format!("pod {} has several containers: choose one of: {}", request.pod, names());
                Err(ApiError::bad_request(message))
            }
        };
    }
    view.containers
        .iter()
        .find(|container| container.name == request.container)
        .ok_or_else(|| {
            let message = format!(
                "pod {} has no container {}: it has {}",
                request.pod,
                request.container,
                names()
            );
            ApiError::bad_request(message)
        })
}

/// The run whose log is wanted: the newest that took place, or the one before that.
fn attempt(container: &ContainerView, request: &rpc::LogsRequest) -> Result<u32, ApiError> {
    let newest = if container.ran || container.alive {
        Some(container.attempt)
    } else {
        container.attempt.checked_sub(1)
    };
    let Some(newest) = newest else {
        let message = format!(
            "container {} of pod {} is waiting to start: {}",
            container.name, request.pod, container.waits
        );
        return Err(ApiError::new(Reason::BadRequest, message));
    };
    if !request.previous {
        return Ok(newest);
    }
    newest.checked_sub(1).ok_or_else(|| no_previous(container, request))
}

fn no_previous(container: &ContainerView, request: &rpc::LogsRequest) -> ApiError {
    let message = format!(
        "previous terminated container {} in pod {} not found",
        container.name, request.pod
    );
    ApiError::bad_request(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_that_is_meant() {
        let of = |attempt, ran, previous| {
            let container = ContainerView {
                name: "web".into(),
                attempt,
                ran,
                alive: ran,
                waits: "CrashLoopBackOff".into(),
            };
            super::attempt(
                &container,
                &rpc::LogsRequest {
                    previous,
                    ..rpc::LogsRequest::default()
                },
            )
        };
        assert_eq!(of(0, true, false).unwrap(), 0);
        assert_eq!(of(3, true, true).unwrap(), 2);
        assert_eq!(of(3, false, false).unwrap(), 2);
        assert!(
            of(0, true, true)
                .unwrap_err()
                .message
                .contains("previous terminated container web")
        );
        assert!(of(0, false, false).unwrap_err().message.contains("CrashLoopBackOff"));
    }

    #[test]
    fn the_container_that_is_meant() {
        let one = |name: &str| ContainerView {
            name: name.into(),
            ..ContainerView::default()
        };
        let of = |names: &[&str], wanted: &str| {
            let view = View {
                uid: "u1".into(),
                containers: names.iter().map(|name| one(name)).collect(),
            };
            let request = rpc::LogsRequest {
                container: wanted.into(),
                ..rpc::LogsRequest::default()
            };
            container(&view, &request)
                .map(|container| container.name.clone())
                .map_err(|error| error.message)
        };
        assert_eq!(of(&["a"], "").unwrap(), "a");
        assert_eq!(of(&["a", "b"], "b").unwrap(), "b");
        assert!(of(&["a", "b"], "").unwrap_err().contains("a, b"));
        assert!(of(&["a"], "x").unwrap_err().contains("no container x"));
    }
}
