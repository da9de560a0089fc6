//! A pod's status in Kubernetes' words.
use super::{Actual, Container, ContainerSpec, Desired, Ended, Millis, Role, Sandbox, State, StopCause, Waiting};
use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
    jiff::Timestamp,
};
use sampan_api::quantity;
use std::collections::BTreeMap;

/// What a pod's status says of its node.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Its addresses, the primary one first.
    pub addresses: Vec<String>,
}

/// The status to show now. The times of conditions that changed are noted in `actual`.
pub fn status(desired: &Desired, actual: &mut Actual, facts: &NodeFacts, now: Millis) -> core::PodStatus {
    let statuses = |init: bool| {
        let pairs = desired.containers.iter().zip(&actual.containers);
        let of_kind = pairs.filter(|(spec, _)| (spec.role != Role::Main) == init);
        let list: Vec<_> = of_kind
            .map(|(spec, container)| container_status(desired, actual, spec, container))
            .collect();
        (!list.is_empty() && !actual.never_began()).then_some(list)
    };
    let (init, main) = (statuses(true), statuses(false));
    let phase = phase(desired, actual);
    let conditions = conditions(desired, actual, phase, now);
    let terminal = actual.terminal.as_ref();
    core::PodStatus {
        phase: Some(phase.to_owned()),
        reason: terminal.and_then(|t| t.reason.clone()),
        message: terminal.and_then(|t| t.message.clone()),
        conditions: Some(conditions),
        init_container_statuses: init,
        container_statuses: main,
        host_ip: facts.addresses.first().cloned(),
        host_ips: Some(
            facts
                .addresses
                .iter()
                .map(|ip| core::HostIP { ip: ip.clone() })
                .collect(),
        ),
        pod_ip: actual.ips.first().cloned(),
        pod_ips: (!actual.ips.is_empty()).then(|| actual.ips.iter().map(|ip| core::PodIP { ip: ip.clone() }).collect()),
        start_time: actual.start_time.map(time),
        qos_class: Some(qos_class(&desired.pod).to_owned()),
        observed_generation: desired.pod.metadata.generation,
        ..core::PodStatus::default()
    }
}

/// A moment as Kubernetes' type.
pub(super) fn time(millis: Millis) -> Time {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    Time(Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn container_status(
    desired: &Desired,
    actual: &Actual,
    spec: &ContainerSpec,
    container: &Container,
) -> core::ContainerStatus {
    let mut started = container.started;
    let mut state = core::ContainerState::default();
    match &container.state {
        State::Running { since } => {
            state.running = Some(core::ContainerStateRunning {
                started_at: Some(time(*since)),
            });
        }
        State::Ended(ended) => state.terminated = Some(terminated(ended)),
        State::Starting(reason) | State::Waiting(reason) => {
            state.waiting = Some(waiting(desired, actual, spec, reason))
        }
    }
    // An init container is ready when it has ended well.
    let mut ready = container.ready;
    if spec.role == Role::Init {
        ready = container.state.ended().is_some_and(|ended| ended.code == 0);
        started = container.state.is_running();
    }
    let image = if container.image.name.is_empty() {
        &spec.image
    } else {
        &container.image.name
    };
    core::ContainerStatus {
        name: spec.name.clone(),
        image: image.clone(),
        image_id: container.image.id.clone(),
        container_id: (!container.container_id.is_empty()).then(|| container.container_id.clone()),
        restart_count: i32::try_from(container.attempt).unwrap_or(i32::MAX),
        ready,
        started: Some(started),
        state: Some(state),
        last_state: container.last.as_ref().map(|ended| core::ContainerState {
            terminated: Some(terminated(ended)),
            ..Default::default()
        }),
        ..core::ContainerStatus::default()
    }
}

fn waiting(desired: &Desired, actual: &Actual, spec: &ContainerSpec, waiting: &Waiting) -> core::ContainerStateWaiting {
    let has_init = desired.containers.iter().any(|c| c.role != Role::Main);
    let (reason, message) = match waiting.reason.as_str() {
        "" if spec.role == Role::Main && has_init && !actual.initialized => ("PodInitializing", actual.trouble.clone()),
        "" if has_init && spec.role != Role::Main => ("PodInitializing", actual.trouble.clone()),
        "" => ("ContainerCreating", actual.trouble.clone()),
        reason => (
            reason,
            Some(waiting.message.clone()).filter(|message| !message.is_empty()),
        ),
    };
    core::ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message,
    }
}

fn terminated(ended: &Ended) -> core::ContainerStateTerminated {
    core::ContainerStateTerminated {
        exit_code: ended.code,
        signal: (ended.signal != 0).then_some(ended.signal),
        reason: Some(ended.reason.clone()),
        message: Some(ended.message.clone()).filter(|message| !message.is_empty()),
        started_at: Some(time(ended.started_at)),
        finished_at: Some(time(ended.finished_at)),
        container_id: Some(ended.container_id.clone()).filter(|id| !id.is_empty()),
    }
}

/// The phase, decided as Kubernetes does.
pub(super) fn phase(desired: &Desired, actual: &Actual) -> &'static str {
    let outcome = |succeeded: bool| if succeeded { "Succeeded" } else { "Failed" };
    if let Some(terminal) = &actual.terminal {
        // A pod that failed while it still runs is shown as it is until it does not.
        let running = actual.is_alive() && terminal.reason.is_none();
        return if running {
            "Running"
        } else {
            outcome(terminal.succeeded)
        };
    }
    let mains = || {
        desired
            .containers
            .iter()
            .zip(&actual.containers)
            .filter(|(spec, _)| spec.role == Role::Main)
    };
    let deleted = actual
        .stop
        .as_ref()
        .is_some_and(|stop| stop.cause == StopCause::Deleted);
    if deleted && !actual.is_alive() && mains().any(|(_, container)| container.state.ended().is_some()) {
        return outcome(mains().all(|(_, container)| container.state.ended().is_some_and(|ended| ended.code == 0)));
    }
    if !actual.initialized {
        return "Pending";
    }
    let began = |container: &Container| match &container.state {
        State::Running { .. } | State::Ended(_) => true,
        State::Starting(_) | State::Waiting(_) => container.last.is_some(),
    };
    if mains().all(|(_, container)| began(container)) {
        "Running"
    } else {
        "Pending"
    }
}

