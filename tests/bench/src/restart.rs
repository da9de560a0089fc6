//! A million objects of 1 KB: how long to store them, how long a restart takes with them, and their memory.
use crate::{
    figure::{Figure, perhaps_beside},
    peer::{Client, Store, etcd::Etcd, fill, have, sampan::Sampan, until},
};
use anyhow::Result;
use std::time::Duration;

const OBJECTS: usize = 1_000_000;

/// Seconds, seconds, bytes for an object before and after.
struct Cost {
    fill: f64,
    restart: f64,
    before: f64,
    after: f64,
}

pub async fn run() -> Result<Vec<Figure>> {
    let ours = measure::<Sampan>().await?;
    let theirs = match have("etcd") {
        true => Some(measure::<Etcd>().await?),
        false => None,
    };
    let figure = |case: &str, of: fn(&Cost) -> f64, unit| Figure {
        peer: perhaps_beside(Etcd::NAME, theirs.as_ref().map(of)),
        ..Figure::new(
            "restart",
            &format!("{OBJECTS} objects of 1 KB, {case}"),
            of(&ours),
            unit,
        )
    };
    Ok(vec![
        figure("stored in batches", |cost| cost.fill, "s"),
        figure("from the start to the first read", |cost| cost.restart, "s"),
        figure(
            "memory of an object after they were stored",
            |cost| cost.before,
            "bytes",
        ),
        figure("memory of an object after the restart", |cost| cost.after, "bytes"),
    ])
}

async fn measure<S: Store>() -> Result<Cost> {
    let mut store = S::start(1).await?;
    let filled = fill(&store, OBJECTS).await?.as_secs_f64();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = store.process(0).memory()? / OBJECTS as f64;
    store.process(0).stop()?;
    store.again(0)?;
    let client = store.client(0)?;
    let last = format!("object-{:08}", OBJECTS - 1);
    let reads = || async { client.get(&last).await.is_ok() };
    let restart = until("the store is back", reads).await?.as_secs_f64();
    let after = store.process(0).memory()? / OBJECTS as f64;
    Ok(Cost {
        fill: filled,
        restart,
        before,
        after,
    })
}
