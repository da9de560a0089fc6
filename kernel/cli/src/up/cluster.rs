//! A cluster of one: the server and an agent in this process, which speak to each other as if they were not.
use super::{place, ranges, reach};
use crate::{
    contexts::Access,
    doc::is_true,
    session::{Seen, Session},
    terminal,
};
use anyhow::{Context, Result, bail};
use sampan_api::{DEFAULT_NAMESPACE, SERVERS_HOST, dual::ClusterRanges, rpc};
use sampan_node::{Agent, AgentConfig, Places};
use sampan_sandbox::Compiler;
use sampan_server::{
    BuiltinPlugin, KeyPair, Lifetimes, Server, ServerConfig,
    enroll::{Enrolled, enrolled, node_file, node_identity},
    schedule::Schedule,
    token::Role,
};
use sampan_tls::{Certificate, Validity};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// A node that is not ready after this time is said to be late; it may still come.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data: PathBuf,
    pub listen: SocketAddr,
    /// Where other machines reach the server, `HOST:PORT`; empty: as it listens.
    pub advertise: String,
    /// The machine's, as node and as server.
    pub name: String,
    pub cluster_name: String,
    /// The ranges that a new cluster is made with, or that the old one must have.
    pub ranges: Option<ClusterRanges>,
    /// `10.42.0.0/24`, or one of each family; empty: as it was given at the join, else the first of the cluster's.
    pub pod_cidr: String,
    /// The cgroup below which pods have theirs.
    pub cgroup: String,
    pub insecure_registries: Vec<String>,
    pub registry_ca: Vec<PathBuf>,
    pub registry_auth: Option<PathBuf>,
    pub rootless: bool,
    /// The ports of Ingresses, for HTTP and for HTTPS; 0: none.
    pub ingress_ports: (u16, u16),
    /// Where the node's figures are served for Prometheus.
    pub metrics: Option<SocketAddr>,
    /// Without: the control plane alone.
    pub agent: bool,
    /// How many bytes the state may take.
    pub quota_bytes: u64,
    /// The silence after which a node counts as lost.
    pub node_grace: Duration,
    /// When snapshots are taken.
    pub snapshots: Option<Schedule>,
    /// The other servers are lost: this one goes on alone with what it has.
    pub force_new_cluster: bool,
    /// How long the certificates live that its server issues.
    pub lifetimes: Lifetimes,
    /// Who compiles Wasm. The process itself, unless it is one that has the `__compile` subcommand.
    pub compiler: Compiler,
}

impl Settings {
    /// One that lives in a directory, with defaults for the rest and any port of the loopback.
    pub fn new(data: PathBuf) -> Self {
        Settings {
            data,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: String::new(),
            name: "local".to_owned(),
            cluster_name: "sampan".to_owned(),
            ranges: None,
            pod_cidr: String::new(),
            cgroup: "sampan".to_owned(),
            insecure_registries: Vec::new(),
            registry_ca: Vec::new(),
            registry_auth: None,
            rootless: !rustix::process::geteuid().is_root(),
            ingress_ports: (0, 0),
            metrics: None,
            agent: true,
            quota_bytes: sampan_server::QUOTA,
            node_grace: sampan_server::NODE_GRACE,
            snapshots: None,
            force_new_cluster: false,
            lifetimes: Lifetimes::default(),
            compiler: Compiler::default(),
        }
    }
}

/// This machine's part of a cluster: a server, a node, or both.
pub struct Cluster {
    /// None: it has joined as node only.
    server: Option<Server>,
    agent: Option<Agent>,
    /// The administrator's way to it, or for a node alone its own.
    access: Access,
    node: String,
    rootless: bool,
}

