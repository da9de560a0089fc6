//! Listening: connections come in, and go on once they have shaken hands with the certificate that is shown then.
use crate::credentials::{Credentials, CredentialsError};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;

/// Who has not finished the handshake by then is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes under way; who comes then waits in the system's queue.
const TOGETHER: usize = 1024;

/// So long, and for so many bytes, who was refused is listened to.
const FAREWELL: Duration = Duration::from_secs(1);
const LAST_WORDS: u64 = 64 << 10;

/// Whom a listener lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Who has a certificate of the authority.
    Known,
    /// Also who shows none: what they may do is for others to say.
    Anybody,
}

/// A stream of connections after their handshakes. With it go the listener and the handshakes that are under way.
pub struct Handshakes<S> {
    incoming: S,
    acceptor: TlsAcceptor,
    under_way: JoinSet<io::Result<TlsStream<TcpStream>>>,
}

impl<S> Handshakes<S> {
    /// Over the connections of `incoming`.
    ///
    /// # Errors
    /// If the authority cannot be trusted.
    pub fn new(incoming: S, credentials: &Arc<Credentials>, clients: Clients) -> Result<Self, CredentialsError> {
        let config = credentials.server_config(clients == Clients::Anybody)?;
        Ok(Handshakes {
            incoming,
            acceptor: config.into(),
            under_way: JoinSet::new(),
        })
    }
}

impl<S: Stream<Item = io::Result<TcpStream>> + Unpin> Stream for Handshakes<S> {
    type Item = io::Result<TlsStream<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while this.under_way.len() < TOGETHER {
            match Pin::new(&mut this.incoming).poll_next(context) {
                Poll::Ready(Some(Ok(stream))) => {
                    this.under_way.spawn(shake_hands(this.acceptor.clone(), stream));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        loop {
            match this.under_way.poll_join_next(context) {
                Poll::Ready(Some(Ok(Ok(stream)))) => return Poll::Ready(Some(Ok(stream))),
                Poll::Ready(Some(Ok(Err(error)))) => tracing::info!(why = %error, "a client was refused"),
                Poll::Ready(Some(Err(error))) => tracing::error!(%error, "a handshake ended by itself"),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

async fn shake_hands(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let greeting = acceptor.accept(stream).into_fallible();
    match tokio::time::timeout(HANDSHAKE, greeting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, mut stream))) => {
            // The alert says why. Whoever closes with bytes unread takes it back, so they are read.
            let farewell = async {
                stream.shutdown().await?;
                tokio::io::copy(&mut (&mut stream).take(LAST_WORDS), &mut tokio::io::sink()).await
            };
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
            Err(error)
        }
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
