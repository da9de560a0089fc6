//! The connection: mutual TLS to the server of a context, and what to say when there is none.
use super::shown::Shown;
use crate::{contexts::Access, failure::Unreachable};
use anyhow::{Context, Result, anyhow};
use http::Uri;
use sampan_api::ApiError;
use sampan_node::servers::Servers;
use sampan_tls::{Credentials, KeyPair};
use std::{error::Error, io, sync::Arc, time::Duration};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
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
    channel_to(access, Servers::parse(&access.server))
}

/// As [`channel`], to the next of these servers.
///
/// # Errors
/// As [`channel`].
pub fn channel_to(access: &Access, servers: Servers) -> Result<Channel> {
    let host = match access.tls_server_name.as_str() {
        "" => host_of(&access.server)?,
        name => name.to_owned(),
    };
    let dialer = credentials(access)?.dialer(servers, &host)?;
    let endpoint = Endpoint::from_static("http://servers.sampan")
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20);
    Ok(endpoint.connect_with_connector_lazy(dialer))
}

/// What the client shows, and whom it trusts.
///
/// # Errors
/// If the certificates cannot be read.
pub fn credentials(access: &Access) -> Result<Arc<Credentials>> {
    let own = KeyPair {
        cert_pem: access.cert_pem.clone(),
        key_pem: access.key_pem.clone(),
    };
    Credentials::new(&access.ca_pem, &own)
        .with_context(|| format!("the certificates of context \"{}\" cannot be used", access.context))
}

/// The host of the first server. A machine that has joined knows them as HOST:PORT.
fn host_of(servers: &str) -> Result<String> {
    let first = servers.split(',').next().unwrap_or_default().trim();
    let first = first.split_once("://").map_or(first, |(_, rest)| rest);
    let wrong = || anyhow!("\"{servers}\" is no address of a server: expected https://HOST:PORT");
    let uri: Uri = format!("https://{first}").parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    Ok(host.trim_matches(['[', ']']).to_owned())
}

/// The error of a call: the server's own, or why it could not be asked.
pub fn explain(status: Status, server: &str, shown: &Shown) -> anyhow::Error {
    let source = match status.source() {
        Some(source) if status.details().is_empty() => source,
        _ => return ApiError::from(status).into(),
    };
    if let Some(refused) = sampan_tls::refused(source) {
        return anyhow!(shown.distrusted(server, refused));
    }
    if let Some(alert) = sampan_tls::alert(source) {
        return anyhow!(shown.not_accepted(server, Some(alert)));
    }
    if was_refused(source) {
        return Unreachable(format!(
            "the connection to the server {server} was refused: is it running? Start it with `sampan up`, or choose \
             another with --context or --server"
        ))
        .into();
    }
    // A server that does not accept a certificate may have hung up before its reason came through.
    if !shown.is_good() && !never_connected(source) {
        return anyhow!(shown.not_accepted(server, None));
    }
    Unreachable(format!(
        "the server {server} cannot be reached: {}",
        sampan_tls::origin(source)
    ))
    .into()
}

fn was_refused(error: &(dyn Error + 'static)) -> bool {
    kind(error) == Some(io::ErrorKind::ConnectionRefused)
}

/// Whether there was not even a connection on which a certificate could be shown.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, NotFound, TimedOut};
    matches!(
        kind(error),
        Some(HostUnreachable | NetworkUnreachable | NotFound | TimedOut)
    )
}

/// What went wrong with a socket, anywhere in what led to an error.
fn kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let of_dialling = match error.downcast_ref() {
            Some(sampan_tls::DialError::Io(error)) => Some(error),
            _ => None,
        };
        if let Some(error) = of_dialling.or_else(|| error.downcast_ref::<io::Error>()) {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_servers_is_found() {
        for (servers, host) in [
            ("https://10.0.0.1:7443", "10.0.0.1"),
            ("10.0.0.1:7443,10.0.0.2:7443", "10.0.0.1"),
            ("https://[::1]:7443", "::1"),
            ("https://cluster.example/", "cluster.example"),
        ] {
            assert_eq!(host_of(servers).unwrap(), host, "{servers}");
        }
        assert!(
            host_of("https://")
                .unwrap_err()
                .to_string()
                .contains("https://HOST:PORT")
        );
    }
}
