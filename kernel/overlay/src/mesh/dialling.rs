//! When a peer is dialled, and which connection remains when there are two.
use super::{Due, Farewell, Mesh, identity};
use quinn_proto::ConnectionError;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Two connections that are made within so long of each other were dialled by both at once. Otherwise the later one was
/// made because something is wrong with the other.
const AT_ONCE: Duration = Duration::from_secs(2);

impl Mesh {
    /// The peer is elsewhere now. Its packets may have told already; otherwise it is dialled there, beside the connection
    /// that is.
    pub(super) fn moved(&mut self, at: usize, now: Instant) {
        let Some(known) = &self.neighbours[at] else { return };
        let link = known.link.and_then(|link| self.links[link].as_ref());
        let address = known.peer.address;
        match known.dial {
            Some(dial) => self.hang_up(dial, now),
            None if link.is_some_and(|link| link.connection.remote_address() == address) => return,
            None => {}
        }
        self.dial(at, address, now);
    }

    /// This node's own address is another, or may be. Of connections that we dialled, QUIC moves the other end; those that
    /// were dialled by others are made anew from here.
    pub fn moved_here(&mut self, now: Instant) {
        for number in 0..self.links.len() {
            let Some(link) = &mut self.links[number] else { continue };
            if link.connection.side().is_client() {
                link.connection.local_address_changed();
                self.wait(number);
            } else if let Some(at) = link.peer
                && self.neighbours[at]
                    .as_ref()
                    .is_some_and(|known| known.link == Some(number) && known.dial.is_none())
            {
                let address = link.connection.remote_address();
                self.dial(at, address, now);
            }
        }
    }

    fn dial(&mut self, at: usize, address: SocketAddr, now: Instant) {
        let Some(known) = &mut self.neighbours[at] else { return };
        let name = &known.peer.name;
        match self.endpoint.connect(now, self.asks.clone(), address, name) {
            Ok((handle, connection)) => {
                known.dial = Some(handle.0);
                self.add(handle, connection, Some(at));
            }
            Err(error) => {
                tracing::warn!(peer = name, %address, %error, "the peer cannot be dialled");
                self.alone(at, now);
            }
        }
    }

    fn hang_up(&mut self, link: usize, now: Instant) {
        if let Some(Some(found)) = self.links.get_mut(link) {
            found.dialled = None;
            found.close(now, Farewell::Superseded);
            self.wait(link);
        }
        for known in self.neighbours.iter_mut().flatten() {
            known.dial = known.dial.filter(|dial| *dial != link);
        }
    }

    /// A peer is to be dialled later.
    fn alone(&mut self, at: usize, now: Instant) {
        let Some(known) = &mut self.neighbours[at] else { return };
        self.timers.remove(&(known.due, Due::Neighbour(at)));
        known.alone(self.name < known.peer.name, now, &mut self.random);
        self.timers.insert((known.due, Due::Neighbour(at)));
    }

    /// A look at a neighbour, whose time it was.
    pub(super) fn look(&mut self, at: usize, now: Instant) {
        let Some(known) = &mut self.neighbours[at] else { return };
        let heard = known
            .link
            .and_then(|link| self.links[link].as_ref())
            .map(super::Link::heard);
        let dial = known.look(heard.unwrap_or_default(), now);
        self.timers.insert((known.due, Due::Neighbour(at)));
        if known.planned && (dial || (heard.is_none() && known.dial.is_none())) {
            let address = known.peer.address;
            self.dial(at, address, now);
        }
    }

