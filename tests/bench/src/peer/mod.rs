//! Stores side by side: `sampan` and Debian's etcd as processes of their own, and one face for the clients of both. Sampan is
//! spoken to over mutual TLS, as its users do; etcd without TLS, which favours it.
pub mod etcd;
pub mod sampan;

use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Nothing here should take so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What is stored: a value of 1 KB.
pub const VALUE: usize = 1000;

/// One who uses a store; clones share a connection.
pub trait Client: Clone + Send + Sync + 'static {
    /// Creates an object that was not there.
    fn put(&self, name: &str, value: &str) -> impl Future<Output = Result<()>> + Send;

    /// Creates objects together.
    fn fill(&self, names: Vec<String>, value: &str) -> impl Future<Output = Result<()>> + Send;

    /// A linearizable read.
    fn get(&self, name: &str) -> impl Future<Output = Result<()>> + Send;

    /// All objects; how many.
    fn list(&self) -> impl Future<Output = Result<usize>> + Send;

    /// Watches from now on, and says each change's name until nobody listens. Answers when the watch stands.
    fn watch(&self, seen: mpsc::UnboundedSender<String>) -> impl Future<Output = Result<()>> + Send;
}

/// A store of some members that runs.
pub trait Store: Sized + Send {
    type Client: Client;
    const NAME: &'static str;

    /// Most objects that go into one request.
    const TOGETHER: usize;

    fn start(members: usize) -> impl Future<Output = Result<Self>> + Send;

    /// A connection of its own to a member.
    fn client(&self, member: usize) -> Result<Self::Client>;

    fn leader(&self) -> impl Future<Output = Result<usize>> + Send;

    /// The process of a member.
    fn process(&mut self, member: usize) -> &mut Process;

    /// Starts a member again on what it has.
    fn again(&mut self, member: usize) -> Result<()>;
}

/// A process that ends with us.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command, said: &Path) -> Result<Self> {
        let said = fs::OpenOptions::new().create(true).append(true).open(said)?;
        let errors = said.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(said).stderr(errors).spawn();
        child
            .map(Process)
            .with_context(|| format!("{} cannot start", command.get_program().display()))
    }

    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.0.wait()?;
        Ok(())
    }

    /// Its part of the machine's memory, in bytes.
    pub fn memory(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0.id()))?;
        let line = text.lines().find(|line| line.starts_with("Pss:")).context("no Pss")?;
        let kilobytes: f64 = line.split_whitespace().nth(1).context("no Pss")?.parse()?;
        Ok(kilobytes * 1024.0)
    }

    /// The time it has had of a processor, in seconds.
    pub fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields = stat.rsplit_once(')').context("no stat")?.1;
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap_or_default())
            .sum();
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }
}

impl Process {
    /// Whether nobody works for it.
    pub fn is_childless(&self) -> Result<bool> {
        let own = self.0.id().to_string();
        for process in fs::read_dir("/proc")? {
            // One that has ended meanwhile has no files any more, and what is no process never had this one.
            let Ok(stat) = fs::read_to_string(process?.path().join("stat")) else {
                continue;
            };
            let parent = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1));
            if parent == Some(&*own) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The time that each of its threads has had of a processor, by the thread's name, in seconds.
    pub fn threads(&self) -> Result<BTreeMap<String, f64>> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let task = task?.path();
            // One that has ended meanwhile has no files any more.
            let (Ok(name), Ok(stat)) = (
                fs::read_to_string(task.join("comm")),
                fs::read_to_string(task.join("schedstat")),
            ) else {
                continue;
            };
            let nanoseconds: f64 = stat.split_whitespace().next().context("no schedstat")?.parse()?;
            *threads.entry(name.trim().to_owned()).or_default() += nanoseconds / 1e9;
        }
        Ok(threads)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program can be started.
pub fn have(program: &str) -> bool {
    // Not `version`: wireguard-go would make a device of that name.
    Command::new(program).arg("--version").output().is_ok()
}

/// Ports of the loopback that nobody has now.
pub fn ports(count: usize) -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

/// Asks until it holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) -> Result<Duration> {
    let began = Instant::now();
    while !holds().await {
        ensure!(began.elapsed() < 5 * PATIENCE, "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(began.elapsed())
}

/// Stores so many objects, some requests at a time.
pub async fn fill<S: Store>(store: &S, objects: usize) -> Result<Duration> {
    const SIDE_BY_SIDE: usize = 8;
    let began = Instant::now();
    let value = "x".repeat(VALUE);
    let requests = objects.div_ceil(S::TOGETHER);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..SIDE_BY_SIDE {
        let (client, value) = (store.client(0)?, value.clone());
        tasks.spawn(async move {
            for request in (task..requests).step_by(SIDE_BY_SIDE) {
                let last = objects.min((request + 1) * S::TOGETHER);
                let names = (request * S::TOGETHER..last)
                    .map(|n| format!("object-{n:08}"))
                    .collect();
                client.fill(names, &value).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(began.elapsed())
}
