//! The Node object: what this node is, and that it lives.
use super::{Change, ControlPlane, Retry, follow};
use crate::{config::AgentConfig, net::PodCidr, network::Prepared, whereabouts::Whereabouts};
use sampan_api::{ApiError, Key, Object, Operation, Plan, Reason, Write, kinds, rpc, time::Timestamp};
use serde_json::{Value, json};
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

/// What a node is: its object without what changes.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    pub labels: Value,
    /// One of each family, with a comma between them.
    pub pod_cidr: String,
    /// Status without conditions.
    pub status: Value,
    /// Why pods have no network, or not all of it; empty if they have.
    pub lacking: String,
    /// Thousandths of a core, and bytes.
    pub milli_cpu: u64,
    pub memory: u64,
}

impl Identity {
    /// Looks at the machine. `serves` is where the agent answers for logs and images; `network` is what there is of the
    /// network of pods.
    pub fn look(config: &AgentConfig, serves: SocketAddr, network: Option<&Prepared>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let memory = proc_value("/proc/meminfo", "MemTotal:").unwrap_or(0) * 1024;
        let disk = rustix::fs::statvfs(&config.data).map_or(0, |vfs| vfs.f_blocks * vfs.f_frsize);
        // Of pods on the loopback there is no end.
        let room = config.cidr().ok().filter(|_| !config.rootless).map(PodCidr::room);
        let pods = config.max_pods.min(room.unwrap_or(u32::MAX));
        let capacity = json!({
            "cpu": cpus.to_string(),
            "memory": format!("{}Ki", memory / 1024),
            "ephemeral-storage": format!("{}Ki", disk / 1024),
            "pods": pods.to_string(),
        });
        let architecture = architecture();
        let mut endpoints = json!({"kubeletEndpoint": {"Port": serves.port()}});
        if let Some(overlay) = network.and_then(Prepared::listens) {
            endpoints["overlayEndpoint"] = json!({"Port": overlay.port()});
        }
        let status = json!({
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": config.node_address().to_string()},
                {"type": "Hostname", "address": config.name},
            ],
            "daemonEndpoints": endpoints,
            "nodeInfo": {
                "architecture": architecture,
                "bootID": crate::host::boot_id(),
                "containerRuntimeVersion": format!("sampan://{}", env!("CARGO_PKG_VERSION")),
                "kernelVersion": rustix::system::uname().release().to_string_lossy(),
                "kubeProxyVersion": "",
                "kubeletVersion": format!("v{}", env!("CARGO_PKG_VERSION")),
                "machineID": read("/etc/machine-id"),
                "operatingSystem": "linux",
                "osImage": os_image(),
                "systemUUID": read("/sys/class/dmi/id/product_uuid"),
            },
        });
        let mut labels = json!({
            "kubernetes.io/hostname": config.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
        });
        if config.control_plane {
            labels["node-role.kubernetes.io/control-plane"] = "true".into();
        }
        let pod_cidr = if config.rootless {
            String::new()
        } else {
            config.pod_cidr.clone()
        };
        Identity {
            name: config.name.clone(),
            labels,
            pod_cidr,
            status,
            lacking: network.map(|network| network.problems().join("; ")).unwrap_or_default(),
            milli_cpu: cpus * 1000,
            memory,
        }
    }

    /// The same node, elsewhere.
    fn at(&self, whereabouts: &Whereabouts) -> Self {
        let mut moved = self.clone();
        let internal = |address: &IpAddr| json!({"type": "InternalIP", "address": address.to_string()});
        let mut addresses: Vec<Value> = whereabouts.all().iter().map(internal).collect();
        addresses.push(json!({"type": "Hostname", "address": self.name}));
        moved.status["addresses"] = addresses.into();
        moved
    }

    fn key(&self) -> Key {
        Key::new("nodes", "", &self.name)
    }

    /// The status with conditions that say that all is well. `since` is when the node became ready.
    fn status_now(&self, since: u64, now: u64) -> Value {
        let condition = |kind: &str, status: bool, reason: &str, message: &str| {
            json!({
                "type": kind, "status": if status { "True" } else { "False" }, "reason": reason, "message": message,
                "lastHeartbeatTime": Timestamp::from_millis(now), "lastTransitionTime": Timestamp::from_millis(since),
            })
        };
        let mut status = self.status.clone();
        status["conditions"] = json!([
            condition(
                "MemoryPressure",
                false,
                "KubeletHasSufficientMemory",
                "the node has sufficient memory available"
            ),
            condition(
                "DiskPressure",
                false,
                "KubeletHasNoDiskPressure",
                "the node has no disk pressure"
            ),
            condition(
                "PIDPressure",
                false,
                "KubeletHasSufficientPID",
                "the node has sufficient PID available"
            ),
            match self.lacking.as_str() {
                "" => condition("NetworkUnavailable", false, "NetworkIsUp", "pods have their network"),
                lacking => condition("NetworkUnavailable", true, "NetworkIsLacking", lacking),
            },
            condition("Ready", true, "KubeletReady", "the agent is ready"),
        ]);
        status
    }

    fn spec(&self) -> Value {
        if self.pod_cidr.is_empty() {
            return json!({});
        }
        let all: Vec<&str> = self.pod_cidr.split(',').map(str::trim).collect();
        json!({"podCIDR": all[0], "podCIDRs": all})
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// A number of a file with lines as in `MemTotal: 123 kB`.
fn proc_value(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn os_image() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Writes the Node object: creates it, or brings it up to date.
async fn register(plane: &ControlPlane, identity: &Identity, since: u64) -> Result<(), ApiError> {
    let now = crate::host::unix_millis();
    let status = identity.status_now(since, now);
    let kind = kinds::of_resource("nodes").ok_or_else(|| ApiError::internal("nodes are no kind"))?;
    let mut object = Object::new(kind, "", &identity.name);
    if let Ok(labels) = serde_json::from_value(identity.labels.clone()) {
        object.metadata.labels = labels;
    }
    object.set_field("spec", &identity.spec());
    object.set_field("status", &status);
    let one = |operation| Plan::from(Write::new(identity.key(), operation));
    match plane
        .commit(&[one(Operation::Create(object))])
        .await?
        .into_iter()
        .next()
    {
        Some(Err(error)) if error.reason == Reason::AlreadyExists => {
            let merge = json!({"metadata": {"labels": identity.labels}, "spec": identity.spec()});
            let plans = [
                one(Operation::Merge(merge)),
                one(Operation::MergeStatus(json!({"status": status}))),
            ];
            plane.commit(&plans).await?.into_iter().collect()
        }
        Some(result) => result,
        None => Err(ApiError::internal("the control plane gave no result")),
    }
}

/// Keeps the node registered and its heart beating, for ever. `ready` is told of each success.
pub async fn keep_registered(
    plane: ControlPlane,
    identity: Identity,
    whereabouts: Whereabouts,
    ready: watch::Sender<bool>,
) {
    let since = crate::host::unix_millis();
    let mut address = whereabouts.changes();
    let mut retry = Retry::default();
    let mut interval = Duration::MAX;
    loop {
        address.mark_unchanged();
        let identity = identity.at(&whereabouts);
        let result = async {
            register(&plane, &identity, since).await?;
            retry.reset();
            ready.send_replace(true);
            tokio::select! {
                result = beat(&plane, &identity.name, &mut interval) => result,
                result = stay_ready(&plane, &identity, since) => result,
                Ok(()) = address.changed() => Ok(()),
            }
        };
        if let Err(error) = result.await {
            match error.reason {
                Reason::Unavailable | Reason::Timeout => tracing::debug!(%error, "the control plane is away"),
                _ => tracing::warn!(%error, "the control plane does not take this node"),
            }
        }
        // Who stays away for longer than between some beats is missed, also by servers that have all been away themselves.
        retry.limit(interval);
        retry.wait().await;
    }
}

/// One beat for each answer, at the interval the control plane asks for.
async fn beat(plane: &ControlPlane, node: &str, interval: &mut Duration) -> Result<(), ApiError> {
    let (beats, outbound) = mpsc::channel(1);
    let request = || rpc::HeartbeatRequest { node: node.to_owned() };
    let _ = beats.send(request()).await;
    let mut answers = plane
        .nodes()
        .heartbeat(ReceiverStream::new(outbound))
        .await?
        .into_inner();
    while let Some(answer) = answers.message().await? {
        if plane.servers().replace(answer.servers) {
            tracing::info!(servers = ?plane.servers().all(), "the control plane's servers changed");
        }
        *interval = Duration::from_millis(u64::from(answer.interval_ms).clamp(100, 60_000));
        tokio::time::sleep(*interval).await;
        if beats.send(request()).await.is_err() {
            break;
        }
    }
    Err(ApiError::unavailable("the control plane ended the heartbeat"))
}

/// Whoever thought the node dead is told that it lives; a Node object that was deleted is made again.
async fn stay_ready(plane: &ControlPlane, identity: &Identity, since: u64) -> Result<(), ApiError> {
    let (changes, mut seen) = mpsc::channel(8);
    let selection = rpc::Selection {
        resource: "nodes".to_owned(),
        field_selector: format!("metadata.name={}", identity.name),
        ..rpc::Selection::default()
    };
    let watch = follow(plane.clone(), selection, changes);
    let react = async {
        while let Some(change) = seen.recv().await {
            let well = match &change {
                Change::Seen(object) => is_ready(&object.field_value("status")),
                Change::Gone(_) => false,
                Change::Synced(all) => !all.is_empty(),
            };
            if !well {
                register(plane, identity, since).await?;
            }
        }
        Ok(())
    };
    tokio::select! {
        () = watch => Ok(()),
        result = react => result,
    }
}

fn is_ready(status: &Value) -> bool {
    let conditions = status.get("conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_object_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let config = AgentConfig::new(dir.path().to_owned(), "n1", "https://127.0.0.1:1");
        let identity = Identity::look(&config, "127.0.0.1:4711".parse().unwrap(), None);
        assert!(identity.milli_cpu >= 1000 && identity.memory > 1 << 26);
        let status = identity.status_now(1_772_366_400_000, 1_772_366_460_000);
        assert!(is_ready(&status));
        let status: k8s_openapi::api::core::v1::NodeStatus = serde_json::from_value(status).unwrap();
        assert_eq!(status.daemon_endpoints.unwrap().kubelet_endpoint.unwrap().port, 4711);
        assert_eq!(status.addresses.unwrap()[0].address, "127.0.0.1");
        assert!(!status.node_info.unwrap().os_image.is_empty());
    }
}
