//! Requests that go on while the cluster is changed: the demo's witnesses that no request fails.
use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};

/// A request that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(5);

/// The pause after each request of a client: a few hundred requests a second in all.
const PAUSE: Duration = Duration::from_millis(10);

/// What was seen so far.
#[derive(Default)]
pub struct Tally {
    pub answered: AtomicU64,
    pub failed: AtomicU64,
    /// Milliseconds of the slowest answer.
    pub slowest: AtomicU64,
    /// The first failures, in words.
    pub failures: Mutex<Vec<String>>,
}

/// Clients that send requests to whoever is ready, in turn.
pub struct Load {
    pub tally: Arc<Tally>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` clients; they ask the endpoints that are ready at the time and expect the body to start so.
    pub fn start(clients: usize, endpoints: watch::Receiver<Vec<SocketAddr>>, expected: &'static str) -> Self {
        let tally = Arc::new(Tally::default());
        let client = |number| tokio::spawn(run(number, endpoints.clone(), expected, tally.clone()));
        Load {
            clients: (0..clients).map(client).collect(),
            tally,
        }
    }

    /// Stops the clients; what they were waiting for is not counted.
    pub fn stop(self) -> Arc<Tally> {
        self.clients.iter().for_each(JoinHandle::abort);
        self.tally
    }
}

async fn run(mut turn: usize, endpoints: watch::Receiver<Vec<SocketAddr>>, expected: &'static str, tally: Arc<Tally>) {
    loop {
        let ready = endpoints.borrow().clone();
        if let Some(endpoint) = ready.get(turn % ready.len().max(1)).copied() {
            let started = Instant::now();
            let answer = tokio::time::timeout(DEADLINE, get(endpoint)).await;
            let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {DEADLINE:?}")));
            match answer.and_then(|body| {
                ensure!(body.starts_with(expected), "an unexpected answer: {body}");
                Ok(())
            }) {
                Ok(()) => {
                    tally.answered.fetch_add(1, Ordering::Relaxed);
                    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tally.slowest.fetch_max(millis, Ordering::Relaxed);
                }
                Err(error) => {
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                    if let Ok(mut failures) = tally.failures.lock()
                        && failures.len() < 5
                    {
                        failures.push(format!("{endpoint}: {error:#}"));
                    }
                }
            }
        }
        turn += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// The body of `GET /` from there, over a connection of its own.
pub async fn get(endpoint: SocketAddr) -> Result<String> {
    let stream = TcpStream::connect(endpoint).await.context("cannot connect")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/")
        .header("host", endpoint.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    ensure!(status.is_success(), "{status}");
    Ok(String::from_utf8_lossy(&body).into_owned())
}
