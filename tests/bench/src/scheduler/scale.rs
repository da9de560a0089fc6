//! Very many nodes and pods in one process: what each more of them costs, in time and in memory.
use super::{cases::BASIC, cluster::Cluster};
use crate::{figure::Figure, peer::Store};
use anyhow::Result;
use std::time::Instant;

pub const NODES: usize = 100_000;
pub const PODS: usize = 1_000_000;

/// The pods come in so many parts, each of which is measured by itself.
const PARTS: usize = 10;

/// What the server has used, at a moment.
struct Used {
    at: Instant,
    cpu: f64,
    memory: f64,
}

impl Used {
    fn now(cluster: &mut Cluster) -> Result<Self> {
        let process = cluster.store.process(0);
        Ok(Used {
            at: Instant::now(),
            cpu: process.cpu()?,
            memory: process.memory()?,
        })
    }
}

pub async fn run(nodes: usize, pods: usize) -> Result<Vec<Figure>> {
    let mut cluster = Cluster::empty().await?;
    let mut figures = Vec::new();
    let empty = Used::now(&mut cluster)?;
    let mut before = Used::now(&mut cluster)?;
    cluster.nodes(&BASIC, 0..nodes).await?;
    figures.extend(each("node", nodes, &mut before, &mut cluster)?);
    for part in 0..PARTS {
        let numbers = pods * part / PARTS..pods * (part + 1) / PARTS;
        let count = numbers.len();
        cluster.measure(&BASIC, nodes, numbers).await?;
        let what = format!("pod {} of {PARTS} tenths", part + 1);
        figures.extend(each(&what, count, &mut before, &mut cluster)?);
    }
    let all = format!("{nodes} nodes and {pods} pods");
    let figure = |name: &str, value: f64, unit| Figure::new("scale", &format!("{all}{name}"), value, unit);
    figures.extend([
        figure(", all of it", (before.at - empty.at).as_secs_f64(), "s"),
        figure(", the server's processor time", before.cpu - empty.cpu, "s"),
        figure(", the server's memory at the end", before.memory / 1e6, "MB"),
    ]);
    Ok(figures)
}

/// What each of the last ones has cost.
fn each(what: &str, count: usize, before: &mut Used, cluster: &mut Cluster) -> Result<Vec<Figure>> {
    let now = Used::now(cluster)?;
    let one = |value: f64| value / count.max(1) as f64;
    let figure = |name: &str, value: f64, unit| Figure::new("scale", &format!("{what}, {name}"), value, unit);
    let figures = vec![
        figure("time", one((now.at - before.at).as_secs_f64() * 1e6), "us"),
        figure("the server's processor time", one((now.cpu - before.cpu) * 1e6), "us"),
        figure("the server's memory", one(now.memory - before.memory), "bytes"),
    ];
    *before = now;
    Ok(figures)
}
