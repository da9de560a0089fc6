//! The agent's one loop: what is wanted and what is seen go in, actions and statuses come out, one pod at a time.
use super::{
    act, admission,
    node::{Node, is_uid},
    record::Record,
    view::{ContainerView, View},
};
use crate::{
    control::{About, Change, NodeEvent},
    reconcile::{self, Action, Actual, Deletion, Desired, Millis, Report, Role, State, StopCause},
    runtime::{self, Link},
};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use sampan_api::{Key, Object, kinds};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// What the loop is told.
pub enum Input {
    /// Of the pods that are wanted here.
    Change(Change),
    Report {
        uid: String,
        report: Report,
    },
    /// A pod's shim can be talked to.
    Linked {
        uid: String,
        link: Link,
    },
    /// A pod's shim says something.
    Heard {
        uid: String,
        heard: runtime::Heard,
    },
    /// The node is to end all of its pods.
    LetGo {
        grace: Millis,
        done: oneshot::Sender<()>,
    },
}

/// A pod of this node.
pub struct Entry {
    pub desired: Desired,
    pub actual: Actual,
    pub link: Option<Link>,
    /// The status that was told last.
    pub shown: Option<PodStatus>,
    wake_at: Option<Millis>,
}

impl Entry {
    pub fn new(desired: Desired, actual: Actual, link: Option<Link>) -> Self {
        Entry {
            desired,
            actual,
            link,
            shown: None,
            wake_at: None,
        }
    }
}

/// All pods of this node.
pub struct Table {
    node: Arc<Node>,
    inputs: mpsc::UnboundedReceiver<Input>,
    pods: HashMap<String, Entry>,
    /// Set when the node is to end all of its pods, and told when it has.
    letting_go: Option<oneshot::Sender<()>>,
}

impl Table {
    pub fn new(node: Arc<Node>, inputs: mpsc::UnboundedReceiver<Input>, pods: HashMap<String, Entry>) -> Self {
        Table {
            node,
            inputs,
            pods,
            letting_go: None,
        }
    }

    /// Runs until nobody can tell it anything.
    pub async fn run(mut self) {
        let all: Vec<String> = self.pods.keys().cloned().collect();
        all.iter().for_each(|uid| self.turn(uid));
        loop {
            let now = self.node.clock.now();
            let wake = self.pods.values().filter_map(|entry| entry.wake_at).min();
            let wait = Duration::from_millis(wake.map_or(3_600_000, |at| at.saturating_sub(now)));
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                () = tokio::time::sleep(wait) => {
                    let now = self.node.clock.now();
                    let due = self.pods.iter().filter(|(_, entry)| entry.wake_at.is_some_and(|at| at <= now));
                    let due: Vec<String> = due.map(|(uid, _)| uid.clone()).collect();
                    due.iter().for_each(|uid| self.turn(uid));
                }
            }
            if self.pods.is_empty()
                && let Some(done) = self.letting_go.take()
            {
                let _ = done.send(());
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Change(change) => self.change(change),
            Input::Report { uid, report } => self.absorb(&uid, report),
            Input::Linked { uid, link } => {
                if let Some(entry) = self.pods.get_mut(&uid) {
                    entry.link = Some(link);
                }
            }
            Input::Heard { uid, heard } => self.heard(&uid, heard),
            Input::LetGo { grace, done } => {
                self.letting_go = Some(done);
                let now = self.node.clock.now();
                let all: Vec<String> = self.pods.keys().cloned().collect();
                for uid in &all {
                    if let Some(entry) = self.pods.get_mut(uid) {
                        entry.actual.let_go(grace.min(entry.desired.grace), now);
                    }
                    self.turn(uid);
                }
            }
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Seen(object) => match object.typed::<Pod>() {
                Ok(pod) => self.seen(pod),
                Err(error) => tracing::warn!(pod = object.metadata.name, %error, "a pod makes no sense"),
            },
            Change::Gone(object) => self.gone(&object.metadata.uid),
            Change::Synced(uids) => self.synced(&uids),
        }
    }

