//! `up`: a control plane and a node in this process, in the foreground, until a signal ends it.
mod cluster;
mod join;
mod memory;
mod notify;
mod place;
mod ranges;
mod reach;

pub use cluster::{Cluster, Settings};
pub use join::{JoinArgs, join};
pub use place::{install_shim, node_name};

use crate::{
    cli::Global,
    contexts::{self, Contexts},
    print::age,
    terminal,
    verbs::{about::VERSION, compile},
};
use anyhow::{Context, Result};
use clap::Args;
use sampan_server::{enroll::enrolled, schedule::Schedule};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

/// Where the server listens where nobody says.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7443);

/// Between two snapshots.
const LEAST_INTERVAL: Duration = Duration::from_secs(60);

/// Below this the built-in policies alone would fill the state. Bytes.
const LEAST_QUOTA: u64 = 64 << 20;

/// What is said before a server goes on alone.
const ALONE: &str = "--force-new-cluster: this server becomes the only one of the cluster, with what it has. What only the \
    other servers had is lost, though it was acknowledged. Never start those again with their data: two of them could go on \
    as another cluster; empty their data directories and let them join anew. Leave this flag out of the next start";

const EXAMPLES: &str = "Examples:
  sudo sampan up
  sampan up                                   # without root: Wasm workloads only
  sudo sampan up --data-dir /srv/sampan --listen 127.0.0.1:7444 --cluster-name lab
  sudo sampan up --cluster-cidr 10.42.0.0/16,fd42::/56 --service-cidr 10.96.0.0/12,fd96::/112     # dual-stack
  sudo sampan up --insecure-registry 127.0.0.1:5000
  sudo sampan up --snapshot-every 6h --snapshot-keep 8     # backups of itself
  sudo sampan up --force-new-cluster          # all other servers are lost for good: go on with this one alone";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// Where everything is kept [default: /var/lib/sampan as root, else ~/.local/share/sampan]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the server listens [default: as at the join, else 127.0.0.1:7443]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where other machines reach the server [default: as at the join, else as it listens]
    #[arg(long, value_name = "HOST:PORT", default_value = "")]
    advertise: String,
    /// The machine's name, as node and as server [default: the host's]
    #[arg(long)]
    name: Option<String>,
    /// The cluster's name, and that of its context [default: sampan]
    #[arg(long)]
    cluster_name: Option<String>,
    /// The range of the addresses of all pods of a new cluster, with a comma and one of IPv6 for dual-stack [default: 10.42.0.0/16]
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "", hide_default_value = true)]
    cluster_cidr: String,
    /// The range of the addresses of Services of a new cluster, in the same way [default: 10.96.0.0/12]
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "", hide_default_value = true)]
    service_cidr: String,
    /// The range of the addresses of this machine's pods, within the cluster's; not at a join, which gives one [default: as it was
    /// given at the join, else the first /24 (and /64) of the cluster's]
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "", hide_default_value = true, value_parser = pod_cidr)]
    pod_cidr: String,
    /// A registry, HOST:PORT, that is spoken to without TLS
    #[arg(long, value_name = "REGISTRY", value_delimiter = ',')]
    insecure_registry: Vec<String>,
    /// A file with authorities of registries, in PEM
    #[arg(long, value_name = "FILE")]
    registry_ca: Vec<PathBuf>,
    /// A Docker config file with credentials for registries
    #[arg(long, value_name = "FILE")]
    registry_auth: Option<PathBuf>,
    /// The node's port for Ingresses, opened when there is one; 0: none
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    ingress_http: u16,
    /// The same with TLS
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    ingress_https: u16,
    /// Serve the node's figures for Prometheus, in plain HTTP, at an address of the loopback
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    metrics: Option<SocketAddr>,
    /// Do without root even if this is root
    #[arg(long)]
    rootless: bool,
    /// The control plane alone, without a node
    #[arg(long)]
    no_agent: bool,
    /// How large the cluster's state may become, before nothing more can be added [default: 8Gi]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    quota: Option<u64>,
    /// Take a snapshot at full intervals of the clock: with 6h at 00:00, 06:00, … UTC
    #[arg(long, value_name = "TIME", value_parser = interval)]
    snapshot_every: Option<Duration>,
    /// How many of them are kept
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    snapshot_keep: u16,
    /// Where they are written [default: `snapshots` in the data directory]
    #[arg(long, value_name = "DIR")]
    snapshot_dir: Option<PathBuf>,
    /// The silence after which a node counts as lost, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    node_monitor_grace_period: u64,
    /// Go on alone with what this server has, when a majority of the servers is lost for good
    #[arg(long)]
    force_new_cluster: bool,
    /// End the pods when this ends
    #[arg(long)]
    stop_pods: bool,
}

/// A time between two snapshots.
fn interval(text: &str) -> Result<Duration, String> {
    let time = age::parse_duration(text)?;
    match time >= LEAST_INTERVAL {
        true => Ok(time),
        false => Err("snapshots are taken a minute apart at the least".to_owned()),
    }
}

