//! Who is a peer, and by whom packets go. What moves from one peer to another is made before it is broken: nodes hear of a
//! change at different times, and until all have, none may lose what another sends in the old way. What nobody has any
//! more is not heard from that moment.
use super::{Due, Farewell, Mesh, Neighbour, Peer};
use crate::cidr::{Cidr, Table};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

/// For so long, and until the new way has been there for so long, packets go on by the old one: nodes that are told of a
/// change within this time of each other lose nothing. In it a new connection also finds out what its path carries, and
/// whether the other end takes us for a peer, which who dials does not know at first.
const HOLD: Duration = Duration::from_secs(2);

/// So long the old way is there beside the new one: longer than all others may send by it.
const GRACE: Duration = Duration::from_secs(10);

/// By whom packets go to a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub to: usize,
    /// By whom they went before, and until when they did.
    pub before: Option<(usize, Instant)>,
}

impl Mesh {
    /// Makes these the peers, and nobody else. Connections to peers that stay are left alone. Those to peers that go are
    /// kept for a while if others have some of their ranges now.
    pub fn set_peers(&mut self, peers: Vec<Peer>, now: Instant) {
        let mut wanted: HashMap<String, Peer> = peers.into_iter().map(|peer| (peer.name.clone(), peer)).collect();
        wanted.remove(&self.name);
        let all: HashSet<Cidr> = wanted.values().flat_map(|peer| &peer.ranges).copied().collect();
        for at in 0..self.neighbours.len() {
            let Some(known) = &mut self.neighbours[at] else {
                continue;
            };
            let peer = wanted.remove(&known.peer.name);
            if known.plan(peer, &all, now) {
                self.moved(at, now);
            }
        }
        self.end_grace(now);
        for (_, peer) in wanted {
            self.welcome(peer, now);
        }
        self.lay_ways(now);
    }

    fn welcome(&mut self, peer: Peer, now: Instant) {
        let free = self.neighbours.iter().position(Option::is_none);
        let at = free.unwrap_or(self.neighbours.len());
        if at == self.neighbours.len() {
            self.neighbours.push(None);
        }
        self.by_name.insert(peer.name.clone(), at);
        let known = Neighbour::new(peer.clone(), self.name < peer.name, now);
        self.timers.insert((known.due, Due::Neighbour(at)));
        self.neighbours[at] = Some(known);
    }

    fn dismiss(&mut self, at: usize, now: Instant) {
        let Some(known) = self.neighbours[at].take() else {
            return;
        };
        self.timers.remove(&(known.due, Due::Neighbour(at)));
        self.by_name.remove(&known.peer.name);
        for number in 0..self.links.len() {
            let Some(link) = &mut self.links[number] else { continue };
            if link.peer == Some(at) || link.dialled == Some(at) {
                (link.peer, link.dialled) = (None, None);
                link.close(now, Farewell::Stranger);
                self.wait(number);
            }
        }
    }

    /// Forgets what moved long ago, and who has nothing else; sees to it that this is done again in time.
    pub(super) fn end_grace(&mut self, now: Instant) {
        for at in 0..self.neighbours.len() {
            let Some(known) = &mut self.neighbours[at] else {
                continue;
            };
            known.lent.retain(|_, moved| now < *moved + GRACE);
            if !known.planned && known.lent.is_empty() {
                self.dismiss(at, now);
            }
        }
        let lent = self.neighbours.iter().flatten().flat_map(|known| known.lent.values());
        let next = lent.min().map(|moved| (*moved + GRACE, Due::Grace));
        self.timers.retain(|(_, due)| *due != Due::Grace);
        self.timers.extend(next);
    }

    /// Of each range that moved, whoever its packets went by until now is the one before; of one that did not move again,
    /// whoever was.
    fn lay_ways(&mut self, now: Instant) {
        let mut ways = Table::default();
        for (to, known) in self.neighbours.iter().enumerate() {
            for range in known.iter().flat_map(|known| &known.peer.ranges) {
                let old = self.ways.of(*range);
                let by = old.map(|way| self.by(way, None, now));
                let mut olds = by.into_iter().chain(old.and_then(|way| way.before).map(|(old, _)| old));
                let before = olds.find_map(|old| {
                    let moved = self.neighbours[old].as_ref()?.lent.get(range)?;
                    Some((old, *moved))
                });
                ways.insert(*range, Way { to, before });
            }
        }
        self.ways = ways;
    }

    /// By whom a packet goes to an address, that came from a neighbour or is our own.
    pub(super) fn way(&self, to: IpAddr, from: Option<usize>, now: Instant) -> Option<usize> {
        self.ways.get(to).map(|way| self.by(way, from, now))
    }

    /// The old way, while it is there and the new one is not to be relied on yet. Nodes in the middle, of which one has the
    /// old way and the other the new, pass nothing back to each other.
    fn by(&self, way: Way, from: Option<usize>, now: Instant) -> usize {
        let Way { to, before } = way;
        let Some((old, moved)) = before else { return to };
        let since = |at: usize| self.neighbours[at].as_ref().and_then(Neighbour::connected_since);
        let there = now < moved + GRACE && since(old).is_some() && from != Some(old);
        let holds = since(to).is_none_or(|since| now < since.max(moved) + HOLD) || from == Some(to);
        if there && holds { old } else { to }
    }
}