    fn seen(&mut self, pod: Pod) {
        let desired = Desired::new(Arc::new(pod));
        let uid = desired.uid.clone();
        // They become names of files.
        if !is_uid(&uid) || !desired.containers.iter().all(|spec| is_uid(&spec.name)) {
            return tracing::warn!(
                pod = desired.name,
                uid,
                "a pod's uid or the name of a container is none"
            );
        }
        let now = self.node.clock.now();
        match self.pods.get_mut(&uid) {
            Some(entry) => {
                let names = |desired: &Desired| desired.containers.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
                // Which containers a pod has does not change in its life.
                if names(&entry.desired) == names(&desired) && entry.desired.deletion != Deletion::Gone {
                    if was_called_unready(&desired) {
                        entry.shown = None;
                    }
                    entry.desired = desired;
                }
            }
            None if self.letting_go.is_some() => return,
            None => {
                // It may have run here before: on a node whose directory was lost, or that was taken down with its pods.
                let status = desired.pod.status.as_ref().filter(|status| status.start_time.is_some());
                let actual = match status {
                    Some(status) => reconcile::recall(&desired, status, Vec::new(), false, now),
                    None => self.admit(&desired, now),
                };
                self.pods.insert(uid.clone(), Entry::new(desired, actual, None));
            }
        }
        self.turn(&uid);
    }

    /// What there is of a pod that came, or that it was turned away.
    fn admit(&self, desired: &Desired, now: Millis) -> Actual {
        let Some(refusal) = admission::refusal(desired, self.pods.values()) else {
            return Actual::new(desired, now);
        };
        let (reason, message) = (refusal.reason, refusal.message);
        let told = event(desired, None, true, reason, message.clone(), now);
        self.node.writer.event(told);
        Actual::refused(desired, reason, format!("Pod was rejected: {message}"), now)
    }

