//! What all parts of the agent share: the node, its stores and where things are.
use super::{record::Records, table::Input, view::Views};
use crate::{
    config::AgentConfig,
    control::{ControlPlane, Identity, Writer},
    host::Clock,
    images::Images,
    net::{AddressPool, Addresses, Bandwidth, ClusterDns, Wire},
    network::{LocalPod, Network, host_ports},
    pod::{Facts, Sources, sources::Wanted},
    reconcile::{Desired, NodeFacts, Report},
    whereabouts::Whereabouts,
};
use parking_lot::Mutex;
use sampan_api::{ApiError, Key, Object};
use sampan_sandbox::ipam;
use sampan_tls::{Credentials, Renewer};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::mpsc;

/// Objects kept for when the control plane is away.
const MAX_KEPT: usize = 1024;

/// The node.
pub struct Node {
    pub config: AgentConfig,
    pub plane: ControlPlane,
    /// What the node shows, and who renews it.
    pub credentials: Arc<Credentials>,
    pub renewer: Renewer,
    pub identity: Identity,
    pub whereabouts: Whereabouts,
    pub images: Images,
    pub addresses: Arc<Mutex<AddressPool>>,
    pub writer: Writer,
    pub records: Records,
    pub views: Views,
    pub clock: Clock,
    pub mtu: u32,
    /// The lowest `oom_score_adj` that this process may give.
    pub oom_floor: i32,
    /// The node's addresses towards its pods.
    pub gateway: Addresses,
    /// What pods are told of the cluster's DNS.
    pub dns: ClusterDns,
    /// None: without root there is none but the machine's own.
    pub network: Option<Network>,
    pub inputs: mpsc::UnboundedSender<Input>,
    /// The config maps and secrets that pods were given last.
    pub kept: Mutex<HashMap<Key, Object>>,
}

impl Node {
    /// A pod's directory: its record, its logs, its volumes, its shim's own directory.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.pods_dir().join(uid)
    }

    pub fn shim_dir(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join("shim")
    }

    pub fn volumes_dir(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join("volumes")
    }

    /// What containers wrote over their images.
    pub fn rootfs_dir(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join("rootfs")
    }

    /// `hosts`, `hostname`, `resolv.conf`.
    pub fn etc_dir(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join("etc")
    }

    /// The newest log file of a run; older ones are beside it with `.1`, `.2` …
    pub fn log_path(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod_dir(uid)
            .join("logs")
            .join(container)
            .join(format!("{attempt}.log"))
    }

    /// The pod's cgroup, below every controller's mount.
    pub fn cgroup(&self, uid: &str) -> String {
        format!("{}/{uid}", self.config.cgroup)
    }

    /// Whose interfaces are whose.
    pub fn wire_owner(&self) -> String {
        self.config.data.to_string_lossy().into_owned()
    }

    pub fn wire(&self, uid: &str, addresses: Addresses) -> Wire {
        Wire {
            owner: self.wire_owner(),
            uid: uid.to_owned(),
            addresses,
            node: self.gateway,
            mtu: self.mtu,
            bandwidth: Bandwidth::default(),
        }
    }

    /// A pod with a wire, as the network knows it.
    pub fn local_pod(&self, desired: &Desired, addresses: Addresses) -> LocalPod {
        LocalPod {
            uid: desired.uid.clone(),
            namespace: desired.namespace.clone(),
            name: desired.name.clone(),
            interface: self.wire(&desired.uid, addresses).name(),
            addresses,
            host_ports: host_ports(&desired.pod),
        }
    }

    /// The addresses of a pod with a network of its own.
    ///
    /// # Errors
    /// Why it gets none.
    pub async fn claim(&self, desired: &Desired) -> Result<Addresses, String> {
        match &self.network {
            Some(network) => network.claim(claimant(desired)).await,
            None => {
                let claimed = self.addresses.lock().claim(&desired.uid);
                claimed.map_err(|error| error.to_string())
            }
        }
    }

    /// A pod needs its addresses no more.
    pub async fn release(&self, uid: &str) {
        match &self.network {
            Some(network) => network.release(uid).await,
            None => self.addresses.lock().release(uid),
        }
    }

    pub fn facts(&self, pod_ips: Vec<String>) -> Facts {
        Facts {
            pod_ips,
            host_ips: self.whereabouts.texts(),
            node_milli_cpu: self.identity.milli_cpu,
            node_memory: self.identity.memory,
        }
    }

    pub fn status_facts(&self) -> NodeFacts {
        NodeFacts {
            addresses: self.whereabouts.texts(),
        }
    }

    pub fn report(&self, uid: &str, report: Report) {
        let _ = self.inputs.send(Input::Report {
            uid: uid.to_owned(),
            report,
        });
    }

    /// Fetches what a pod names. While the control plane is away, what was fetched last does.
    ///
    /// # Errors
    /// The control plane is away and an object was never fetched.
    pub async fn sources(&self, namespace: &str, wanted: &Wanted) -> Result<Sources, ApiError> {
        let mut sources = Sources {
            namespace: namespace.to_owned(),
            ..Sources::default()
        };
        if let Some(network) = &self.network {
            sources.services = network.services(namespace).await;
        }
        if wanted.is_empty() {
            return Ok(sources);
        }
        let keys = |resource: &'static str, names: &std::collections::BTreeSet<String>| {
            names
                .iter()
                .map(|name| Key::new(resource, namespace, name))
                .collect::<Vec<_>>()
        };
        let config_maps = keys("configmaps", &wanted.config_maps);
        let secrets = keys("secrets", &wanted.secrets);
        let (config_maps, secrets) = futures::try_join!(self.fetch_all(config_maps), self.fetch_all(secrets))?;
        for object in config_maps {
            sources
                .config_maps
                .insert(object.metadata.name.clone(), object.typed()?);
        }
        for object in secrets {
            sources.secrets.insert(object.metadata.name.clone(), object.typed()?);
        }
        Ok(sources)
    }

    async fn fetch_all(&self, keys: Vec<Key>) -> Result<Vec<Object>, ApiError> {
        let all = futures::future::try_join_all(keys.into_iter().map(|key| self.fetch(key))).await?;
        Ok(all.into_iter().flatten().collect())
    }

    async fn fetch(&self, key: Key) -> Result<Option<Object>, ApiError> {
        match self.plane.get(&key).await {
            Ok(Some(object)) => {
                let mut kept = self.kept.lock();
                if kept.len() >= MAX_KEPT {
                    kept.clear();
                }
                kept.insert(key, object.clone());
                Ok(Some(object))
            }
            Ok(None) => {
                self.kept.lock().remove(&key);
                Ok(None)
            }
            Err(error) => self.kept.lock().get(&key).cloned().map(Some).ok_or(error),
        }
    }
}

