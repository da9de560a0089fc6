//! From the plan that swaps the policy to the first pod bound by the new one, while pods keep arriving.
use crate::figure::{Figure, percentile};
use anyhow::{Result, ensure};
use cluster::ControlPlane;
use sampan_api::{
    Key, Operation, Write,
    plugin::{Mode, RESOURCE},
};
use serde_json::json;
use std::time::{Duration, Instant};

const SWAPS: usize = 40;
const NODES: usize = 100;
const TARGET_MS: f64 = 50.0;

pub async fn run() -> Result<Vec<Figure>> {
    let home = tempfile::tempdir()?;
    let plane = ControlPlane::start(home.path()).await;
    for n in 0..NODES {
        plane.node(&format!("n{n}"), 1000).await;
    }
    let digests = [plane.plugin("scheduler").0.digest, plane.plugin("binpack").0.digest];
    // Both must be compiled: a swap to a policy that was never loaded waits for the compiler.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (mut samples, mut made) = (Vec::new(), 0);
    for swap in 0..SWAPS {
        let (to, from) = if swap % 2 == 0 {
            ("binpack", "scheduler")
        } else {
            ("scheduler", "binpack")
        };
        let digest = &digests[usize::from(to == "binpack")];
        let mode = |name: &str, mode: Mode| {
            Write::new(
                Key::new(RESOURCE, "", name),
                Operation::Merge(json!({"spec": {"mode": mode}})),
            )
        };
        let started = Instant::now();
        plane
            .commit(vec![mode(from, Mode::LastGood), mode(to, Mode::Active)])
            .await;
        loop {
            let prefix = format!("pod{made}");
            made += 1;
            plane.pods(&prefix, 10).await;
            plane.until_bound(&prefix).await;
            if plane.bindings(&prefix).iter().all(|(_, _, policy)| policy == digest) {
                break;
            }
            ensure!(started.elapsed() < Duration::from_secs(10), "{to} never decided");
        }
        samples.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    let bound = plane.bindings("pod");
    ensure!(
        bound.len() == made * 10,
        "{} of {} pods are there",
        bound.len(),
        made * 10
    );
    plane.server.shutdown().await;
    let figure = |share: f64, name: &str| {
        let what = format!("until ten pods are bound by the new policy, {name} of {SWAPS}");
        let mut figure = Figure::new("swap", &what, percentile(&mut samples.clone(), share), "ms");
        figure.target = Some(TARGET_MS);
        figure
    };
    Ok(vec![figure(0.5, "median"), figure(1.0, "slowest")])
}
