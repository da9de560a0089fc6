//! Connections to other servers for single calls, kept between them. One that breaks is dialled anew by the next call.
use super::book::Peer;
use parking_lot::Mutex;
use std::collections::HashMap;
use tonic::transport::Channel;

/// At most one connection for each server.
#[derive(Default)]
pub struct Lines(Mutex<HashMap<u64, Line>>);

struct Line {
    peer: Peer,
    /// That of the certificate it was made with.
    turn: u64,
    channel: Channel,
}

impl Lines {
    /// The connection to a server as it is known now, with the certificate of this turn.
    pub fn get(&self, peer: &Peer, turn: u64) -> Option<Channel> {
        let mut lines = self.0.lock();
        let line = lines.get(&peer.id)?;
        if line.peer == *peer && line.turn == turn {
            return Some(line.channel.clone());
        }
        lines.remove(&peer.id);
        None
    }

    pub fn keep(&self, peer: Peer, turn: u64, channel: Channel) {
        self.0.lock().insert(peer.id, Line { peer, turn, channel });
    }
}
