//! One backend: the connections to it, kept between requests, and whether it could be reached of late.
use super::{Times, body::Body};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use sampan_sandbox::ingress::Protocol;
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, time::timeout};

/// Connections that are kept at the most, where nothing is asked.
const MOST_IDLE: usize = 64;

/// How long one is kept: less than most servers keep theirs, since a request may meet a connection that is closing.
const KEPT: Duration = Duration::from_secs(4);

/// How long one that was not reached is passed over where there are others.
const AVOIDED: Duration = Duration::from_secs(2);

/// Of HTTP/2 connections, how often it is asked whether the other side is there, and how long waited.
const ASKED_EVERY: Duration = Duration::from_secs(20);
const ASKED_FOR: Duration = Duration::from_secs(10);

/// Bytes of the head of an answer, and headers in it.
const LARGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 256;

/// A backend of a protocol.
pub struct Upstream {
    pub address: SocketAddr,
    pub protocol: Protocol,
    idle: Mutex<Vec<(http1::SendRequest<Body>, Instant)>>,
    /// All requests of HTTP/2 share one; who makes it lets the others wait.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Body>>>,
    failed: Mutex<Option<Instant>>,
}

/// Why there is no answer.
pub enum Failed {
    /// Nothing was sent: another backend may be asked.
    Unsent(Box<Request<Body>>, String),
    /// Something may have been.
    Sent(hyper::Error),
}

impl Upstream {
    pub fn new(address: SocketAddr, protocol: Protocol) -> Arc<Self> {
        Arc::new(Upstream {
            address,
            protocol,
            idle: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// Whether it could not be reached of late.
    pub fn is_avoided(&self) -> bool {
        self.failed.lock().is_some_and(|at| at.elapsed() < AVOIDED)
    }

    /// Sends a request, over a connection that is there or a new one.
    ///
    /// # Errors
    /// Why there is no answer, with the request if nothing of it was sent.
    pub async fn send(self: &Arc<Self>, request: Request<Body>, times: &Times) -> Result<Response<Incoming>, Failed> {
        match self.protocol {
            Protocol::Http1 => self.send_http1(request, times).await,
            Protocol::H2c => self.send_h2c(request, times).await,
        }
    }

    async fn send_http1(
        self: &Arc<Self>,
        mut request: Request<Body>,
        times: &Times,
    ) -> Result<Response<Incoming>, Failed> {
        // One that was kept may have been closed at the other side meanwhile: then nothing was sent, and the next is tried.
        while let Some(sender) = self.take_idle() {
            match self.send_over(sender, request).await {
                Err(Failed::Unsent(unsent, _)) => request = *unsent,
                result => return result,
            }
        }
        let connected = async {
            let stream = self.connect(times).await?;
            let mut builder = http1::Builder::new();
            builder.max_header_size(LARGEST_HEAD).max_headers(MOST_HEADERS);
            let (sender, connection) = builder
                .handshake(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
            tokio::spawn(connection.with_upgrades());
            Ok::<_, io::Error>(sender)
        };
        match connected.await {
            Ok(sender) => self.send_over(sender, request).await,
            Err(error) => Err(Failed::Unsent(request.into(), error.to_string())),
        }
    }

    async fn send_over(
        self: &Arc<Self>,
        mut sender: http1::SendRequest<Body>,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failed> {
        match sender.try_send_request(request).await {
            Ok(response) => {
                let upstream = self.clone();
                // It is free again once the answer was read to its end.
                tokio::spawn(async move {
                    if sender.ready().await.is_ok() {
                        upstream.keep(sender);
                    }
                });
                Ok(response)
            }
            Err(mut error) => Err(match error.take_message() {
                Some(request) => Failed::Unsent(request.into(), error.error().to_string()),
                None => Failed::Sent(error.into_error()),
            }),
        }
    }

    async fn send_h2c(&self, request: Request<Body>, times: &Times) -> Result<Response<Incoming>, Failed> {
        let mut sender = match self.shared(times).await {
            Ok(sender) => sender,
            Err(error) => return Err(Failed::Unsent(request.into(), error.to_string())),
        };
        if let Err(error) = sender.ready().await {
            return Err(Failed::Unsent(request.into(), error.to_string()));
        }
        sender
            .try_send_request(request)
            .await
            .map_err(|mut error| match error.take_message() {
                Some(request) => Failed::Unsent(request.into(), error.error().to_string()),
                None => Failed::Sent(error.into_error()),
            })
    }

    async fn shared(&self, times: &Times) -> io::Result<http2::SendRequest<Body>> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = self.connect(times).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(ASKED_EVERY)
            .keep_alive_timeout(ASKED_FOR)
            .max_header_list_size(LARGEST_HEAD as u32);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        tokio::spawn(connection);
        *shared = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self, times: &Times) -> io::Result<TcpStream> {
        let connected = timeout(times.connect, TcpStream::connect(self.address)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        *self.failed.lock() = connected.is_err().then(Instant::now);
        let stream = connected?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The one that was used last: the others are let go once they are old.
    fn take_idle(&self) -> Option<http1::SendRequest<Body>> {
        let mut idle = self.idle.lock();
        loop {
            let (sender, since) = idle.pop()?;
            if since.elapsed() < KEPT && sender.is_ready() {
                return Some(sender);
            }
        }
    }

    fn keep(&self, sender: http1::SendRequest<Body>) {
        let mut idle = self.idle.lock();
        if idle.len() < MOST_IDLE {
            idle.push((sender, Instant::now()));
        }
    }

    /// Lets connections go that were kept long enough.
    pub fn sweep(&self) {
        self.idle
            .lock()
            .retain(|(sender, since)| since.elapsed() < KEPT && sender.is_ready());
    }
}
