//! kill -9 of the leader of three under a client that writes: how long until the next write is answered.
use crate::{
    figure::{Figure, percentile, perhaps_beside},
    peer::{Client, Store, VALUE, etcd::Etcd, have, sampan::Sampan, until},
};
use anyhow::Result;
use std::time::{Duration, Instant};

const ROUNDS: usize = 10;
const MEMBERS: usize = 3;
/// After so long a client asks another member.
const IMPATIENT: Duration = Duration::from_millis(200);
const TARGET_MS: f64 = 2000.0;

pub async fn run() -> Result<Vec<Figure>> {
    let ours = measure::<Sampan>().await?;
    let theirs = match have("etcd") {
        true => Some(measure::<Etcd>().await?),
        false => None,
    };
    let figure = |name: &str, share: f64| Figure {
        peer: perhaps_beside(
            Etcd::NAME,
            theirs.as_ref().map(|theirs| percentile(&mut theirs.clone(), share)),
        ),
        target: Some(TARGET_MS),
        ..Figure::new(
            "failover",
            &format!("from the leader's death to the next write, {name} of {ROUNDS}"),
            percentile(&mut ours.clone(), share),
            "ms",
        )
    };
    Ok(vec![
        figure("fastest", 0.0),
        figure("median", 0.5),
        figure("slowest", 1.0),
    ])
}

async fn measure<S: Store>() -> Result<Vec<f64>> {
    let mut store = S::start(MEMBERS).await?;
    let clients = (0..MEMBERS)
        .map(|member| store.client(member))
        .collect::<Result<Vec<_>>>()?;
    let value = "x".repeat(VALUE);
    let (mut samples, mut written) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let leader = store.leader().await?;
        store.process(leader).kill()?;
        let killed = Instant::now();
        let mut at = leader;
        loop {
            at = (at + 1) % MEMBERS;
            if at == leader {
                continue;
            }
            written += 1;
            let name = format!("w-{written}");
            let put = tokio::time::timeout(IMPATIENT, clients[at].put(&name, &value)).await;
            if matches!(put, Ok(Ok(()))) {
                break;
            }
        }
        samples.push(killed.elapsed().as_secs_f64() * 1e3);
        store.again(leader)?;
        let back = &clients[leader];
        until("the member is back", || async {
            back.get(&format!("w-{written}")).await.is_ok()
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(samples)
}
