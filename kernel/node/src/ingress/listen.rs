//! The listeners and the connections that they take, from the first byte to the last.
use super::{
    Limits,
    figures::Figure,
    progress::{Progress, Watched},
    proxy::{Client, Proxy},
};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::Pin, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Connections that wait in the system's queue.
const QUEUE: u32 = 1024;

/// Before it is tried again where the system takes no more.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a connection that was still for too long has for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Bytes that are read ahead of one connection.
const READ_AHEAD: usize = 64 << 10;

/// What a client of HTTP/2 says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Before it is looked again for the rest of that; nearly always it comes in one piece.
const GLANCE: Duration = Duration::from_millis(10);

/// Requests of one HTTP/2 connection at a time.
const MOST_STREAMS: u32 = 128;

/// # Errors
/// If the system refuses. Call within a tokio runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of the agent before may still be closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Takes connections until the proxy closes. With an acceptor they are greeted by TLS.
pub async fn listen(
    proxy: Arc<Proxy>,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    limits: Limits,
    places: Arc<Semaphore>,
) {
    loop {
        // Who comes when all places are taken waits in the system's queue.
        let taken = async {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            let (stream, from) = listener.accept().await?;
            Ok::<_, io::Error>((place, stream, from))
        };
        let taken = tokio::select! {
            () = proxy.closing.cancelled() => return,
            taken = taken => taken,
        };
        match taken {
            Ok((place, stream, from)) => {
                proxy.figures.count(Figure::Connections);
                let (own, acceptor, stopping) = (proxy.clone(), acceptor.clone(), proxy.stopping.clone());
                proxy.tasks.spawn(async move {
                    tokio::select! {
                        () = stopping.cancelled() => {}
                        () = connection(own, stream, from, acceptor, limits) => {}
                    }
                    drop(place);
                });
            }
            // Such as no more files: that passes.
            Err(error) => {
                tracing::warn!(%error, "the ingress takes no connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(
    proxy: Arc<Proxy>,
    stream: TcpStream,
    from: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    limits: Limits,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection is gone before it began");
        return;
    }
    let client = Client {
        address: from.ip(),
        https: acceptor.is_some(),
        progress: Progress::now(),
    };
    let Some(acceptor) = acceptor else {
        let is_h2 = tokio::select! {
            () = proxy.closing.cancelled() => return,
            is_h2 = timeout(proxy.times.header, begins_in_h2(&stream)) => is_h2,
        };
        let Ok(is_h2) = is_h2 else {
            return proxy.figures.count(Figure::Malformed);
        };
        let stream = Watched::new(stream, client.progress.clone());
        return serve(proxy, stream, client, limits, is_h2).await;
    };
    let stream = Watched::new(stream, client.progress.clone());
    match timeout(proxy.times.header, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve(proxy, stream, client, limits, is_h2).await;
        }
        Ok(Err(error)) => {
            proxy.figures.count(Figure::Handshakes);
            tracing::debug!(%error, %from, "a handshake failed");
        }
        Err(_) => proxy.figures.count(Figure::Handshakes),
    }
}

/// Whether a client begins with HTTP/2, as one does that knows beforehand that it is spoken (RFC 9113, 3.3). Nothing is taken of
/// what it says. hyper-util's builder that finds out by itself would wait for the first words without an end.
async fn begins_in_h2(stream: &TcpStream) -> bool {
    let mut begun = [0; PREFACE.len()];
    loop {
        // What is wrong with the connection is seen again by whoever serves it.
        let seen = stream.peek(&mut begun).await.unwrap_or(0);
        if seen == 0 || seen == PREFACE.len() || !PREFACE.starts_with(&begun[..seen]) {
            return begun == *PREFACE;
        }
        // There is something to be read all the time: more of it is not waited for by that.
        sleep(GLANCE).await;
    }
}

async fn serve<I>(proxy: Arc<Proxy>, stream: I, client: Client, limits: Limits, is_h2: bool)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let progress = client.progress.clone();
    let own = proxy.clone();
    let service = service_fn(move |request| {
        let (proxy, client) = (own.clone(), client.clone());
        async move { Ok::<_, Infallible>(proxy.answer(request, client).await) }
    });
    let stream = TokioIo::new(stream);
    let result = if is_h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX));
        let connection = builder.serve_connection(stream, service);
        drive(&proxy, &progress, connection, |connection| {
            connection.graceful_shutdown()
        })
        .await
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(proxy.times.header)
            .max_header_size(limits.head)
            .max_headers(limits.headers)
            .max_buf_size(READ_AHEAD.max(limits.head));
        let connection = builder.serve_connection(stream, service).with_upgrades();
        drive(&proxy, &progress, connection, |connection| {
            connection.graceful_shutdown()
        })
        .await
    };
    if let Err(error) = result {
        if error.is_parse() || error.is_timeout() {
            proxy.figures.count(Figure::Malformed);
        }
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Lets a connection go on until it is done. When the proxy closes, what was begun ends and nothing new begins; where nothing
/// moves for too long it is closed.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    proxy: &Proxy,
    progress: &Progress,
    connection: C,
    close: impl Fn(Pin<&mut C>),
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        () = proxy.closing.cancelled() => {}
        () = progress.still_for(proxy.times.idle) => {}
    }
    close(connection.as_mut());
    tokio::select! {
        result = connection.as_mut() => return result,
        () = progress.still_for(proxy.times.idle) => {}
    }
    timeout(LAST_WORDS, connection).await.unwrap_or(Ok(()))
}
