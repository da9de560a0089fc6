//! Dialling: a connector for gRPC channels that does the TLS itself, so that each handshake shows what is shown then, and
//! that says why a peer was refused.
//!
//! Endpoints that are dialled with it are of the scheme `http`: to the channel, the TLS is part of the way.
use crate::{
    credentials::{CredentialsError, Nobody, client_config, host_name, trust},
    refused::Refused,
};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, OtherError};
use rustls_pki_types::ServerName;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error(transparent)]
    Io(io::Error),
    /// The peer's certificate is not accepted.
    #[error(transparent)]
    Refused(Box<Refused>),
    #[error("TLS: {0}")]
    Tls(rustls::Error),
}

/// A connector with TLS over the connections of another.
#[derive(Clone)]
pub struct Dialer<C> {
    inner: C,
    config: Arc<ClientConfig>,
    host: ServerName<'static>,
}

impl<C> Dialer<C> {
    pub(crate) fn new(inner: C, config: Arc<ClientConfig>, host: ServerName<'static>) -> Self {
        Dialer { inner, config, host }
    }

    /// Of somebody who has no certificate yet, but knows whom to trust.
    ///
    /// # Errors
    /// If the authority's certificate cannot be used, or `host` is no name.
    pub fn of_nobody(ca_pem: &str, inner: C, host: &str) -> Result<Self, CredentialsError> {
        let (authority, roots) = trust(ca_pem)?;
        let config = client_config(&authority, &roots, Arc::new(Nobody))?;
        Ok(Dialer::new(inner, config, host_name(host)?))
    }
}

type Dialling = Pin<Box<dyn Future<Output = Result<TokioIo<TlsStream<TcpStream>>, DialError>> + Send>>;

impl<C> Service<Uri> for Dialer<C>
where
    C: Service<Uri, Response = TokioIo<TcpStream>, Error = io::Error>,
    C::Future: Send + 'static,
{
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = DialError;
    type Future = Dialling;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        self.inner.poll_ready(context).map_err(DialError::Io)
    }

    fn call(&mut self, uri: Uri) -> Dialling {
        let connecting = self.inner.call(uri);
        let (config, host) = (self.config.clone(), self.host.clone());
        Box::pin(async move {
            let stream = connecting.await.map_err(DialError::Io)?.into_inner();
            let stream = TlsConnector::from(config).connect(host, stream).await;
            stream.map(TokioIo::new).map_err(DialError::of)
        })
    }
}

impl DialError {
    fn of(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            None => DialError::Io(error),
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))) => {
                match inner.downcast_ref::<Refused>() {
                    Some(refused) => DialError::Refused(Box::new(refused.clone())),
                    None => DialError::Io(error),
                }
            }
            Some(other) => DialError::Tls(other.clone()),
        }
    }
}

/// Connects to one address, `HOST:PORT`, whatever the channel asks for.
#[derive(Clone, Debug)]
pub struct Tcp(pub String);

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
