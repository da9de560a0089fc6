//! Where a server listens, and where others reach it.
use crate::{ServerConfig, StartError};
use std::{io, net::SocketAddr, os::fd::AsFd};
use tokio::net::TcpListener;

/// Listens.
///
/// # Errors
/// If the address is another process's, or none of this machine.
pub async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind(listen).await.map_err(listen_error(listen))?;
    let address = listener.local_addr().map_err(listen_error(listen))?;
    Ok((listener, address))
}

/// What it means that it is not possible to listen there.
pub fn listen_error(address: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse(address),
        _ => StartError::Listen { address, source },
    }
}

/// A second hold on a listener, for who serves on it later.
///
/// # Errors
/// If there are no files left.
pub fn duplicate(listener: &TcpListener) -> io::Result<std::net::TcpListener> {
    Ok(listener.as_fd().try_clone_to_owned()?.into())
}

/// Where other machines reach this one: as it was told, or as it listens; where it listens on all addresses, by the one
/// that leads out.
pub fn advertised(config: &ServerConfig, address: SocketAddr) -> String {
    if !config.advertise.is_empty() {
        return config.advertise.clone();
    }
    if !address.ip().is_unspecified() {
        return address.to_string();
    }
    // Connecting sends nothing over UDP; it only finds the way. The address is one for documentation (RFC 5737).
    let out = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()));
    let ip = out.map_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), |local| local.ip());
    SocketAddr::new(ip, address.port()).to_string()
}
