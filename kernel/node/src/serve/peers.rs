//! The other nodes, for those who ask how they are reached.
use crate::agent::Node;
use sampan_api::rpc;
use sampan_overlay::PeerStatus;

/// All peers of this node.
pub async fn list(node: &Node) -> rpc::ListPeersResponse {
    let peers = match &node.network {
        Some(network) => network.peers().await,
        None => Vec::new(),
    };
    let name = &node.config.name;
    rpc::ListPeersResponse {
        peers: peers.into_iter().map(|peer| message(name, peer)).collect(),
        ..rpc::ListPeersResponse::default()
    }
}

fn message(node: &str, peer: PeerStatus) -> rpc::Peer {
    let mut message = rpc::Peer {
        node: node.to_owned(),
        name: peer.name,
        address: peer.address.to_string(),
        received_packets: peer.received.packets,
        received_bytes: peer.received.bytes,
        sent_packets: peer.sent.packets,
        sent_bytes: peer.sent.bytes,
        ..rpc::Peer::default()
    };
    let drops = peer.drops.iter().map(|(reason, packets)| rpc::PeerDrops {
        reason: reason.to_string(),
        packets,
    });
    message.drops = drops.collect();
    if let Some(connected) = peer.connected {
        message.connected = true;
        message.address = connected.address.to_string();
        message.connected_seconds = connected.lasting.as_secs();
        message.rtt_micros = u64::try_from(connected.rtt.as_micros()).unwrap_or(u64::MAX);
        (message.quic_sent, message.quic_lost) = (connected.sent, connected.lost);
        message.path_mtu = connected.path_mtu.into();
    }
    message
}