/// An address that this machine alone can reach.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "expected one as in 127.0.0.1:9444".to_owned())?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(
            "figures are served in the clear, for this machine alone: choose an address as in 127.0.0.1:9444"
                .to_owned(),
        ),
    }
}

/// The range of a node's pods.
fn pod_cidr(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        sampan_api::dual::of_node(text)?;
    }
    Ok(text.to_owned())
}

/// A size as Kubernetes writes it.
fn size(text: &str) -> Result<u64, String> {
    let bytes = sampan_api::quantity::units(text).map_err(|error| error.to_string())?;
    let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes >= LEAST_QUOTA);
    bytes.ok_or_else(|| format!("at least {} Mi are needed", LEAST_QUOTA >> 20))
}

/// Where a cluster's data is where nobody says: as root `/var/lib/sampan`, else in the user's data directory.
///
/// # Errors
/// If there is no home.
pub fn data_dir(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return std::path::absolute(given).with_context(|| format!("{} is no path", given.display()));
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/sampan".into());
    }
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|data| Path::new(data).is_absolute()) {
        return Ok(Path::new(&data).join("sampan"));
    }
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    Ok(home
        .context("no home directory is known: set HOME or --data-dir")?
        .join(".local/share/sampan"))
}

pub async fn run(args: UpArgs, global: &Global) -> Result<()> {
    let stop_pods = args.stop_pods;
    serve(args.settings()?, stop_pods, global).await
}

/// Starts this machine's part, and runs it until a signal ends it.
async fn serve(mut settings: Settings, stop_pods: bool, global: &Global) -> Result<()> {
    let started = Instant::now();
    place::raise_file_limit();
    // Before anything is started: a signal that comes early is kept, and does not end this in the middle.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let config = contexts::path(global.config.as_deref())?;
    // A file of contexts that is malformed is better said now than overwritten.
    let mut contexts = Contexts::load(&config)?;
    if settings.force_new_cluster {
        terminal::warn(ALONE);
    }
    settings.compiler = compile::apart();
    let cluster = Cluster::start(settings).await?;
    let access = cluster.access();
    // Before it says that it is ready: who waits for the word has a context then.
    if cluster.serves() {
        contexts.put(&access);
        contexts.save(&config)?;
    }
    println!(
        "sampan {VERSION}: cluster \"{}\" is ready on {} after {:.0} ms{}",
        access.context,
        access.server,
        started.elapsed().as_secs_f64() * 1000.0,
        cluster.node_word(),
    );
    if cluster.serves() {
        println!(
            "context \"{}\" is in {}: try `sampan get nodes`, `sampan apply -f FILE`",
            access.context,
            config.display()
        );
    }
    terminal::flush();
    notify::ready();
    let settling = tokio::spawn(memory::settle());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    settling.abort();
    notify::stopping();
    match stop_pods {
        true => println!("stopping, with the pods"),
        false => println!("stopping; workloads run on, and the next `sampan up` finds them (--stop-pods ends them)"),
    }
    tokio::select! {
        () = cluster.stop(stop_pods) => {}
        // Whoever asks twice means at once. Nothing acknowledged is lost by it.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

impl UpArgs {
    pub(crate) fn settings(self) -> Result<Settings> {
        let data = data_dir(self.data_dir.as_deref())?;
        // A restored cluster is called as the restore was told.
        let kept = sampan_server::backup::names(&data)?;
        let name = self.name.or(kept.name).unwrap_or_else(place::host_name);
        let cluster_name = self.cluster_name.or(kept.cluster_name);
        // Who has joined goes on where it was, unless it is told another place.
        let joined = enrolled(&data)?.filter(|_| self.listen.is_none() && self.advertise.is_empty());
        let (listen, advertise) = joined
            .map(|joined| (joined.listen, joined.advertise))
            .unwrap_or_default();
        let dir = self.snapshot_dir.unwrap_or_else(|| data.join("snapshots"));
        let snapshots = self.snapshot_every.map(|every| Schedule {
            every,
            keep: usize::from(self.snapshot_keep),
            dir,
        });
        Ok(Settings {
            listen: self.listen.or(listen.parse().ok()).unwrap_or(LISTEN),
            advertise: match self.advertise.is_empty() {
                true => advertise,
                false => self.advertise,
            },
            name: place::node_name(&name)?,
            cluster_name: place::node_name(cluster_name.as_deref().unwrap_or("sampan"))?,
            ranges: ranges::read(&self.cluster_cidr, &self.service_cidr)?,
            pod_cidr: self.pod_cidr,
            insecure_registries: self.insecure_registry,
            registry_ca: self.registry_ca,
            registry_auth: self.registry_auth,
            rootless: self.rootless || !rustix::process::geteuid().is_root(),
            ingress_ports: (self.ingress_http, self.ingress_https),
            metrics: self.metrics,
            agent: !self.no_agent,
            quota_bytes: self.quota.unwrap_or(sampan_server::QUOTA),
            node_grace: Duration::from_secs(self.node_monitor_grace_period),
            snapshots,
            force_new_cluster: self.force_new_cluster,
            ..Settings::new(data)
        })
    }
}