/// Of a pod's labels, and of its annotations, whoever gives addresses is told as many bytes. He remembers all pods of the node,
/// and an object may be larger than what he has for one.
const MOST_TOLD: usize = 16 << 10;

/// The longest label or annotation that he is told. Bytes.
const LONGEST_TOLD: usize = 4 << 10;

/// A pod, as whoever gives addresses is told of it.
pub fn claimant(desired: &Desired) -> ipam::Pod {
    let meta = &desired.pod.metadata;
    let pairs = |of: &Option<BTreeMap<String, String>>| {
        let mut left = MOST_TOLD;
        let all = of.iter().flatten();
        let short = all.filter(|(name, value)| name.len() + value.len() <= LONGEST_TOLD);
        let told = short.take_while(|(name, value)| {
            let rest = left.checked_sub(name.len() + value.len());
            left = rest.unwrap_or_default();
            rest.is_some()
        });
        told.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    ipam::Pod {
        namespace: desired.namespace.clone(),
        name: desired.name.clone(),
        uid: desired.uid.clone(),
        labels: pairs(&meta.labels),
        annotations: pairs(&meta.annotations),
    }
}

/// Whether a uid, or a container's name, can name a directory.
pub fn is_uid(uid: &str) -> bool {
    !uid.is_empty() && uid.len() <= 64 && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_pod_as_much_is_told_as_can_be_remembered() {
        let mut pod = k8s_openapi::api::core::v1::Pod::default();
        let mut annotations = BTreeMap::from([
            ("a".to_owned(), "short".to_owned()),
            ("b".to_owned(), "x".repeat(LONGEST_TOLD)),
        ]);
        pod.metadata.labels = Some(BTreeMap::from([("app".to_owned(), "web".to_owned())]));
        pod.metadata.annotations = Some(annotations.clone());
        let told = |pod: &k8s_openapi::api::core::v1::Pod| claimant(&Desired::new(Arc::new(pod.clone())));
        let few = told(&pod);
        assert_eq!(few.labels, [("app".to_owned(), "web".to_owned())]);
        assert_eq!(few.annotations, [("a".to_owned(), "short".to_owned())]);

        annotations.extend((0..1000).map(|number| (format!("c{number}"), "x".repeat(1000))));
        pod.metadata.annotations = Some(annotations);
        let many = told(&pod).annotations;
        let bytes: usize = many.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!((MOST_TOLD - 2000..=MOST_TOLD).contains(&bytes), "{bytes}");
    }
}
