//! Durable puts, linearizable reads and lists, with one member and with three, beside etcd on the same disk.
use crate::{
    figure::{Figure, percentile, perhaps_beside},
    peer::{Client, Store, VALUE, etcd::Etcd, fill, have, sampan::Sampan},
};
use anyhow::{Result, anyhow, ensure};
use sampan_api::{ApiError, Key, Object, Operation, Write, kinds};
use sampan_server::replica::{ReplicaConfig, ReplicaHandle};
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// So long each case is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// Clients that share a connection.
const SHARING: usize = 50;
const LISTED: usize = 10_000;
const LISTS: usize = 20;
/// Bytes of the shortest answer that says something.
const ANSWER: usize = 100;

/// One client waits for no more than this much longer than the disk takes.
const TARGET_ONE: f64 = 1.5;
/// With very many clients so many times etcd's throughput.
const TARGET_MANY: f64 = 5.0;

/// What a case came to.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    /// Microseconds.
    p50: f64,
    p99: f64,
}

/// The cases, and how many clients each has.
const PUTS: [usize; 4] = [1, 10, 100, 1000];
const GETS: [usize; 2] = [1, 100];

/// Measures the cases whose name has this in it.
pub async fn run(wanted: &str) -> Result<Vec<Figure>> {
    let floor = Floor::measure()?;
    let mut figures = vec![Figure {
        floor: Some(floor.disk),
        ..Figure::new(
            "store",
            "put within a server, without a call, median",
            within().await?,
            "us",
        )
    }];
    for members in [1, 3] {
        let ours = measure::<Sampan>(members, wanted).await?;
        let theirs = match have("etcd") {
            true => Some(measure::<Etcd>(members, wanted).await?),
            false => {
                eprintln!("etcd is missing here: install Debian's etcd-server for the comparison");
                None
            }
        };
        for (at, (case, rate)) in ours.iter().enumerate() {
            let other = theirs.as_ref().map(|theirs| theirs[at].1);
            figures.extend(told(members, case, *rate, other, floor));
        }
    }
    Ok(figures)
}

fn told(members: usize, case: &str, rate: Rate, other: Option<Rate>, floor: Floor) -> Vec<Figure> {
    let peer = |of: fn(Rate) -> f64| perhaps_beside(Etcd::NAME, other.map(of));
    let what = format!("{members} member{}, {case}", if members == 1 { "" } else { "s" });
    let figure = |name: &str, value: f64, unit| Figure::new("store", &format!("{what}{name}"), value, unit);
    let mut throughput = Figure {
        lower_is_better: false,
        peer: peer(|rate| rate.per_second),
        ..figure("", rate.per_second, "/s")
    };
    let mut median = Figure {
        peer: peer(|rate| rate.p50),
        ..figure(", median", rate.p50, "us")
    };
    let slowest = Figure {
        peer: peer(|rate| rate.p99),
        ..figure(", p99", rate.p99, "us")
    };
    match case {
        "put, 1 clients" => {
            median.floor = Some(floor.asked);
            median.target = (members == 1).then_some(TARGET_ONE * floor.disk);
        }
        "put, 1000 clients" => throughput.target = other.map(|other| TARGET_MANY * other.per_second),
        _ => {}
    }
    vec![throughput, median, slowest]
}

async fn measure<S: Store>(members: usize, wanted: &str) -> Result<Vec<(String, Rate)>> {
    let store = S::start(members).await?;
    let leader = store.leader().await?;
    let mut rates = Vec::new();
    let puts = PUTS.map(|clients| (clients, format!("put, {clients} clients")));
    for (clients, case) in puts.into_iter().filter(|(_, case)| case.contains(wanted)) {
        let value = "x".repeat(VALUE);
        let put = move |client: S::Client, name: String| {
            let value = value.clone();
            async move { client.put(&name, &value).await }
        };
        let rate = busy(&store, leader, clients, MEASURED, put).await?;
        rates.push((case, rate));
    }
    store.client(leader)?.put("read", "x").await?;
    let gets = GETS.map(|clients| (clients, format!("linearizable get, {clients} clients")));
    for (clients, case) in gets.into_iter().filter(|(_, case)| case.contains(wanted)) {
        let get = |client: S::Client, _| async move { client.get("read").await };
        let rate = busy(&store, leader, clients, MEASURED / 2, get).await?;
        rates.push((case, rate));
    }
    drop(store);
    let listing = format!("list of {LISTED}");
    if listing.contains(wanted) {
        rates.push((listing, list::<S>(members).await?));
    }
    Ok(rates)
}

