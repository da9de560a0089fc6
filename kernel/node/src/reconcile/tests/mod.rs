//! A pod's life, turn by turn, with drivers that the test plays.
mod life;
mod probes;
mod restarts;
mod stopping;

use super::*;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};
use std::sync::Arc;

/// A pod, what is there of it, and a clock.
struct Play {
    desired: Desired,
    actual: Actual,
    now: Millis,
    /// Events so far, as `Reason: message`.
    events: Vec<String>,
    wake_at: Option<Millis>,
}

fn pod(spec: Value) -> Pod {
    let metadata = json!({"name": "web", "namespace": "default", "uid": "u1", "generation": 1});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn simple(restart: &str) -> Value {
    json!({"restartPolicy": restart, "containers": [{"name": "web", "image": "web:1"}]})
}

impl Play {
    fn new(spec: Value) -> Self {
        let desired = Desired::new(Arc::new(pod(spec)));
        let now = 1_700_000_000_000;
        Play {
            actual: Actual::new(&desired, now),
            desired,
            now,
            events: Vec::new(),
            wake_at: None,
        }
    }

    /// Reconciles; events are kept aside.
    fn turn(&mut self) -> Vec<Action> {
        let step = reconcile(&self.desired, &mut self.actual, self.now);
        self.wake_at = step.wake_at;
        self.keep(step.actions)
    }

    fn keep(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let (events, rest): (Vec<_>, Vec<_>) = actions.into_iter().partition(|a| matches!(a, Action::Event { .. }));
        for event in events {
            if let Action::Event { reason, message, .. } = event {
                self.events.push(format!("{reason}: {message}"));
            }
        }
        rest
    }

    fn report(&mut self, report: Report) -> Vec<Action> {
        let actions = absorb(&self.desired, &mut self.actual, report, self.now);
        let mut actions = self.keep(actions);
        actions.extend(self.turn());
        actions
    }

    fn after(&mut self, millis: Millis) -> Vec<Action> {
        self.now += millis;
        self.turn()
    }

    /// Plays drivers for which all goes well, until nothing is to be done at this moment.
    fn settle(&mut self) {
        let mut todo = self.turn();
        while let Some(action) = (!todo.is_empty()).then(|| todo.remove(0)) {
            let report = match action {
                Action::EnsureImage { index } => self.image(index),
                Action::CreateSandbox => Report::SandboxReady {
                    ips: vec!["10.42.0.2".into()],
                },
                Action::Start { index, attempt } => self.start_report(index, attempt),
                Action::RemoveSandbox => Report::SandboxRemoved,
                Action::Probe { index, kind, attempt } => Report::Probed {
                    index,
                    kind,
                    attempt,
                    result: Ok(()),
                },
                Action::Kill { index } => self.exit_report(index, 137, 9),
                Action::Stop { .. } | Action::Forget | Action::Event { .. } => continue,
            };
            todo.extend(self.report(report));
        }
    }

    fn image(&self, index: Index) -> Report {
        let name = self.desired.containers[index].image.clone();
        Report::ImageReady {
            index,
            image: Image {
                id: format!("{name}@sha256:0"),
                name,
            },
            pulled: None,
        }
    }

    fn start_report(&self, index: Index, attempt: u32) -> Report {
        let container_id = format!("sampan://u1/{index}-{attempt}");
        Report::Started {
            index,
            attempt,
            container_id,
            at: self.now,
        }
    }

    fn exit_report(&self, index: Index, code: i32, signal: i32) -> Report {
        let container = &self.actual.containers[index];
        let State::Running { since } = container.state else {
            panic!("{index} does not run: {:?}", container.state)
        };
        let exit = Exit {
            code,
            signal,
            oom: false,
            started_at: since,
            finished_at: self.now,
            message: String::new(),
        };
        Report::Exited {
            index,
            attempt: container.attempt,
            exit,
        }
    }

    fn exit(&mut self, index: Index, code: i32) -> Vec<Action> {
        let report = self.exit_report(index, code, 0);
        self.report(report)
    }

    fn status(&mut self) -> PodStatus {
        status(
            &self.desired,
            &mut self.actual,
            &NodeFacts {
                addresses: vec!["192.0.2.1".into()],
            },
            self.now,
        )
    }

    fn phase(&mut self) -> String {
        self.status().phase.unwrap()
    }

    /// `reason` of what a container waits for.
    fn waits(&mut self, index: usize) -> String {
        let status = self.status();
        let all = status
            .init_container_statuses
            .into_iter()
            .flatten()
            .chain(status.container_statuses.into_iter().flatten());
        all.into_iter()
            .nth(index)
            .and_then(|c| c.state?.waiting?.reason)
            .unwrap_or_default()
    }

    fn condition(&mut self, name: &str) -> bool {
        let status = self.status();
        status
            .conditions
            .unwrap()
            .iter()
            .any(|c| c.type_ == name && c.status == "True")
    }

    fn delete(&mut self, grace_seconds: i64) -> Vec<Action> {
        let mut pod = (*self.desired.pod).clone();
        pod.metadata.deletion_timestamp = Some(super::status::time(self.now));
        pod.metadata.deletion_grace_period_seconds = Some(grace_seconds);
        self.desired = Desired::new(Arc::new(pod));
        self.turn()
    }

    fn said(&self, text: &str) -> bool {
        self.events.iter().any(|event| event.contains(text))
    }
}