    /// A handshake is over: whoever is at the other end is now heard, or not.
    pub(super) fn shaken(&mut self, number: usize, now: Instant) {
        self.handshakes -= 1;
        let Some(Some(link)) = self.links.get_mut(number) else {
            return;
        };
        link.since = Some(now);
        let name = identity::node(&link.connection);
        let at = name.as_ref().and_then(|name| self.by_name.get(name)).copied();
        let meant = link.dialled;
        let Some(at) = at.filter(|at| meant.is_none_or(|meant| meant == *at)) else {
            let from = link.connection.remote_address();
            tracing::warn!(%from, name = name.as_deref().unwrap_or("no node"), "who is no peer is not heard");
            link.close(now, Farewell::Stranger);
            if let Some(Some(known)) = meant.map(|meant| &mut self.neighbours[meant]) {
                known.dial = known.dial.filter(|dial| *dial != number);
            }
            return self.wait(number);
        };
        link.peer = Some(at);
        let Some(known) = &mut self.neighbours[at] else { return };
        known.dial = known.dial.filter(|dial| *dial != number);
        let before = known.link.filter(|before| *before != number);
        tracing::info!(peer = known.peer.name, address = %link.connection.remote_address(), "connected");
        match before {
            Some(before) if !self.better(number, before, at) => self.retire(number, false, now),
            Some(before) => {
                let late = !self.at_once(number, before);
                self.use_link(at, number, now);
                self.retire(before, late, now);
            }
            None => self.use_link(at, number, now),
        }
    }

    fn at_once(&self, one: usize, other: usize) -> bool {
        let since = |number: usize| self.links[number].as_ref().and_then(|link| link.since);
        match (since(one), since(other)) {
            (Some(one), Some(other)) => one.max(other) - one.min(other) < AT_ONCE,
            _ => false,
        }
    }

    /// Whether a connection that was just made is better than the one that was there. Both ends must find the same.
    fn better(&self, new: usize, old: usize, at: usize) -> bool {
        let ours = |number: usize| {
            self.links[number]
                .as_ref()
                .is_some_and(|link| link.connection.side().is_client())
        };
        let first = self.neighbours[at]
            .as_ref()
            .is_some_and(|known| self.name < known.peer.name);
        !self.at_once(new, old) || ours(new) == ours(old) || ours(new) == first
    }

    /// A connection that is not used: who dialled it closes it, or whoever sees that it is out of date.
    fn retire(&mut self, number: usize, late: bool, now: Instant) {
        if let Some(Some(link)) = self.links.get_mut(number)
            && (late || link.connection.side().is_client())
        {
            link.close(now, Farewell::Superseded);
            self.wait(number);
        }
    }

    fn use_link(&mut self, at: usize, number: usize, now: Instant) {
        let Some(known) = &mut self.neighbours[at] else { return };
        self.timers.remove(&(known.due, Due::Neighbour(at)));
        known.connected(number, now);
        self.timers.insert((known.due, Due::Neighbour(at)));
        // The other's dial would win, or has.
        if let Some(dial) = known.dial
            && known.peer.name < self.name
        {
            self.hang_up(dial, now);
        }
    }

    /// A connection is over.
    pub(super) fn lost(&mut self, number: usize, reason: &ConnectionError, now: Instant) {
        let Some(Some(link)) = self.links.get(number) else {
            return;
        };
        let Some(at) = link.peer.or(link.dialled) else { return };
        let others: Vec<usize> = (0..self.links.len())
            .filter(|other| *other != number)
            .filter(|other| {
                let link = self.links[*other].as_ref();
                link.is_some_and(|link| link.peer == Some(at) && !link.connection.is_closed())
            })
            .collect();
        let Some(known) = &mut self.neighbours[at] else { return };
        let was_dial = known.dial == Some(number);
        let was_link = known.link == Some(number);
        known.dial = known.dial.filter(|dial| *dial != number);
        if was_link {
            tracing::info!(peer = known.peer.name, why = %reason, "the connection is over");
            known.link = None;
            match others.last() {
                Some(other) => self.use_link(at, *other, now),
                None => self.alone(at, now),
            }
        } else if was_dial {
            tracing::debug!(peer = known.peer.name, why = %reason, "the peer does not answer");
            if known.link.is_none() {
                self.alone(at, now);
            }
        }
    }
}