async fn list<S: Store>(members: usize) -> Result<Rate> {
    let store = S::start(members).await?;
    fill(&store, LISTED).await?;
    let client = store.client(store.leader().await?)?;
    let mut samples = Vec::new();
    for _ in 0..LISTS {
        let began = Instant::now();
        ensure!(client.list().await? >= LISTED, "the list is short");
        samples.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let p50 = percentile(&mut samples.clone(), 0.5);
    Ok(Rate {
        per_second: 1e6 / p50,
        p50,
        p99: percentile(&mut samples, 1.0),
    })
}

/// What a put takes that is no call of a client: from a task of a server's to the log, the state, and back. The median, in
/// microseconds.
async fn within() -> Result<f64> {
    let home = tempfile::tempdir()?;
    let replica = ReplicaHandle::open(&ReplicaConfig {
        dir: home.path().join("replica"),
        cluster: "bench".to_owned(),
        member: 1,
        joins: false,
        alone: false,
        quota_bytes: u64::MAX,
    })?;
    let create = |kind: &str, namespace: &str, name: &str| {
        let kind = kinds::of_manifest("v1", kind)?;
        let object = Object::new(kind, namespace, name);
        let object = object.with_field("data", &json!({"value": "x".repeat(VALUE)}));
        Ok::<_, ApiError>(Write::new(
            Key::new(kind.resource, namespace, name),
            Operation::Create(object),
        ))
    };
    replica.commit_one(create("Namespace", "", "default")?.into()).await?;
    let mut samples = Vec::new();
    for number in 0..2000 {
        let plan = create("ConfigMap", "default", &format!("c{number}"))?.into();
        let began = Instant::now();
        let replica = replica.clone();
        tokio::spawn(async move { replica.commit_one(plan).await }).await??;
        samples.push(began.elapsed().as_secs_f64() * 1e6);
    }
    replica.shutdown().await;
    Ok(percentile(&mut samples, 0.5))
}

/// Has clients do one thing after another.
async fn busy<S: Store, F: Future<Output = Result<()>> + Send>(
    store: &S,
    member: usize,
    clients: usize,
    time: Duration,
    act: impl Fn(S::Client, String) -> F + Clone + Send + 'static,
) -> Result<Rate> {
    let connections = (0..clients.div_ceil(SHARING))
        .map(|_| store.client(member))
        .collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients {
        let (client, act) = (connections[number % connections.len()].clone(), act.clone());
        tasks.spawn(async move {
            let mut samples = Vec::new();
            for count in 0_u64.. {
                if began.elapsed() > time {
                    break;
                }
                let asked = Instant::now();
                act(client.clone(), format!("c{clients}-{number}-{count}")).await?;
                samples.push(asked.elapsed().as_secs_f64() * 1e6);
            }
            anyhow::Ok(samples)
        });
    }
    let mut samples = Vec::new();
    while let Some(done) = tasks.join_next().await {
        samples.extend(done??);
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Rate {
        per_second: samples.len() as f64 / seconds,
        p50: percentile(&mut samples, 0.5),
        p99: percentile(&mut samples, 0.99),
    })
}

/// What nobody is faster than on this machine.
#[derive(Clone, Copy)]
struct Floor {
    /// The disk takes for a kilobyte and a bit, in microseconds.
    disk: f64,
    /// With a question and an answer between two threads over a socket, and nothing else.
    asked: f64,
}

impl Floor {
    const TIMES: usize = 2000;

    fn measure() -> Result<Self> {
        let mut log = Log::new()?;
        let disk = Self::median(|| log.write())?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        client.set_nodelay(true)?;
        let (mut server, _) = listener.accept()?;
        server.set_nodelay(true)?;
        let serves = std::thread::spawn(move || {
            let (mut log, mut question) = (Log::new()?, [0; Log::BYTES]);
            for _ in 0..Self::TIMES {
                server.read_exact(&mut question)?;
                log.write()?;
                server.write_all(&[1; ANSWER])?;
            }
            anyhow::Ok(())
        });
        let asked = Self::median(|| {
            client.write_all(&[1; Log::BYTES])?;
            Ok(client.read_exact(&mut [0; ANSWER])?)
        })?;
        serves.join().map_err(|_| anyhow!("the floor's server panicked"))??;
        Ok(Floor { disk, asked })
    }

    fn median(mut act: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut samples = Vec::new();
        for _ in 0..Self::TIMES {
            let began = Instant::now();
            act()?;
            samples.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(percentile(&mut samples, 0.5))
    }
}

/// A file of room that is there, written from its start to its end.
struct Log {
    file: File,
    at: u64,
    _home: TempDir,
}

impl Log {
    const BYTES: usize = 1400;

    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("log");
        let file = OpenOptions::new().create_new(true).write(true).open(path)?;
        file.write_all_at(&vec![0; Self::BYTES * Floor::TIMES], 0)?;
        file.sync_all()?;
        Ok(Log {
            file,
            at: 0,
            _home: home,
        })
    }

    fn write(&mut self) -> Result<()> {
        self.file.write_all_at(&[1; Self::BYTES], self.at)?;
        self.at += Self::BYTES as u64;
        Ok(self.file.sync_data()?)
    }
}
