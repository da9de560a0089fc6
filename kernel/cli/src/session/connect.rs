//! The connection: mutual TLS to the server of a context, and what to say when there is none.
use crate::{contexts::Access, failure::Unreachable};
use anyhow::{Context, Result, anyhow};
use sampan_api::ApiError;
use sampan_node::servers::Servers;
use std::{error::Error, io, time::Duration};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// A server that does not take a connection in this time is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a silent connection is asked whether it lives, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A channel that connects when it is first used.
///
/// # Errors
/// If the address or the certificates cannot be read.
pub fn channel(access: &Access) -> Result<Channel> {
    channel_to(access, &Servers::parse(&access.server))
}

/// As [`channel`], to the next of these servers.
///
/// # Errors
/// As [`channel`].
pub fn channel_to(access: &Access, servers: &Servers) -> Result<Channel> {
    // Someone may have installed it already; any is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&access.ca_pem))
        .identity(Identity::from_pem(&access.cert_pem, &access.key_pem));
    if !access.tls_server_name.is_empty() {
        tls = tls.domain_name(&access.tls_server_name);
    }
    let server = &access.server;
    // Of several servers any will do.
    let first = server.split(',').next().unwrap_or_default().trim();
    // A machine that has joined knows them as HOST:PORT.
    let first = match first.contains("://") {
        true => first.to_owned(),
        false => format!("https://{first}"),
    };
    let endpoint = Endpoint::from_shared(first)
        .with_context(|| format!("\"{server}\" is no address of a server: expected https://HOST:PORT"))?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .tls_config(tls)
        .with_context(|| format!("the certificates of context \"{}\" cannot be read", access.context))?;
    Ok(endpoint.connect_with_connector_lazy(servers.clone()))
}

/// The error of a call: the server's own, or why it could not be asked.
pub fn explain(status: Status, server: &str) -> anyhow::Error {
    let from_server = !status.details().is_empty();
    let mut cause: Option<&(dyn Error + 'static)> = if from_server { None } else { status.source() };
    let mut deepest = String::new();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            return Unreachable(format!(
                "the connection to the server {server} was refused: is it running? Start it with `sampan up`, or choose \
                 another with --context or --server"
            ))
            .into();
        }
        deepest = error.to_string();
        cause = error.source();
    }
    if deepest.is_empty() {
        return ApiError::from(status).into();
    }
    if deepest.contains("certificate") || deepest.contains("UnknownIssuer") {
        return anyhow!(
            "the server {server} is not the one this context was made for ({deepest}): `sampan up` writes a new context"
        );
    }
    Unreachable(format!("the server {server} cannot be reached: {deepest}")).into()
}
