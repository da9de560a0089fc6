//! The mesh without its I/O: packets of both sides go in with the time, packets for both sides come out. Connections,
//! who may be heard, routes and dialling are decided here.
mod dialling;
mod identity;
mod link;
mod peer;
mod planning;
mod traffic;
mod transit;
mod transport;

#[cfg(test)]
mod tests;

use crate::{
    cidr::{Cidr, Table},
    packet::{Joiner, Sink},
    status::{Connected, Drops, PeerStatus, Reason},
};
use bytes::BytesMut;
use link::{Farewell, Link};
use peer::Neighbour;
pub use peer::Peer;
use planning::Way;
use quinn_proto::{ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, Event, Incoming, Transmit};
use rand::{SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Instant,
};
pub(crate) use transport::{OVERHEAD, Transport, payload};

/// With so many handshakes under way, who comes must first show that it is where it says.
const CROWD: usize = 32;

/// Something that has its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Link(usize),
    Neighbour(usize),
    /// What moved from one peer to another.
    Grace,
}

pub(crate) struct Mesh {
    name: String,
    own: Table<()>,
    endpoint: Endpoint,
    asks: quinn_proto::ClientConfig,
    /// By the numbers of their handles.
    links: Vec<Option<Link>>,
    neighbours: Vec<Option<Neighbour>>,
    by_name: HashMap<String, usize>,
    ways: Table<Way>,
    timers: BTreeSet<(Instant, Due)>,
    /// Connections that may have something to say.
    waiting: VecDeque<usize>,
    /// What is said outside of connections.
    answers: VecDeque<(Transmit, Vec<u8>)>,
    handshakes: usize,
    joiner: Joiner,
    /// The connection whose packets are being joined.
    joining: Option<usize>,
    arena: BytesMut,
    /// Of packets that have to do with no neighbour.
    drops: Drops,
    random: StdRng,
}

/// What a mesh is made of.
pub(crate) struct Parts {
    pub name: String,
    pub ranges: Vec<Cidr>,
    pub transport: Transport,
    /// Whether the kernel takes UDP in one piece.
    pub joins_udp: bool,
    /// Whether packets arrive whole or not at all.
    pub discovers_mtu: bool,
    pub seed: [u8; 32],
}

impl Mesh {
    pub fn new(parts: Parts) -> Self {
        let Transport {
            endpoint,
            answers,
            asks,
        } = parts.transport;
        let mut random = StdRng::from_seed(parts.seed);
        let seed = rand::Rng::random(&mut random);
        Mesh {
            name: parts.name,
            own: parts.ranges.into_iter().collect(),
            endpoint: Endpoint::new(endpoint, Some(answers), parts.discovers_mtu, Some(seed)),
            asks,
            links: Vec::new(),
            neighbours: Vec::new(),
            by_name: HashMap::new(),
            ways: Table::default(),
            timers: BTreeSet::new(),
            waiting: VecDeque::new(),
            answers: VecDeque::new(),
            handshakes: 0,
            joiner: Joiner::new(parts.joins_udp),
            joining: None,
            arena: BytesMut::new(),
            drops: Drops::default(),
            random,
        }
    }

    /// Takes a UDP packet.
    pub fn heard(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: Option<IpAddr>,
        ecn: Option<EcnCodepoint>,
        bytes: BytesMut,
    ) {
        let mut answer = Vec::new();
        match self.endpoint.handle(now, from, to, ecn, bytes, &mut answer) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(Some(link)) = self.links.get_mut(handle.0) {
                    link.connection.handle_event(event);
                    self.wait(handle.0);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.admit_handshake(now, incoming),
            Some(DatagramEvent::Response(transmit)) => self.answers.push_back((transmit, answer)),
            None => {}
        }
    }

    fn admit_handshake(&mut self, now: Instant, incoming: Incoming) {
        let mut answer = Vec::new();
        if self.handshakes >= CROWD && incoming.may_retry() {
            if let Ok(transmit) = self.endpoint.retry(incoming, &mut answer) {
                self.answers.push_back((transmit, answer));
            }
            return;
        }
        match self.endpoint.accept(incoming, now, &mut answer, None) {
            Ok((handle, connection)) => self.add(handle, connection, None),
            Err(refused) => {
                tracing::debug!(why = %refused.cause, "a handshake was refused");
                self.answers.extend(refused.response.map(|transmit| (transmit, answer)));
            }
        }
    }

    fn add(&mut self, handle: ConnectionHandle, connection: quinn_proto::Connection, dialled: Option<usize>) {
        if self.links.len() <= handle.0 {
            self.links.resize_with(handle.0 + 1, || None);
        }
        self.handshakes += 1;
        self.links[handle.0] = Some(Link {
            handle,
            connection,
            dialled,
            peer: None,
            since: None,
            timer: None,
            waiting: false,
        });
        self.wait(handle.0);
    }

    /// The connection is served before the next sleep.
    fn wait(&mut self, link: usize) {
        if let Some(Some(found)) = self.links.get_mut(link)
            && !found.waiting
        {
            found.waiting = true;
            self.waiting.push_back(link);
        }
    }

    /// Takes what connections have to say, and gives the kernel the packets that came by them. To be called after a batch
    /// of [`Mesh::heard`]; after the last, before [`Mesh::transmit`], also [`Mesh::flush`].
    pub fn deliver(&mut self, now: Instant, sink: &mut Sink<'_>) {
        for at in 0..self.waiting.len() {
            let link = self.waiting[at];
            self.events(link, now);
            self.take(link, now, sink);
        }
    }

