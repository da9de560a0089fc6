//! Packets on their way through the mesh: which are let through, and to whom.
use super::{Mesh, transit::Onward};
use crate::{
    packet::{Ip, Offload, Segments, Sink, Uncut, cut, lower_mss, too_large},
    status::Reason,
};
use bytes::{Buf, Bytes};
use std::time::{Duration, Instant};

/// Datagrams that quinn keeps cost it this much more than their bytes, at most.
const KEPT: usize = 64;

/// So long after a connection was made, what the path carries is still being found out. Nobody is told of it then: kernels
/// remember what they are told for ten minutes.
const FINDING_OUT: Duration = Duration::from_secs(1);

/// So much of the arena is laid out at once.
const ARENA: usize = 128 << 10;

impl Mesh {
    /// Takes a packet that the kernel gave, with what it said of it. `sink` gets what is said back to its sender.
    pub fn submit(&mut self, now: Instant, offload: &Offload, packet: &mut [u8], sink: &mut Sink<'_>) {
        let Some(ip) = Ip::of(packet) else {
            return self.drops.count(Reason::Malformed);
        };
        if self.own.get(ip.source).is_none() {
            return self.drops.count(Reason::NotOurs);
        }
        let Some(to) = self.way(ip.destination, None, now) else {
            return self.drops.count(Reason::NoRoute);
        };
        let Some(neighbour) = self.neighbours[to].as_mut() else {
            return;
        };
        let Some(link) = neighbour.link.and_then(|at| self.links[at].as_mut()) else {
            return neighbour.drops.count(Reason::Away);
        };
        let mut datagrams = link.connection.datagrams();
        let room = datagrams.max_size().unwrap_or_default();
        if self.arena.capacity() < packet.len() + 4096 {
            self.arena.reserve(ARENA);
        }
        let known = link
            .since
            .is_some_and(|since| now.saturating_duration_since(since) > FINDING_OUT);
        if known && offload.segments == Segments::One {
            lower_mss(packet, &ip, !offload.unfinished, room.saturating_sub(1));
        }
        let mut behind = 0;
        let length = packet.len();
        let done = cut(packet, &ip, offload, room, &mut self.arena, |datagram| {
            behind += u64::from(datagrams.send_buffer_space() < datagram.len() + KEPT);
            neighbour.sent.count(datagram.len() - 1);
            // Nothing that was cut to fit is refused.
            let _ = datagrams.send(datagram, true);
        });
        neighbour.drops.add(Reason::Behind, behind);
        let at = neighbour.link;
        match done {
            Ok(()) => {}
            Err(Uncut::Malformed) => neighbour.drops.count(Reason::Malformed),
            Err(Uncut::TooLarge) => {
                neighbour.drops.count(Reason::TooLarge);
                tracing::trace!(length, room, "a packet does not fit");
                if known {
                    let answer = too_large(packet, &ip, room.saturating_sub(1));
                    sink(&Offload::default().write(), &[Bytes::from(answer)]);
                }
            }
        }
        if let Some(at) = at {
            self.wait(at);
        }
    }

    /// Gives the kernel what came by a connection, if it is from who may say it, and passes on what is for another peer.
    pub(super) fn take(&mut self, at: usize, now: Instant, sink: &mut Sink<'_>) {
        let onward = self.take_ours(at, sink);
        for one in onward {
            match self.onward(one.from, &one.packet, now) {
                Some(to) => self.pass_on(Onward { to, ..one }),
                None => self.dropped(Some(one.from), Reason::Astray, 1),
            }
        }
    }

    /// Gives the kernel what is for this node; what is from who may say it, and is not.
    fn take_ours(&mut self, at: usize, sink: &mut Sink<'_>) -> Vec<Onward> {
        let mut onward = Vec::new();
        if self.joining != Some(at) {
            self.flush(sink);
            self.joining = Some(at);
        }
        let Some(Some(link)) = self.links.get_mut(at) else {
            return onward;
        };
        let Some(from) = link.peer else { return onward };
        let Some(neighbour) = self.neighbours[from].as_mut() else {
            return onward;
        };
        let mut datagrams = link.connection.datagrams();
        while let Some(mut packet) = datagrams.recv() {
            let length = packet.len();
            if length < 2 {
                neighbour.drops.count(Reason::Malformed);
                continue;
            }
            let kind = packet.get_u8();
            let permits = |ip: &Ip| match ip {
                ip if !neighbour.speaks_for(ip.source) => Err(Reason::Spoofed),
                ip if self.own.get(ip.destination).is_none() => Err(Reason::Astray),
                _ => Ok(()),
            };
            match self.joiner.push(kind, packet, permits, sink) {
                Ok(()) => neighbour.received.count(length - 1),
                Err((Reason::Astray, packet)) => {
                    neighbour.received.count(length - 1);
                    onward.push(Onward {
                        from,
                        to: from,
                        kind,
                        packet,
                    });
                }
                Err((reason, _)) => neighbour.drops.count(reason),
            }
        }
        onward
    }
}
