//! From the creation of a pod to its binding, as a client sees both: the cases of Kubernetes' scheduler_perf, made through gRPC,
//! on a log that is synced.
mod cases;
mod cluster;
mod shapes;

use crate::{
    figure::{Figure, beside, percentile},
    peer::Store,
};
use anyhow::{Result, ensure};
use cases::{CASES, Case};
use cluster::Cluster;

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
    let cpu = process.cpu()?;
    let (made, bound) = cluster.measure(case, nodes, pods).await?;
    let process = cluster.store.process(0);
    let (cpu, memory) = (process.cpu()? - cpu, process.memory()?);
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
    Ok(vec![
        throughput,
        figure(", created until seen bound, median", percentile(&mut waits, 0.5), "ms"),
        figure(", created until seen bound, p99", percentile(&mut waits, 0.99), "ms"),
        figure(", the server's processor time for a pod", cpu / pods as f64 * 1e6, "us"),
        figure(", the server's memory at the end", memory / 1e6, "MB"),
    ])
}