fn conditions(desired: &Desired, actual: &mut Actual, phase: &str, now: Millis) -> Vec<core::PodCondition> {
    let finished = matches!(phase, "Succeeded" | "Failed");
    let unready: Vec<&str> = names(desired, actual, |spec, c| spec.role != Role::Init && !c.ready);
    let incomplete: Vec<&str> = names(desired, actual, |spec, c| match spec.role {
        Role::Init => c.state.ended().is_none_or(|ended| ended.code != 0),
        Role::Sidecar => !c.started,
        Role::Main => false,
    });
    let because = |reason: &str, message: String| (Some(reason.to_owned()), Some(message));
    let nothing = (None, None);
    let completed = finished.then(|| {
        (
            Some(format!("Pod{}", if phase == "Succeeded" { "Completed" } else { phase })),
            None,
        )
    });
    let initialized = match incomplete.as_slice() {
        _ if actual.initialized => (true, nothing.clone()),
        [] => (true, nothing.clone()),
        list => {
            let message = format!("containers with incomplete status: [{}]", list.join(" "));
            (false, because("ContainersNotInitialized", message))
        }
    };
    let containers_ready = match (&completed, unready.as_slice()) {
        (Some(completed), _) => (false, completed.clone()),
        (None, []) => (true, nothing.clone()),
        (None, list) => {
            let message = format!("containers with unready status: [{}]", list.join(" "));
            (false, because("ContainersNotReady", message))
        }
    };
    let gate = containers_ready.0.then(|| closed_gate(desired)).flatten();
    let ready = match gate {
        Some(gate) => {
            let message = format!("the status of pod readiness gate \"{gate}\" is not \"True\"");
            (false, because("ReadinessGatesNotReady", message))
        }
        None => containers_ready.clone(),
    };
    let network = (actual.sandbox == Sandbox::Ready, nothing);
    let named = [
        ("PodReadyToStartContainers", network),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
    ];
    let scheduled = scheduled(desired, actual);
    let mut list: Vec<_> = named
        .into_iter()
        .map(|(name, value)| condition(actual, name, value, now))
        .collect();
    list.push(scheduled);
    list.extend(foreign(desired));
    list
}

