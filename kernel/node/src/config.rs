//! What an agent is told when it is started.
use crate::{net::PodCidr, network::Places};
use sampan_api::dual::ClusterRanges;
use sampan_sandbox::Compiler;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// How an agent is to be.
#[derive(Clone)]
pub struct AgentConfig {
    /// The node's own directory: pods, images, a lock.
    pub data: PathBuf,
    /// Where compiled Wasm is kept.
    pub cache: PathBuf,
    /// The node's name in the cluster.
    pub name: String,
    /// Servers of the control plane: `https://10.0.0.1:7443,https://10.0.0.2:7443`.
    pub server: String,
    /// The cluster's authority, and the node's certificate and key; PEM.
    pub ca_pem: String,
    pub cert_pem: String,
    pub key_pem: String,
    /// Where a renewed certificate is kept with its key. None: nowhere, since whoever starts the agent has another for it.
    pub identity_file: Option<PathBuf>,
    /// The shim's binary.
    pub shim: PathBuf,
    /// The binary that has the `__wasm` subcommand.
    pub sampan: PathBuf,
    /// Who compiles Wasm.
    pub compiler: Compiler,
    /// The range of its pods' addresses: `10.42.0.0/24`, or one of each family: `10.42.0.0/24,fd42::/64`.
    pub pod_cidr: String,
    /// Those of the cluster, for all pods and for Services.
    pub ranges: ClusterRanges,
    /// Without root: Wasm alone, on addresses of the loopback.
    pub rootless: bool,
    /// Registries, `host:port`, that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// PEM files of authorities that registries may have besides the system's.
    pub registry_ca: Vec<PathBuf>,
    /// A Docker config file with credentials for registries.
    pub registry_auth: Option<PathBuf>,
    /// Where the control plane reaches the node for logs and images. Port 0: any.
    pub listen: SocketAddr,
    /// The node's address, as its object says it. None: that of `listen`, or of the way to the server.
    pub address: Option<IpAddr>,
    /// Where the overlay listens (UDP). Port 0: any.
    pub overlay: SocketAddr,
    /// Where the node answers for Ingresses.
    pub ingress: Places,
    /// Where the node's figures are served for Prometheus, on the loopback. None: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Whether a server of the control plane runs on this machine, too.
    pub control_plane: bool,
    /// How many pods it takes at the most; no more than its range has addresses for.
    pub max_pods: u32,
    /// The cgroup below which pods have theirs, without a slash before it: `sampan`.
    pub cgroup: String,
    /// The longest a pod may take to end when the node shuts down with its pods.
    pub shutdown_grace: Duration,
}

impl AgentConfig {
    /// With defaults for what need not be said: no root is looked for, no registry is special, any port of the loopback.
    pub fn new(data: PathBuf, name: &str, server: &str) -> Self {
        AgentConfig {
            cache: data.join("cache"),
            shim: data.join("sampan-shim"),
            data,
            name: name.to_owned(),
            server: server.to_owned(),
            ca_pem: String::new(),
            cert_pem: String::new(),
            key_pem: String::new(),
            identity_file: None,
            sampan: PathBuf::from("/proc/self/exe"),
            compiler: Compiler::default(),
            pod_cidr: "10.42.0.0/24".to_owned(),
            ranges: ClusterRanges::default(),
            rootless: !rustix::process::geteuid().is_root(),
            insecure_registries: Vec::new(),
            registry_ca: Vec::new(),
            registry_auth: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            address: None,
            overlay: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ingress: Places::default(),
            metrics: None,
            control_plane: false,
            max_pods: 250,
            cgroup: "sampan".to_owned(),
            shutdown_grace: Duration::from_secs(2),
        }
    }

    pub(crate) fn pods_dir(&self) -> PathBuf {
        self.data.join("pods")
    }

    pub(crate) fn cidr(&self) -> Result<PodCidr, String> {
        self.pod_cidr.parse()
    }

    /// The address that pods and users know the node by.
    pub(crate) fn node_address(&self) -> IpAddr {
        let listen = self.listen.ip();
        self.address.unwrap_or(if listen.is_unspecified() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            listen
        })
    }
}
