//! From the creation of a pod to its binding, as a client sees both: the cases of Kubernetes' scheduler_perf, made through gRPC,
//! on a log that is synced.
pub mod cases;
pub mod cluster;
pub mod scale;
pub mod shapes;

use crate::{
    figure::{Figure, beside, percentile},
    peer::Store,
};
use anyhow::{Result, ensure};
use cases::{CASES, Case};
use cluster::Cluster;
use std::collections::BTreeMap;

/// As many as upstream's cases have.
pub const NODES: usize = 5000;
pub const PODS: usize = 10_000;

/// So many times what upstream demands of itself.
const TARGET: f64 = 50.0;
/// And on the basic case, pods a second.
const TARGET_BASIC: f64 = 20_000.0;

/// Measures the cases whose name has this in it.
pub async fn run(wanted: &str, nodes: usize, pods: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let chosen: Vec<&Case> = CASES.iter().filter(|case| case.name.contains(wanted)).collect();
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    ensure!(
        !chosen.is_empty(),
        "no case has \"{wanted}\" in its name: {}",
        names.join(", ")
    );
    for case in chosen {
        figures.extend(measure(case, nodes, pods).await?);
    }
    Ok(figures)
}

async fn measure(case: &Case, nodes: usize, pods: usize) -> Result<Vec<Figure>> {
    let most = case
        .most_for_a_node
        .map_or(usize::MAX, |most| (most * nodes as f64) as usize);
    let pods = pods.min(most);
    let mut cluster = Cluster::start(case, nodes).await?;
    let process = cluster.store.process(0);
    let before = process.threads()?;
    let (made, bound) = cluster.measure(case, nodes, 0..pods).await?;
    let process = cluster.store.process(0);
    let (shares, memory) = (Shares::of(&before, &process.threads()?), process.memory()?);
    let began = made.iter().min().copied();
    let ended = bound.iter().max().copied();
    let took = began
        .zip(ended)
        .map_or(f64::NAN, |(began, ended)| (ended - began).as_secs_f64());
    let mut waits: Vec<f64> = made
        .iter()
        .zip(&bound)
        .map(|(made, bound)| bound.saturating_duration_since(*made).as_secs_f64() * 1e3)
        .collect();
    let what = format!("{}, {nodes} nodes, {pods} pods", case.name);
    let figure = |name: &str, value: f64, unit| Figure::new("scheduler", &format!("{what}{name}"), value, unit);
    let rate = pods as f64 / took;
    let target = case.upstream.filter(|_| case.held).map(|upstream| match case.name {
        "basic" => TARGET_BASIC,
        _ => TARGET * upstream,
    });
    let throughput = Figure {
        lower_is_better: false,
        target,
        peer: case
            .upstream
            .and_then(|upstream| beside("kube-scheduler's own threshold", upstream)),
        ..figure("", rate, "pods/s")
    };
    let mut figures = vec![
        throughput,
        figure(", created until seen bound, median", percentile(&mut waits, 0.5), "ms"),
        figure(", created until seen bound, p99", percentile(&mut waits, 0.99), "ms"),
        figure(", the server's memory at the end", memory / 1e6, "MB"),
        figure(
            ", the server's processor time for a pod",
            shares.all() / pods as f64 * 1e6,
            "us",
        ),
    ];
    figures.extend(shares.named().map(|(name, seconds)| {
        let share = 100.0 * seconds / shares.all();
        figure(&format!(", of it {name}"), share, "%")
    }));
    Ok(figures)
}

/// Where a server's processor time went, in seconds.
#[derive(Default)]
struct Shares {
    scheduler: f64,
    state: f64,
    calls: f64,
    others: f64,
}

impl Shares {
    /// By the names of its threads.
    fn of(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Self {
        let mut shares = Shares::default();
        for (name, seconds) in after {
            let place = match name.as_str() {
                "default-schedul" => &mut shares.scheduler,
                "replica" | "checkpoint" => &mut shares.state,
                "tokio-rt-worker" => &mut shares.calls,
                _ => &mut shares.others,
            };
            *place += seconds - before.get(name).copied().unwrap_or_default();
        }
        shares
    }

    fn all(&self) -> f64 {
        self.scheduler + self.state + self.calls + self.others
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("the scheduling loop and its policy", self.scheduler),
            ("the log and the state", self.state),
            ("calls and watches", self.calls),
            ("everything else", self.others),
        ]
        .into_iter()
    }
}
