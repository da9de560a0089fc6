//! A cluster of one: the server and an agent in this process, which speak to each other as if they were not.
use super::place;
use crate::{
    contexts::Access,
    doc::is_true,
    session::{Seen, Session},
    terminal,
};
use anyhow::{Context, Result};
use sampan_api::{
    DEFAULT_NAMESPACE,
    plugin::{DEFAULT_SCHEDULER, Mode, World},
    rpc,
};
use sampan_node::{Agent, AgentConfig};
use sampan_server::{BuiltinPlugin, Server, ServerConfig};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// A node that is not ready after this time is said to be late; it may still come.
const PATIENCE: Duration = Duration::from_secs(15);

/// The scheduler that decides until someone activates another.
const FIRST_SCHEDULER: &str = "spread";

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data: PathBuf,
    pub listen: SocketAddr,
    /// The node's.
    pub name: String,
    pub cluster_name: String,
    /// `10.42.0.0/24`
    pub pod_cidr: String,
    /// The cgroup below which pods have theirs.
    pub cgroup: String,
    pub insecure_registries: Vec<String>,
    pub registry_ca: Vec<PathBuf>,
    pub registry_auth: Option<PathBuf>,
    pub rootless: bool,
    /// Without: the control plane alone.
    pub agent: bool,
}

impl Settings {
    /// One that lives in a directory, with defaults for the rest and any port of the loopback.
    pub fn new(data: PathBuf) -> Self {
        Settings {
            data,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            name: "local".to_owned(),
            cluster_name: "sampan".to_owned(),
            pod_cidr: "10.42.0.0/24".to_owned(),
            cgroup: "sampan".to_owned(),
            insecure_registries: Vec::new(),
            registry_ca: Vec::new(),
            registry_auth: None,
            rootless: !rustix::process::geteuid().is_root(),
            agent: true,
        }
    }
}

/// A cluster that runs.
pub struct Cluster {
    server: Server,
    agent: Option<Agent>,
    access: Access,
    node: String,
    rootless: bool,
}

impl Cluster {
    /// Starts a cluster, or the one that was in the directory before; returns when its node is ready.
    ///
    /// # Errors
    /// Whatever keeps it from running: a directory that another has, a port in use, a log that is damaged.
    pub async fn start(settings: Settings) -> Result<Self> {
        // Someone may have installed it already; any is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        place::prepare(&settings.data)?;
        let server = Server::start(server_config(&settings))
            .await
            .context("the control plane cannot start")?;
        let access = access(&settings, &server)?;
        let mut cluster = Cluster {
            server,
            agent: None,
            access,
            node: settings.name.clone(),
            rootless: settings.rootless,
        };
        if settings.agent {
            match cluster.start_agent(&settings).await {
                Ok(agent) => cluster.agent = Some(agent),
                Err(error) => {
                    cluster.stop(false).await;
                    return Err(error);
                }
            }
            cluster.until_ready().await?;
        }
        Ok(cluster)
    }

    async fn start_agent(&self, settings: &Settings) -> Result<Agent> {
        let shim = place::install_shim(&settings.data)?;
        let keys = self
            .server
            .authority()
            .issue_node(&settings.name, &[settings.listen.ip().to_string()])?;
        let mut config = AgentConfig::new(settings.data.join("node"), &settings.name, &self.access.server);
        config.cache = settings.data.join("cache/wasm");
        config.ca_pem.clone_from(&self.access.ca_pem);
        config.cert_pem = keys.cert_pem;
        config.key_pem = keys.key_pem;
        config.shim = shim;
        config.sampan = std::env::current_exe().context("the path of this binary is not known")?;
        config.pod_cidr.clone_from(&settings.pod_cidr);
        config.cgroup.clone_from(&settings.cgroup);
        config.rootless = settings.rootless;
        config.insecure_registries.clone_from(&settings.insecure_registries);
        config.registry_ca.clone_from(&settings.registry_ca);
        config.registry_auth.clone_from(&settings.registry_auth);
        Agent::start(config).await.context("the node cannot start")
    }

    /// Waits for the node's own word that it takes pods.
    async fn until_ready(&self) -> Result<()> {
        let session = Session::open(&self.access, PATIENCE)?;
        let field_selector = format!("metadata.name={}", self.node);
        let selection = rpc::Selection {
            resource: "nodes".to_owned(),
            field_selector,
            ..rpc::Selection::default()
        };
        let mut watcher = session.watch(selection, 0);
        let ready = async {
            loop {
                match watcher.next().await? {
                    Seen::Added(node) | Seen::Modified(node) if is_true(&node.value, "Ready") => return Ok(()),
                    _ => {}
                }
            }
        };
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(result) => result,
            Err(_) => {
                terminal::warn(&format!(
                    "node {} is not ready after {PATIENCE:?}: `sampan describe node` may say why",
                    self.node
                ));
                Ok(())
            }
        }
    }

    /// The admin's way to it.
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// What to say of its node.
    pub(super) fn node_word(&self) -> String {
        match (&self.agent, self.rootless) {
            (None, _) => ", without a node".to_owned(),
            (Some(_), false) => format!(", with node {}", self.node),
            (Some(_), true) => format!(", with node {} (no root: Wasm workloads only)", self.node),
        }
    }

    /// Ends it; the pods go on unless they are to end.
    pub async fn stop(self, stop_pods: bool) {
        if let Some(agent) = self.agent {
            agent.shutdown(stop_pods).await;
        }
        self.server.shutdown().await;
    }
}

fn server_config(settings: &Settings) -> ServerConfig {
    let mut config = ServerConfig::new(
        settings.data.join("server"),
        settings.data.join("cache"),
        settings.listen,
    );
    config.cluster_name.clone_from(&settings.cluster_name);
    config.builtin_plugins = sampan_builtin::PLUGINS.iter().map(builtin).collect();
    config
}

/// A policy that the binary carries. Each controller fills the slot of its name; of the schedulers one decides, and the
/// others stand by.
fn builtin(&(name, bytes): &'static sampan_builtin::Component) -> BuiltinPlugin {
    let (world, slot, mode) = match name {
        FIRST_SCHEDULER => (World::Scheduler, DEFAULT_SCHEDULER, Mode::Active),
        "binpack" => (World::Scheduler, DEFAULT_SCHEDULER, Mode::Standby),
        controller => (World::Controller, controller, Mode::Active),
    };
    BuiltinPlugin {
        name,
        world,
        slot,
        bytes,
        mode,
    }
}

fn access(settings: &Settings, server: &Server) -> Result<Access> {
    let keys = server.authority().issue_admin()?;
    let mut address = server.local_addr();
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok(Access {
        context: settings.cluster_name.clone(),
        server: format!("https://{address}"),
        tls_server_name: String::new(),
        namespace: DEFAULT_NAMESPACE.to_owned(),
        ca_pem: server.authority().ca_pem().to_owned(),
        cert_pem: keys.cert_pem,
        key_pem: keys.key_pem,
    })
}
