//! The policy is swapped again and again while pods arrive at a steady pace: how long nothing is bound, and whether any pod is lost
//! or bound twice. A control plane as a process, spoken to through gRPC.
use crate::{
    figure::{Figure, percentile},
    scheduler::{
        cases::BASIC,
        cluster::{Cluster, Watch},
        shapes,
    },
};
use anyhow::{Context, Result, ensure};
use sampan_api::plugin::RESOURCE;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

const SWAPS: usize = 40;
const TARGET_MS: f64 = 50.0;

/// Pods that come together, and between two such.
const TOGETHER: usize = 10;
const BEAT: Duration = Duration::from_millis(5);
/// Between two swaps.
const APART: Duration = Duration::from_millis(400);
/// Before the first: then there is something to compare with.
const CALM: Duration = Duration::from_secs(4);

/// The policies that take turns.
const POLICIES: [&str; 2] = ["scheduler", "binpack"];

/// A pod was seen bound.
struct Binding {
    at: Instant,
    policy: usize,
}

pub async fn run(nodes: usize) -> Result<Vec<Figure>> {
    let cluster = Cluster::start(&BASIC, nodes).await?;
    let mut digests = Vec::new();
    for name in POLICIES {
        digests.push(digest(&cluster, name).await?);
    }
    let seen = cluster.watch(shapes::MEASURED).await?;
    let beats = (CALM + APART * SWAPS as u32).as_millis() / BEAT.as_millis();
    let pods = TOGETHER * usize::try_from(beats)?;
    let (swaps, (), bindings) = tokio::try_join!(
        swap_again_and_again(&cluster),
        arrive(&cluster, pods),
        observe(seen, pods, &digests)
    )?;
    figures(nodes, &swaps, &bindings)
}

async fn digest(cluster: &Cluster, name: &str) -> Result<String> {
    let object = cluster.get(RESOURCE, name).await?;
    let digest = object["spec"]["digest"].as_str();
    Ok(digest
        .with_context(|| format!("the plugin {name} has no digest"))?
        .to_owned())
}

/// Pods come, whether those before are bound or not.
async fn arrive(cluster: &Cluster, pods: usize) -> Result<()> {
    let mut beat = tokio::time::interval(BEAT);
    let template = cluster.template(shapes::plain())?;
    for first in (0..pods).step_by(TOGETHER) {
        beat.tick().await;
        cluster.make(&template, first..first + TOGETHER).await?;
    }
    Ok(())
}

/// When each swap was asked for.
async fn swap_again_and_again(cluster: &Cluster) -> Result<Vec<Instant>> {
    tokio::time::sleep(CALM).await;
    let (mut swaps, mut beat) = (Vec::new(), tokio::time::interval(APART));
    for swap in 0..SWAPS {
        beat.tick().await;
        let name = POLICIES[(swap + 1) % 2].to_owned();
        swaps.push(Instant::now());
        cluster.activate(name).await?;
    }
    Ok(swaps)
}

/// Sees all pods bound, each once and by one of the policies.
async fn observe(mut seen: Watch, pods: usize, digests: &[String]) -> Result<Vec<Binding>> {
    let (mut nodes, mut bindings) = (HashMap::with_capacity(pods), Vec::with_capacity(pods));
    while bindings.len() < pods {
        let Some(pod) = seen.bound(pods - bindings.len()).await? else {
            continue;
        };
        match nodes.insert(pod.number, pod.node().to_owned()) {
            Some(before) => ensure!(before == pod.node(), "pod {} was bound twice", pod.number),
            None => {
                let policy = digests.iter().position(|digest| digest == pod.policy());
                let policy = policy.with_context(|| format!("a pod was bound by {:?}", pod.policy()))?;
                let at = Instant::now();
                bindings.push(Binding { at, policy });
            }
        }
    }
    Ok(bindings)
}

fn figures(nodes: usize, swaps: &[Instant], bindings: &[Binding]) -> Result<Vec<Figure>> {
    let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    let longest_pause = |from: Instant, to: Instant| {
        let within = |pair: &&[Binding]| pair[1].at >= from && pair[0].at < to;
        let pauses = bindings.windows(2).filter(within);
        pauses.map(|pair| ms(pair[0].at, pair[1].at)).fold(0.0, f64::max)
    };
    let (mut pauses, mut handovers) = (Vec::new(), Vec::new());
    for (number, swap) in swaps.iter().enumerate() {
        let to = (number + 1) % 2;
        let first = bindings
            .iter()
            .find(|binding| binding.at > *swap && binding.policy == to);
        handovers.push(ms(*swap, first.context("a swapped policy never decided")?.at));
        pauses.push(longest_pause(*swap, *swap + APART));
    }
    let first = swaps.first().context("no swap")?;
    let calm = longest_pause(*first - CALM / 2, *first);
    let rate = TOGETHER as f64 / BEAT.as_secs_f64();
    let figure = |what: &str, value: f64, target: Option<f64>| Figure {
        target,
        ..Figure::new(
            "swap",
            &format!("{nodes} nodes, {rate:.0} pods/s, {SWAPS} swaps, {what}"),
            value,
            "ms",
        )
    };
    let held = Some(TARGET_MS);
    Ok(vec![
        figure(
            "longest time without a binding around a swap, median",
            percentile(&mut pauses, 0.5),
            held,
        ),
        figure("the same, slowest", percentile(&mut pauses, 1.0), held),
        figure("the same without a swap, longest", calm, None),
        figure(
            "until the new policy's first binding is seen, median",
            percentile(&mut handovers, 0.5),
            held,
        ),
        figure("the same, slowest", percentile(&mut handovers, 1.0), held),
    ])
}