fn names<'a>(
    desired: &'a Desired,
    actual: &Actual,
    which: impl Fn(&ContainerSpec, &Container) -> bool,
) -> Vec<&'a str> {
    let pairs = desired.containers.iter().zip(&actual.containers);
    pairs
        .filter(|(spec, container)| which(spec, container))
        .map(|(spec, _)| spec.name.as_str())
        .collect()
}

type Because = (Option<String>, Option<String>);

fn condition(actual: &mut Actual, name: &str, (value, because): (bool, Because), now: Millis) -> core::PodCondition {
    let entry = actual.conditions.entry(name.to_owned()).or_insert((value, now));
    if entry.0 != value {
        *entry = (value, now);
    }
    core::PodCondition {
        type_: name.to_owned(),
        status: if value { "True" } else { "False" }.to_owned(),
        reason: because.0,
        message: because.1,
        last_transition_time: Some(time(entry.1)),
        ..core::PodCondition::default()
    }
}

fn seen(desired: &Desired) -> impl Iterator<Item = &core::PodCondition> {
    desired
        .pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
}

/// Who bound the pod said so; it is kept as it stands.
fn scheduled(desired: &Desired, actual: &Actual) -> core::PodCondition {
    seen(desired)
        .find(|condition| condition.type_ == "PodScheduled")
        .cloned()
        .unwrap_or_else(|| core::PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "True".to_owned(),
            last_transition_time: actual.start_time.map(time),
            ..core::PodCondition::default()
        })
}

const OURS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// Conditions that others wrote.
fn foreign(desired: &Desired) -> impl Iterator<Item = core::PodCondition> + '_ {
    seen(desired)
        .filter(|condition| !OURS.contains(&condition.type_.as_str()))
        .cloned()
}

/// The first readiness gate whose condition does not hold.
fn closed_gate(desired: &Desired) -> Option<&str> {
    let gates = desired.pod.spec.as_ref()?.readiness_gates.as_ref()?;
    let open = |name: &str| seen(desired).any(|condition| condition.type_ == name && condition.status == "True");
    gates
        .iter()
        .map(|gate| gate.condition_type.as_str())
        .find(|name| !open(name))
}

/// `Guaranteed` where every container's limits are its requests, `BestEffort` where nothing is asked for, else
/// `Burstable`. As in Kubernetes, nought is nothing, quantities are compared by what they are worth, and where only a limit
/// is given the request is the same.
pub fn qos_class(pod: &core::Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let (mut asks, mut guaranteed) = (false, true);
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let resources = container.resources.clone().unwrap_or_default();
        for name in ["cpu", "memory"] {
            let worth = |list: &Option<BTreeMap<String, Quantity>>| {
                let text = &list.as_ref()?.get(name)?.0;
                // In millis either would do, but memory counted in them may be more than a number holds.
                let read = if name == "cpu" {
                    quantity::millis
                } else {
                    quantity::units
                };
                read(text).ok().filter(|worth| *worth != 0)
            };
            let (limit, request) = (worth(&resources.limits), worth(&resources.requests));
            asks |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (asks, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::qos_class;
    use serde_json::{Value, json};

    fn of(resources: &[Value]) -> &'static str {
        let container = |resources: &Value| json!({"name": "c", "resources": resources});
        let containers: Vec<_> = resources.iter().map(container).collect();
        qos_class(&serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap())
    }

    #[test]
    fn quality_of_service_as_kubernetes_says() {
        let whole = || json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let written_otherwise =
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        let half = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}});
        let nought = json!({"limits": {"cpu": "0"}, "requests": {"memory": 0}});
        let others = json!({"limits": {"example.com/gpu": 1}});
        for (resources, class) in [
            (&[json!({})][..], "BestEffort"),
            (&[nought], "BestEffort"),
            (&[others], "BestEffort"),
            (&[whole()], "Guaranteed"),
            (&[written_otherwise, whole()], "Guaranteed"),
            (&[whole(), json!({})], "Burstable"),
            (&[half], "Burstable"),
            (&[json!({"limits": {"memory": "1Gi"}})], "Burstable"),
            (&[json!({"requests": {"cpu": "1m"}})], "Burstable"),
        ] {
            assert_eq!(of(resources), class, "{resources:?}");
        }
    }
}