    /// Gives the kernel what may have had a continuation, which has not come yet.
    pub fn flush(&mut self, sink: &mut Sink<'_>) {
        self.joiner.flush(sink);
        self.joining = None;
    }

    /// What happened to a connection.
    fn events(&mut self, at: usize, now: Instant) {
        while let Some(Some(link)) = self.links.get_mut(at)
            && let Some(event) = link.connection.poll()
        {
            match event {
                Event::Connected => self.shaken(at, now),
                Event::ConnectionLost { reason } => self.lost(at, &reason, now),
                _ => {}
            }
        }
    }

    /// The next packets for the network: all of them, if called until there are none. At most `most(length)` packets of
    /// that length are written to `buffer`.
    pub fn transmit(&mut self, now: Instant, most: impl Fn(usize) -> usize, buffer: &mut Vec<u8>) -> Option<Transmit> {
        buffer.clear();
        if let Some((transmit, bytes)) = self.answers.pop_front() {
            buffer.extend_from_slice(&bytes);
            return Some(transmit);
        }
        while let Some(&at) = self.waiting.front() {
            if let Some(Some(link)) = self.links.get_mut(at) {
                let most = most(usize::from(link.connection.current_mtu()));
                if let Some(transmit) = link.connection.poll_transmit(now, most, buffer) {
                    // Nobody's turn lasts for longer than one call.
                    self.waiting.rotate_left(1);
                    return Some(transmit);
                }
            }
            self.waiting.pop_front();
            self.settle(at, now);
        }
        None
    }

    /// The same, while more is to be submitted: only packets that make `most` together.
    pub fn transmit_full(
        &mut self,
        now: Instant,
        most: impl Fn(usize) -> usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        buffer.clear();
        let links = &mut self.links;
        self.waiting.iter().find_map(|&at| {
            let link = links[at].as_mut()?;
            let most = most(usize::from(link.connection.current_mtu()));
            (link.waits_to_be_sent() >= most).then(|| link.connection.poll_transmit(now, most, buffer))?
        })
    }

    /// A connection has said all: its timer is set, and what it wants of the endpoint is done.
    fn settle(&mut self, at: usize, now: Instant) {
        let Some(Some(link)) = self.links.get_mut(at) else {
            return;
        };
        link.waiting = false;
        let mut again = false;
        let mut over = false;
        while let Some(event) = link.connection.poll_endpoint_events() {
            over |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(link.handle, event) {
                link.connection.handle_event(event);
                again = true;
            }
        }
        let timer = link.connection.poll_timeout().filter(|_| !over);
        if link.timer != timer {
            if let Some(before) = link.timer {
                self.timers.remove(&(before, Due::Link(at)));
            }
            self.timers.extend(timer.map(|timer| (timer, Due::Link(at))));
            link.timer = timer;
        }
        self.events(at, now);
        if over {
            self.forget(at);
        } else if again {
            self.wait(at);
        }
    }

    fn forget(&mut self, at: usize) {
        if let Some(link) = self.links[at].take()
            && link.since.is_none()
        {
            self.handshakes -= 1;
        }
    }

    /// When [`Mesh::expire`] is to be called at the latest.
    pub fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Does what has its time.
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(due, what)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            match what {
                Due::Link(at) => {
                    if let Some(Some(link)) = self.links.get_mut(at) {
                        link.timer = None;
                        link.connection.handle_timeout(now);
                        self.wait(at);
                    }
                }
                Due::Neighbour(at) => self.look(at, now),
                Due::Grace => self.end_grace(now),
            }
        }
    }

    /// Says farewell to everybody; what is then transmitted is the last.
    pub fn leave(&mut self, now: Instant) {
        for at in 0..self.links.len() {
            if let Some(Some(link)) = self.links.get_mut(at) {
                link.close(now, Farewell::Leaving);
                self.wait(at);
            }
        }
    }

    /// Counts a packet that went nowhere, at the neighbour it has to do with.
    pub fn dropped(&mut self, neighbour: Option<usize>, reason: Reason, count: u64) {
        let neighbour = neighbour.and_then(|at| self.neighbours[at].as_mut());
        neighbour
            .map_or(&mut self.drops, |neighbour| &mut neighbour.drops)
            .add(reason, count);
    }

    /// Packets that have to do with no peer.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// How the peers are; who is only kept until others have its ranges is none.
    pub fn status(&self, now: Instant) -> Vec<PeerStatus> {
        let mut all: Vec<PeerStatus> = self
            .neighbours
            .iter()
            .flatten()
            .filter(|known| known.planned)
            .map(|known| self.status_of(known, now))
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn status_of(&self, known: &Neighbour, now: Instant) -> PeerStatus {
        let link = known.link.and_then(|at| self.links[at].as_ref());
        let connected = link.map(|link| {
            let stats = link.connection.stats();
            Connected {
                address: link.connection.remote_address(),
                lasting: link
                    .since
                    .map(|since| now.saturating_duration_since(since))
                    .unwrap_or_default(),
                rtt: stats.path.rtt,
                sent: stats.path.sent_packets,
                lost: stats.path.lost_packets,
                path_mtu: stats.path.current_mtu,
            }
        });
        PeerStatus {
            name: known.peer.name.clone(),
            address: known.peer.address,
            connected,
            received: known.received,
            sent: known.sent,
            drops: known.drops,
        }
    }
}
