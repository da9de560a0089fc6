//! Servers: `wasi:http/incoming-handler` behind HTTP/1.1. Each request meets a fresh instance, so that one that traps
//! harms no other.
mod answer;

use super::{
    command::Ended,
    engine::WorkloadEngine,
    error::WorkloadError,
    host::{Host, Settings},
    program::{Pre, Program},
    spec::WorkloadSpec,
};
use answer::answer;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use wasmtime_wasi_http::{io::TokioIo, p2::bindings::ProxyPre};

/// How long a request may take where nothing is said.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a connection may idle, and a client take for its headers.
const IDLE: Duration = Duration::from_secs(75);

/// Bytes of a request's headers.
const MOST_HEADERS: usize = 64 << 10;

/// Connections at a time to one address; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 1024;

/// Where a server listens that was told nothing.
const EVERYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8080);

/// A server at work.
pub(crate) struct Server {
    pub engine: Arc<WorkloadEngine>,
    pub pre: ProxyPre<Host>,
    pub settings: Settings,
    pub deadline: Duration,
    /// One for each request that is worked on.
    pub turns: Arc<Semaphore>,
}

impl Server {
    /// # Errors
    /// If the program is no server.
    pub(crate) fn new(program: Program, settings: Settings) -> Result<Arc<Self>, WorkloadError> {
        let Pre::Server(pre) = program.pre else {
            return Err(WorkloadError::Kind {
                exports: "wasi:cli/run: it is a command".to_owned(),
            });
        };
        let deadline = settings.deadline.unwrap_or(DEADLINE);
        let settings = Settings {
            deadline: Some(deadline),
            ..settings
        };
        let turns = Arc::new(Semaphore::new(program.engine.pool().instances()));
        Ok(Arc::new(Server {
            engine: program.engine,
            pre,
            settings,
            deadline,
            turns,
        }))
    }
}

/// Serves until SIGTERM or SIGINT, then lets what was begun end.
///
/// # Errors
/// If it cannot listen.
pub(crate) fn run(program: Program, spec: &WorkloadSpec) -> Result<Ended, WorkloadError> {
    let server = Server::new(program, spec.settings())?;
    // A mount that cannot be opened is known now and not at the first request.
    server.settings.store(&server.engine, None)?;
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Nothing of the host's runs deep, and what is not used of a stack is not there.
    runtime
        .worker_threads(threads)
        .max_blocking_threads(64)
        .thread_stack_size(1 << 20)
        .enable_all();
    let runtime = runtime.build().map_err(WorkloadError::System)?;
    let ended = runtime.block_on(async {
        let (stop, stopped) = watch::channel(());
        let mut terminate = signal(SignalKind::terminate()).map_err(WorkloadError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(WorkloadError::System)?;
        let addresses = if spec.listen.is_empty() {
            &[EVERYWHERE][..]
        } else {
            &spec.listen
        };
        let mut listening = JoinSet::new();
        for address in addresses.iter().copied() {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|source| WorkloadError::Listen { address, source })?;
            listening.spawn(listen(listener, server.clone(), stopped.clone()));
        }
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
        drop(stop);
        while listening.join_next().await.is_some() {}
        Ok(Ended::Exited(0))
    });
    runtime.shutdown_background();
    ended
}

/// Takes connections until it is told to stop, then waits for those that are open.
pub(crate) async fn listen(listener: TcpListener, server: Arc<Server>, mut stopped: watch::Receiver<()>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    let every = stopped.clone();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => (),
            (accepted, place) = next => match accepted {
                Ok((stream, _)) => {
                    let connection = serve(stream, server.clone(), every.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, or the client went: both pass.
                    tracing::warn!(%error, "a connection cannot be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, server: Arc<Server>, mut stopped: watch::Receiver<()>) {
    // A response is meant to be sent when it is written.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(server.clone(), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MOST_HEADERS)
        .half_close(true);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
