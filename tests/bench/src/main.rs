//! Benchmarks: `cargo run --release -p bench -- NAME [--json]`. Each prints what was measured, its target, and its peer in
//! the same run; a peer that is not there is said to be missing.
mod dns;
mod failover;
mod figure;
mod footprint;
mod lab;
mod overlay;
mod peer;
mod placement;
mod restart;
mod scheduler;
mod service;
mod snapshot;
mod start;
mod store;
mod swap;
mod up;
mod wasm;
mod watch;

use clap::{Parser, ValueEnum};

/// What can be measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Bench {
    /// Starting a container, beside runc; applying a pod until it runs (as root)
    Start,
    /// Memory and CPU of an idle cluster, size of the binary
    Footprint,
    /// Microseconds per pod in the plugin, beside the same code native
    Placement,
    /// Until a swapped policy decides, under a stream of pods
    Swap,
    /// From nothing to a ready control plane
    Up,
    /// Instances and tasks of a Wasm command
    Wasm,
    /// From creating a pod to its binding, in the cases of Kubernetes' scheduler_perf
    Scheduler,
    /// What each of very many nodes and pods costs
    Scale,
    /// Durable puts, reads and lists, beside etcd
    Store,
    /// Ten thousand watchers, beside etcd
    Watch,
    /// From the leader's death to the next write, beside etcd
    Failover,
    /// A million objects: memory and restart, beside etcd
    Restart,
    /// Saving and restoring a state, beside etcd
    Snapshot,
    /// Pods of two nodes, beside VXLAN, WireGuard in user space and a cable (as root)
    Overlay,
    /// Connections to Services, and how soon a new endpoint is connected to (as root)
    Service,
    /// Questions for names of the cluster (as root)
    Dns,
}

#[derive(Debug, Parser)]
struct Args {
    #[arg(value_enum)]
    bench: Bench,
    /// Only cases whose name has this in it; of `store` and `scheduler`
    #[arg(long, default_value = "")]
    case: String,
    /// Of `scheduler` and `swap` [default: 5000], and of `scale` [default: 100000]
    #[arg(long)]
    nodes: Option<usize>,
    /// Of `scheduler`: at most so many are measured [default: 10000]; of `scale` [default: 1000000]
    #[arg(long)]
    pods: Option<usize>,
    /// Of `overlay`: the longest packet on the cable between the hosts, in bytes
    #[arg(long, default_value_t = lab::MTU)]
    mtu: u16,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// As `sampan` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let figures = match args.bench {
        Bench::Start => start::run().await?,
        Bench::Footprint => tokio::task::spawn_blocking(footprint::run).await??,
        Bench::Placement => tokio::task::spawn_blocking(placement::run).await??,
        Bench::Swap => swap::run(args.nodes.unwrap_or(scheduler::NODES)).await?,
        Bench::Up => up::run().await?,
        Bench::Wasm => tokio::task::spawn_blocking(wasm::run).await??,
        Bench::Scheduler => {
            let nodes = args.nodes.unwrap_or(scheduler::NODES);
            scheduler::run(&args.case, nodes, args.pods.unwrap_or(scheduler::PODS)).await?
        }
        Bench::Scale => {
            let nodes = args.nodes.unwrap_or(scheduler::scale::NODES);
            scheduler::scale::run(nodes, args.pods.unwrap_or(scheduler::scale::PODS)).await?
        }
        Bench::Store => store::run(&args.case).await?,
        Bench::Watch => watch::run().await?,
        Bench::Failover => failover::run().await?,
        Bench::Restart => restart::run().await?,
        Bench::Snapshot => snapshot::run().await?,
        Bench::Overlay => tokio::task::spawn_blocking(move || overlay::run(args.mtu)).await??,
        Bench::Service => tokio::task::spawn_blocking(service::run).await??,
        Bench::Dns => tokio::task::spawn_blocking(dns::run).await??,
    };
    figures.iter().for_each(|figure| figure.print(args.json));
    Ok(())
}
