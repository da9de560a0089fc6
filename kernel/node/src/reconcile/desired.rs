//! What is wanted of a pod, read once from its object.
use super::Millis;
use k8s_openapi::{
    api::core::v1::{self as core, Pod},
    apimachinery::pkg::util::intstr::IntOrString,
};
use std::sync::Arc;

/// A pod as the agent has to bring it about.
#[derive(Clone, Debug)]
pub struct Desired {
    pub pod: Arc<Pod>,
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub restart: Restart,
    /// Milliseconds from the stop signal to the kill.
    pub grace: Millis,
    pub deletion: Deletion,
    /// Milliseconds it may be active, from its start time on.
    pub active_deadline: Option<Millis>,
    /// Init containers and sidecars in their order, then the others.
    pub containers: Vec<ContainerSpec>,
}

/// Whether the pod is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    No,
    /// With so many milliseconds of grace from when this was first seen.
    Graceful(Millis),
    /// Its object is gone already.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// An init container that restarts for ever: started in order, then runs beside the others.
    Sidecar,
    Main,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSpec {
    pub name: String,
    pub role: Role,
    pub image: String,
    /// A new start asks the registry again.
    pub pull_always: bool,
    pub startup: Option<Probe>,
    pub liveness: Option<Probe>,
    pub readiness: Option<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    /// As events name it.
    pub fn title(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }
}

/// A probe with Kubernetes' defaults filled in; times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub initial_delay: Millis,
    pub period: Millis,
    pub timeout: Millis,
    pub successes: u32,
    pub failures: u32,
    /// The grace of a container that this probe ends; none: the pod's.
    pub grace: Option<Millis>,
    pub spec: core::Probe,
}

impl Desired {
    /// Whether it has the node's network instead of one of its own.
    pub fn is_on_host(&self) -> bool {
        let spec = self.pod.spec.as_ref();
        spec.is_some_and(|spec| spec.host_network == Some(true))
    }

    /// Reads a pod.
    pub fn new(pod: Arc<Pod>) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let restart = match spec.restart_policy.as_deref() {
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ => Restart::Always,
        };
        let init = spec.init_containers.iter().flatten().map(|container| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            ContainerSpec::new(container, if sidecar { Role::Sidecar } else { Role::Init })
        });
        let containers = init
            .chain(spec.containers.iter().map(|c| ContainerSpec::new(c, Role::Main)))
            .collect();
        let grace = seconds(spec.termination_grace_period_seconds.unwrap_or(30));
        let deletion = match (
            &pod.metadata.deletion_timestamp,
            pod.metadata.deletion_grace_period_seconds,
        ) {
            (None, _) => Deletion::No,
            (Some(_), asked) => Deletion::Graceful(asked.map_or(grace, seconds)),
        };
        Desired {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            restart,
            grace,
            deletion,
            active_deadline: spec.active_deadline_seconds.map(seconds),
            containers,
            pod,
        }
    }

    /// `web_default(uid)`, as Kubernetes' messages name a pod.
    pub fn full_name(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    /// The container as the pod's spec has it.
    pub fn container(&self, index: usize) -> Option<&core::Container> {
        let spec = self.pod.spec.as_ref()?;
        spec.init_containers.iter().flatten().chain(&spec.containers).nth(index)
    }

    /// Where a container of that name is in [`Desired::containers`].
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|container| container.name == name)
    }
}

impl ContainerSpec {
    fn new(container: &core::Container, role: Role) -> Self {
        let image = container.image.clone().unwrap_or_default();
        // Init containers that end have no probes.
        let probe = |probe: &Option<core::Probe>| probe.clone().filter(|_| role != Role::Init).map(Probe::new);
        ContainerSpec {
            name: container.name.clone(),
            role,
            pull_always: pull_policy(container) == "Always",
            image,
            startup: probe(&container.startup_probe),
            liveness: probe(&container.liveness_probe),
            readiness: probe(&container.readiness_probe),
        }
    }

    pub fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
        }
    }
}

/// The pull policy in force: as given, else `Always` for an image without a tag or with the tag `latest`, else
/// `IfNotPresent`, as in Kubernetes.
pub fn pull_policy(container: &core::Container) -> &str {
    if let Some(policy) = container
        .image_pull_policy
        .as_deref()
        .filter(|policy| !policy.is_empty())
    {
        return policy;
    }
    let image = container.image.as_deref().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        _ if image.contains('@') => "IfNotPresent",
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

impl Probe {
    fn new(spec: core::Probe) -> Self {
        let positive = |value: Option<i32>, default: i32| value.filter(|v| *v > 0).unwrap_or(default);
        Probe {
            initial_delay: seconds(spec.initial_delay_seconds.unwrap_or(0).into()),
            period: seconds(positive(spec.period_seconds, 10).into()),
            timeout: seconds(positive(spec.timeout_seconds, 1).into()),
            successes: positive(spec.success_threshold, 1).unsigned_abs(),
            failures: positive(spec.failure_threshold, 3).unsigned_abs(),
            grace: spec.termination_grace_period_seconds.map(seconds),
            spec,
        }
    }
}

/// A port of a probe as a number: names are looked up in the container's ports.
pub fn port_number(port: &IntOrString, container: &core::Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container
                .ports
                .iter()
                .flatten()
                .find(|p| p.name.as_deref() == Some(name));
            named.map(|p| p.container_port).or_else(|| name.parse().ok())?
        }
    };
    u16::try_from(number).ok().filter(|n| *n != 0)
}

fn seconds(seconds: i64) -> Millis {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}
