//! One change, ten thousand watchers: how long until all have it, and what they cost the server.
use crate::{
    figure::{Figure, percentile, perhaps_beside},
    peer::{Client, Store, VALUE, etcd::Etcd, have, sampan::Sampan, until},
};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const WATCHERS: usize = 10_000;
const CONNECTIONS: usize = 100;
const CHANGES: usize = 12;
const PAUSE: Duration = Duration::from_millis(1500);

/// Milliseconds, seconds of a processor for a change, and bytes for a watch.
struct Cost {
    p50: f64,
    p99: f64,
    cpu: f64,
    bytes: f64,
}

pub async fn run() -> Result<Vec<Figure>> {
    let ours = measure::<Sampan>().await?;
    let theirs = match have("etcd") {
        true => Some(measure::<Etcd>().await?),
        false => None,
    };
    let figure = |case: &str, of: fn(&Cost) -> f64, unit| Figure {
        peer: perhaps_beside(Etcd::NAME, theirs.as_ref().map(of)),
        ..Figure::new("watch", &format!("{WATCHERS} watchers, {case}"), of(&ours), unit)
    };
    Ok(vec![
        figure("from the put to a watcher, median", |cost| cost.p50, "ms"),
        figure("from the put to a watcher, p99", |cost| cost.p99, "ms"),
        figure("processor time of the server for a change", |cost| cost.cpu, "ms"),
        figure("memory of the server for a watch", |cost| cost.bytes, "bytes"),
    ])
}

async fn measure<S: Store>() -> Result<Cost> {
    let mut store = S::start(1).await?;
    let writer = store.client(0)?;
    writer.put("first", "x").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = store.process(0).memory()?;
    let connections = (0..CONNECTIONS).map(|_| store.client(0)).collect::<Result<Vec<_>>>()?;
    let mut receivers = Vec::new();
    for number in 0..WATCHERS {
        let (seen, receiver) = mpsc::unbounded_channel();
        connections[number % CONNECTIONS].watch(seen).await?;
        receivers.push(receiver);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let bytes = (store.process(0).memory()? - before) / WATCHERS as f64;
    // Each watcher says when it has heard of a change.
    let (heard, mut hears) = mpsc::unbounded_channel::<Instant>();
    for mut receiver in receivers {
        let heard = heard.clone();
        tokio::spawn(async move {
            while receiver.recv().await.is_some() {
                let _ = heard.send(Instant::now());
            }
        });
    }
    let value = "x".repeat(VALUE);
    let (mut samples, cpu) = (Vec::new(), store.process(0).cpu()?);
    for change in 0..CHANGES {
        let began = Instant::now();
        writer.put(&format!("change-{change}"), &value).await?;
        let mut missing = WATCHERS;
        while missing > 0 {
            let at = tokio::time::timeout(Duration::from_secs(20), hears.recv()).await?;
            ensure!(at.is_some(), "the watchers ended");
            samples.extend(at.map(|at| at.saturating_duration_since(began).as_secs_f64() * 1e3));
            missing -= 1;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let cpu = (store.process(0).cpu()? - cpu) * 1e3 / CHANGES as f64;
    let alive = || async { writer.get("first").await.is_ok() };
    until("the store answers", alive).await?;
    Ok(Cost {
        p50: percentile(&mut samples, 0.5),
        p99: percentile(&mut samples, 0.99),
        cpu,
        bytes,
    })
}
