//! By which of its addresses other machines reach this one.
use anyhow::{Context, Result};
use sampan_api::ranges;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// This machine's address on the way to a server. Nothing is sent: connecting over UDP only finds the way.
///
/// # Errors
/// If there is none.
pub async fn way_to(server: &str) -> Result<IpAddr> {
    let way = async {
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(server).await?;
        socket.local_addr()
    };
    let local = way.await.with_context(|| format!("there is no way to {server}"))?;
    Ok(local.ip())
}

/// Where a node listens for the pods' packets of other nodes: on the overlay's own port, or, where another node of this
/// machine has that, on any.
pub async fn overlay_listens(address: IpAddr) -> SocketAddr {
    let usual = SocketAddr::new(address, ranges::OVERLAY_PORT);
    match tokio::net::UdpSocket::bind(usual).await {
        Ok(_) => usual,
        Err(error) => {
            tracing::warn!(%usual, %error, "the overlay takes another port");
            SocketAddr::new(address, 0)
        }
    }
}

/// Where a node listens for the servers: on its address, or, where that is none of the machine's own (it is behind another),
/// on all.
pub async fn node_listens(address: IpAddr) -> SocketAddr {
    let own = SocketAddr::new(address, 0);
    match tokio::net::UdpSocket::bind(own).await {
        Ok(_) => own,
        Err(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    }
}