impl Cluster {
    /// Starts a cluster, or the one that was in the directory before; returns when its node is ready.
    ///
    /// # Errors
    /// Whatever keeps it from running: a directory that another has, a port in use, a log that is damaged.
    pub async fn start(mut settings: Settings) -> Result<Self> {
        // Someone may have installed it already; any is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        place::prepare(&settings.data)?;
        let enrolled = enrolled(&settings.data)?;
        if let Some(enrolled) = enrolled
            .as_ref()
            .filter(|enrolled| enrolled.role == Role::Node.as_str())
        {
            if settings.force_new_cluster {
                bail!("this machine is a node and keeps no state: --force-new-cluster is for a server that is left");
            }
            return Self::start_node(&settings, enrolled).await;
        }
        if let Some(enrolled) = &enrolled {
            settings.ranges = Some(ranges::of_joined(settings.ranges, enrolled)?);
        }
        ranges::check(&settings)?;
        if settings.pod_cidr.is_empty() {
            settings.pod_cidr = enrolled.as_ref().map_or(String::new(), |own| own.pod_cidr.clone());
        }
        let unsaid = settings.pod_cidr.is_empty();
        if unsaid {
            settings.pod_cidr = ranges::first_pods(settings.ranges.unwrap_or_default());
        }
        let joined = enrolled.is_some();
        let server = Server::start(server_config(&settings, enrolled))
            .await
            .context("the control plane cannot start")?;
        if !joined {
            // What was said when the cluster was made need not be said again.
            settings.ranges = Some(server.ranges());
        }
        if unsaid {
            settings.pod_cidr = ranges::first_pods(settings.ranges.unwrap_or_default());
        }
        let access = access(&settings, &server)?;
        let mut cluster = Cluster {
            server: Some(server),
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

    /// A node of a cluster whose servers are elsewhere.
    async fn start_node(settings: &Settings, enrolled: &Enrolled) -> Result<Self> {
        ranges::check_given(&settings.pod_cidr, enrolled)?;
        let (ca_pem, keys) = node_identity(&settings.data)?;
        let access = Access {
            context: enrolled.cluster_name.clone(),
            server: enrolled.servers.join(","),
            tls_server_name: SERVERS_HOST.to_owned(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            ca_pem,
            cert_pem: keys.cert_pem.clone(),
            key_pem: keys.key_pem.clone(),
        };
        let mut cluster = Cluster {
            server: None,
            agent: None,
            access,
            node: enrolled.name.clone(),
            rootless: settings.rootless,
        };
        let settings = Settings {
            ranges: Some(ranges::of_joined(settings.ranges, enrolled)?),
            pod_cidr: enrolled.pod_cidr.clone(),
            name: enrolled.name.clone(),
            ..settings.clone()
        };
        let mut config = cluster.agent_config(&settings, keys)?;
        let mut local = None;
        for server in &enrolled.servers {
            local = local.or(reach::way_to(server).await.ok());
        }
        config.address = settings.advertise.parse().ok().or(local);
        // Servers are on other machines: they ask for logs, and bring images.
        let own = config.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        config.listen = reach::node_listens(own).await;
        config.overlay = reach::overlay_listens(config.listen.ip()).await;
        config.ingress = ingress(settings.ingress_ports, config.listen.ip());
        config.identity_file = Some(node_file(&settings.data));
        let over = Certificate::of_pem(&config.cert_pem)?.validity(jiff::Timestamp::now()) == Validity::Over;
        cluster.agent = Some(Agent::start(config).await.context("the node cannot start")?);
        // Nobody would hear it; the agent keeps its pods, and says what to do.
        if !over && let Err(error) = cluster.until_ready().await {
            // Its pods and their network are as they were when it was last told.
            terminal::warn(&format!(
                "no server says whether node {} is ready ({error:#}): it goes on with what it knows, and keeps asking",
                cluster.node
            ));
        }
        Ok(cluster)
    }

    async fn start_agent(&self, settings: &Settings) -> Result<Agent> {
        let server = self.server.as_ref().context("there is no server here")?;
        let host = server.advertised().rsplit_once(':').map_or("", |(host, _)| host);
        let addresses = [settings.listen.ip().to_string(), host.to_owned()];
        let keys = server.authority().issue_node(&settings.name, &addresses)?;
        let mut config = self.agent_config(settings, keys)?;
        config.control_plane = true;
        if let Ok(address) = host
            .parse::<IpAddr>()
            .map_err(drop)
            .and_then(|ip| match ip.is_loopback() {
                true => Err(()),
                false => Ok(ip),
            })
        {
            config.listen = SocketAddr::new(address, 0);
            config.overlay = reach::overlay_listens(address).await;
        }
        config.ingress = ingress(settings.ingress_ports, config.listen.ip());
        Agent::start(config).await.context("the node cannot start")
    }

    fn agent_config(&self, settings: &Settings, keys: KeyPair) -> Result<AgentConfig> {
        let mut config = AgentConfig::new(settings.data.join("node"), &settings.name, &self.access.server);
        config.cache = settings.data.join("cache/wasm");
        config.ca_pem.clone_from(&self.access.ca_pem);
        config.cert_pem = keys.cert_pem;
        config.key_pem = keys.key_pem;
        config.shim = place::install_shim(&settings.data)?;
        config.sampan = std::env::current_exe().context("the path of this binary is not known")?;
        config.pod_cidr.clone_from(&settings.pod_cidr);
        config.ranges = settings.ranges.unwrap_or_default();
        config.cgroup.clone_from(&settings.cgroup);
        config.rootless = settings.rootless;
        config.compiler = settings.compiler.clone();
        config.metrics = settings.metrics;
        config.insecure_registries.clone_from(&settings.insecure_registries);
        config.registry_ca.clone_from(&settings.registry_ca);
        config.registry_auth.clone_from(&settings.registry_auth);
        Ok(config)
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
            (Some(_), false) if self.server.is_none() => format!(", with this machine as node {}", self.node),
            (Some(_), false) => format!(", with node {}", self.node),
            (Some(_), true) => format!(", with node {} (no root: Wasm workloads only)", self.node),
        }
    }

    /// Ends it; the pods go on unless they are to end.
    pub async fn stop(self, stop_pods: bool) {
        if let Some(agent) = self.agent {
            agent.shutdown(stop_pods).await;
        }
        if let Some(server) = self.server {
            server.shutdown().await;
        }
    }

    /// Whether the control plane runs here, too.
    pub fn serves(&self) -> bool {
        self.server.is_some()
    }
}

/// Where Ingresses are answered: on the node's address.
fn ingress((http, https): (u16, u16), address: IpAddr) -> Places {
    let at = |port: u16| (port > 0).then(|| SocketAddr::new(address, port)).into_iter().collect();
    Places {
        http: at(http),
        https: at(https),
    }
}

fn server_config(settings: &Settings, enrolled: Option<Enrolled>) -> ServerConfig {
    let mut config = ServerConfig::new(
        settings.data.join("server"),
        settings.data.join("cache"),
        settings.listen,
    );
    match &enrolled {
        Some(enrolled) => {
            config.cluster_name.clone_from(&enrolled.cluster_name);
            config.name.clone_from(&enrolled.name);
        }
        None => {
            config.cluster_name.clone_from(&settings.cluster_name);
            config.name.clone_from(&settings.name);
        }
    }
    config.enrolled = enrolled;
    config.alone = settings.force_new_cluster;
    config.quota_bytes = settings.quota_bytes;
    config.node_grace = settings.node_grace;
    config.snapshots.clone_from(&settings.snapshots);
    config.advertise.clone_from(&settings.advertise);
    if settings.agent && !settings.rootless {
        config.pod_cidr.clone_from(&settings.pod_cidr);
    }
    config.ranges = settings.ranges;
    config.lifetimes = settings.lifetimes;
    config.compiler = settings.compiler.clone();
    let builtins = sampan_builtin::PLUGINS.iter();
    config.builtin_plugins = builtins
        .map(|(name, bytes)| BuiltinPlugin::named(name, bytes))
        .collect();
    config
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
        tls_server_name: SERVERS_HOST.to_owned(),
        namespace: DEFAULT_NAMESPACE.to_owned(),
        ca_pem: server.authority().ca_pem().to_owned(),
        cert_pem: keys.cert_pem,
        key_pem: keys.key_pem,
    })
}
