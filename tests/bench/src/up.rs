//! From an empty directory to a ready cluster of one, in this process.
use crate::figure::{Figure, missing, percentile};
use anyhow::Result;
use sampan_cli::up::{Cluster, Settings};
use std::time::Instant;

const RUNS: usize = 9;
const TARGET_MS: f64 = 300.0;

pub async fn run() -> Result<Vec<Figure>> {
    let mut samples = Vec::new();
    for _ in 0..RUNS {
        let home = tempfile::tempdir()?;
        let started = Instant::now();
        let cluster = Cluster::start(Settings::new(home.path().join("data"))).await?;
        samples.push(started.elapsed().as_secs_f64() * 1000.0);
        cluster.stop(true).await;
    }
    let case = |share: f64, name: &str| {
        let what = format!("empty directory to node ready, {name} of {RUNS}");
        let mut figure = Figure::new("up", &what, percentile(&mut samples.clone(), share), "ms");
        figure.target = Some(TARGET_MS);
        figure.peer = missing("k3s");
        figure
    };
    Ok(vec![case(0.5, "median"), case(1.0, "slowest")])
}