    fn gone(&mut self, uid: &str) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.desired.deletion = Deletion::Gone;
            self.turn(uid);
        }
    }

    fn synced(&mut self, uids: &HashSet<String>) {
        let all: Vec<String> = self.pods.keys().cloned().collect();
        for uid in all {
            if !uids.contains(&uid) {
                self.gone(&uid);
            } else if let Some(entry) = self.pods.get_mut(&uid)
                && entry.desired.pod.status != entry.shown
            {
                // What was told while the control plane was away may not have arrived.
                entry.shown = None;
                self.turn(&uid);
            }
        }
    }

    fn heard(&mut self, uid: &str, heard: runtime::Heard) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        let report = match heard {
            runtime::Heard::Closed => {
                entry.link = None;
                match entry.actual.sandbox {
                    reconcile::Sandbox::Ready => Report::SandboxLost,
                    _ => return,
                }
            }
            runtime::Heard::Event(event) => match act::report_of(&entry.desired, &event) {
                Some(report) => report,
                None => return,
            },
        };
        self.absorb(uid, report);
    }

    fn absorb(&mut self, uid: &str, report: Report) {
        let now = self.node.clock.now();
        if let Some(entry) = self.pods.get_mut(uid) {
            let actions = reconcile::absorb(&entry.desired, &mut entry.actual, report, now);
            self.perform(uid, actions);
            self.turn(uid);
        }
    }

    /// Decides for one pod, has it done, and tells of it.
    fn turn(&mut self, uid: &str) {
        let now = self.node.clock.now();
        let Some(entry) = self.pods.get_mut(uid) else { return };
        let step = reconcile::reconcile(&entry.desired, &mut entry.actual, now);
        entry.wake_at = step.wake_at;
        self.show(uid, now);
        self.perform(uid, step.actions);
        if self.pods.get(uid).is_some_and(|entry| entry.actual.forgotten) {
            self.pods.remove(uid);
        }
    }

    fn perform(&mut self, uid: &str, actions: Vec<Action>) {
        let Some(entry) = self.pods.get(uid) else { return };
        let now = self.node.clock.now();
        for action in actions {
            match action {
                Action::Event {
                    container,
                    warning,
                    reason,
                    message,
                } => {
                    self.node
                        .writer
                        .event(event(&entry.desired, container, warning, reason, message, now));
                }
                action => act::perform(&self.node, entry, action),
            }
        }
    }

    /// Tells the pod's status if it changed.
    fn show(&mut self, uid: &str, now: Millis) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        let desired = &entry.desired;
        let status = reconcile::status(desired, &mut entry.actual, &self.node.status_facts(), now);
        if entry.shown.as_ref() == Some(&status) {
            return;
        }
        self.node
            .views
            .set(&desired.namespace, &desired.name, view(desired, &entry.actual));
        let manifests = self.node.images.used_by(uid).iter().map(ToString::to_string).collect();
        let pod = Pod {
            status: Some(status.clone()),
            ..(*desired.pod).clone()
        };
        self.node
            .records
            .write(self.node.pod_dir(uid), Record { pod, manifests });
        let shutdown = entry
            .actual
            .stop
            .as_ref()
            .is_some_and(|stop| stop.cause == StopCause::NodeShutdown);
        // Of pods that are not wanted any more, or not less for the node's going, nobody needs to hear.
        if !shutdown && desired.deletion != Deletion::Gone {
            let phase = |status: &PodStatus| status.phase.clone();
            let pending = entry
                .shown
                .as_ref()
                .is_none_or(|shown| phase(shown).as_deref() == Some("Pending"));
            // What is being started will be something else in a moment.
            let starting = entry
                .actual
                .containers
                .iter()
                .any(|container| matches!(container.state, State::Starting(_)));
            let urgent = !(starting || pending && phase(&status).as_deref() == Some("Pending"));
            if let Some(kind) = kinds::of_resource("pods") {
                let mut object = Object::new(kind, &desired.namespace, &desired.name).with_field("status", &status);
                object.metadata.uid = uid.to_owned();
                self.node.writer.status(key(desired), object, urgent);
            }
        }
        entry.shown = Some(status);
    }
}

/// Whether the control plane took this node for dead, and the pod with it. The node lives, and says again how the pod is.
fn was_called_unready(desired: &Desired) -> bool {
    let status = desired.pod.status.as_ref();
    let mut conditions = status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.reason.as_deref() == Some("NodeNotReady"))
}

/// The key of a pod's object.
pub fn key(desired: &Desired) -> Key {
    Key::new("pods", &desired.namespace, &desired.name)
}

fn event(
    desired: &Desired,
    container: Option<usize>,
    warning: bool,
    reason: &'static str,
    message: String,
    at: Millis,
) -> NodeEvent {
    let field_path = container.and_then(|index| desired.containers.get(index)).map(|spec| {
        let list = if spec.role == Role::Main {
            "containers"
        } else {
            "initContainers"
        };
        format!("spec.{list}{{{}}}", spec.name)
    });
    NodeEvent {
        about: About {
            api_version: "v1",
            kind: "Pod",
            namespace: desired.namespace.clone(),
            name: desired.name.clone(),
            uid: desired.uid.clone(),
        },
        field_path: field_path.unwrap_or_default(),
        warning,
        reason,
        message,
        at,
    }
}

fn view(desired: &Desired, actual: &Actual) -> View {
    let containers = desired
        .containers
        .iter()
        .zip(&actual.containers)
        .map(|(spec, container)| ContainerView {
            name: spec.name.clone(),
            attempt: container.attempt,
            ran: container.ran,
            alive: container.state.is_alive(),
            waits: match &container.state {
                State::Waiting(waiting) if waiting.reason.is_empty() => "ContainerCreating".to_owned(),
                State::Waiting(waiting) => waiting.reason.clone(),
                _ => String::new(),
            },
        });
    View {
        uid: desired.uid.clone(),
        containers: containers.collect(),
    }
}
