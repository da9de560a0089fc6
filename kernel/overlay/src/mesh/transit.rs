//! Packets that are for neither end of the connection they came by: a node in the middle, the hub of a star, passes them on to
//! the peer that has their destination, which hears them from this node only if its own routes lead back this way.
use super::Mesh;
use crate::{
    packet::{Ip, Offload, UNFINISHED, Uncut, WHOLE, cut, expire_hop, too_large},
    status::Reason,
};
use bytes::{BufMut, Bytes};
use std::time::Instant;

/// A packet on its way through.
pub(super) struct Onward {
    /// Neighbours.
    pub from: usize,
    pub to: usize,
    /// The first byte of its datagram.
    pub kind: u8,
    pub packet: Bytes,
}

impl Mesh {
    /// Whom a packet is for that came from a neighbour and is for none of our addresses.
    pub(super) fn onward(&self, from: usize, packet: &[u8], now: Instant) -> Option<usize> {
        let to = self.way(Ip::of(packet)?.destination, Some(from), now)?;
        (to != from).then_some(to)
    }

    pub(super) fn pass_on(&mut self, onward: Onward) {
        let Onward { from, to, kind, packet } = onward;
        let mut packet = packet.to_vec();
        let Some(ip) = Ip::of(&packet) else { return };
        // Routes that lead in a circle end here.
        if !expire_hop(&mut packet, &ip) {
            return self.dropped(Some(from), Reason::Astray, 1);
        }
        let offload = Offload {
            unfinished: kind == UNFINISHED,
            ..Offload::default()
        };
        let Some(neighbour) = self.neighbours[to].as_mut() else {
            return;
        };
        let Some(link) = neighbour.link.and_then(|at| self.links[at].as_mut()) else {
            return neighbour.drops.count(Reason::Away);
        };
        let mut datagrams = link.connection.datagrams();
        let room = datagrams.max_size().unwrap_or_default();
        let done = cut(&mut packet, &ip, &offload, room, &mut self.arena, |datagram| {
            neighbour.sent.count(datagram.len() - 1);
            let _ = datagrams.send(datagram, true);
        });
        match done {
            Ok(()) => {
                let at = neighbour.link;
                at.into_iter().for_each(|at| self.wait(at));
            }
            Err(Uncut::Malformed) => neighbour.drops.count(Reason::Malformed),
            Err(Uncut::TooLarge) => {
                neighbour.drops.count(Reason::TooLarge);
                self.say(from, &too_large(&packet, &ip, room.saturating_sub(1)));
            }
        }
    }

    /// Sends a packet of our own making to a neighbour, as far as that can be.
    fn say(&mut self, to: usize, packet: &[u8]) {
        let link = self.neighbours[to].as_ref().and_then(|known| known.link);
        if let Some(at) = link
            && let Some(found) = self.links[at].as_mut()
        {
            self.arena.reserve(1 + packet.len());
            self.arena.put_u8(WHOLE);
            self.arena.put_slice(packet);
            let _ = found.connection.datagrams().send(self.arena.split().freeze(), true);
            self.wait(at);
        }
    }
}
