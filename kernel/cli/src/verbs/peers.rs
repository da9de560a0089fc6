//! `get peers`: how nodes reach each other.
use crate::{
    print::{Format, Table, age, format::pretty},
    session::Session,
    terminal::warn_of,
};
use anyhow::{Result, bail};
use sampan_api::rpc::{self, Peer};
use serde_json::{Value, json};

/// Lists them.
pub async fn run(format: &Format, no_headers: bool, session: &Session) -> Result<()> {
    let request = rpc::ListPeersRequest::default();
    let answer = session
        .once(async { session.runtime().list_peers(request).await })
        .await?;
    let mut peers = answer.peers;
    peers.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
    match format {
        Format::Json => println!("{}", pretty(&list(&peers))),
        Format::Yaml => print!("{}", crate::print::yaml::to_text(&list(&peers))?),
        Format::Table | Format::Wide if peers.is_empty() && answer.problems.is_empty() => {
            eprintln!("No peers: this is the only node, or the others are not known yet");
        }
        Format::Table | Format::Wide => table(&peers, matches!(format, Format::Wide), !no_headers),
        _ => bail!("peers are printed as a table, wide, json or yaml"),
    }
    warn_of(&answer.problems);
    Ok(())
}

fn table(peers: &[Peer], wide: bool, headers: bool) {
    let mut columns = vec![
        "NODE", "PEER", "ADDRESS", "STATUS", "RTT", "LOSS", "MTU", "RECEIVED", "SENT", "DROPPED",
    ];
    if wide {
        columns.push("REASONS");
    }
    let mut table = Table::new(columns);
    peers.iter().for_each(|peer| table.row(row(peer, wide)));
    print!("{}", table.to_text(headers));
}

fn row(peer: &Peer, wide: bool) -> Vec<String> {
    let connected = |text: String| match peer.connected {
        true => text,
        false => "<none>".to_owned(),
    };
    let status = match peer.connected {
        true => format!(
            "Connected ({})",
            age::human(i64::try_from(peer.connected_seconds).unwrap_or(i64::MAX))
        ),
        false => "Away".to_owned(),
    };
    let dropped: u64 = peer.drops.iter().map(|drops| drops.packets).sum();
    let mut row = vec![
        peer.node.clone(),
        peer.name.clone(),
        peer.address.clone(),
        status,
        connected(format!("{:.2}ms", peer.rtt_micros as f64 / 1000.0)),
        connected(loss(peer)),
        connected(peer.path_mtu.to_string()),
        size(peer.received_bytes),
        size(peer.sent_bytes),
        dropped.to_string(),
    ];
    if wide {
        let reasons: Vec<String> = peer
            .drops
            .iter()
            .map(|drops| format!("{}={}", drops.reason, drops.packets))
            .collect();
        row.push(match reasons.is_empty() {
            true => "<none>".to_owned(),
            false => reasons.join(","),
        });
    }
    row
}

fn loss(peer: &Peer) -> String {
    match peer.quic_sent {
        0 => "0%".to_owned(),
        sent => format!("{:.2}%", peer.quic_lost as f64 * 100.0 / sent as f64),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes}B"),
        10_000..10_240_000 => format!("{}Ki", bytes >> 10),
        _ => format!("{}Mi", bytes >> 20),
    }
}

fn list(peers: &[Peer]) -> Value {
    let item = |peer: &Peer| {
        let drops = peer
            .drops
            .iter()
            .map(|drops| (drops.reason.clone(), drops.packets.into()));
        json!({
            "node": peer.node, "name": peer.name, "address": peer.address, "connected": peer.connected,
            "connectedSeconds": peer.connected_seconds, "rttMicros": peer.rtt_micros, "quicSent": peer.quic_sent,
            "quicLost": peer.quic_lost, "pathMtu": peer.path_mtu, "receivedPackets": peer.received_packets,
            "receivedBytes": peer.received_bytes, "sentPackets": peer.sent_packets, "sentBytes": peer.sent_bytes,
            "drops": drops.collect::<serde_json::Map<String, Value>>(),
        })
    };
    json!({"kind": "PeerList", "items": peers.iter().map(item).collect::<Vec<_>>()})
}
