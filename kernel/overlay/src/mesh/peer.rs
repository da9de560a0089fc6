//! A neighbour: where it is, what is behind it, and when it is dialled.
use crate::{
    cidr::Cidr,
    status::{Drops, Traffic},
};
use rand::{Rng, rngs::StdRng};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Another node, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node's name, which its certificate must say.
    pub name: String,
    /// Where it is dialled.
    pub address: SocketAddr,
    /// The addresses of its pods.
    pub ranges: Vec<Cidr>,
}

/// How often it is looked whether the peer is heard.
const LOOK: Duration = Duration::from_secs(1);

/// After so many looks at a silent connection, another way to the peer is tried beside it.
const SILENT: u32 = 3;

/// Of two nodes, the one whose name comes first dials. The other waits so long for it.
const COURTESY: Duration = Duration::from_millis(1500);

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Neighbour {
    pub peer: Peer,
    /// Whether it is to be a peer. If not, it is kept for what it has lent.
    pub planned: bool,
    /// Ranges that it had and others have now, and since when: they are heard from it, too, for a while.
    pub lent: HashMap<Cidr, Instant>,
    /// The connection that packets go out by.
    pub link: Option<usize>,
    /// Since when there is one, whichever.
    since: Instant,
    /// One that is being made.
    pub dial: Option<usize>,
    /// When it is looked at next.
    pub due: Instant,
    /// Dials without success.
    failures: u32,
    /// Packets heard, at the last look, and looks since then.
    heard: u64,
    silent: u32,
    pub received: Traffic,
    pub sent: Traffic,
    pub drops: Drops,
}

impl Neighbour {
    /// `first`: whether it is ours to dial.
    pub fn new(peer: Peer, first: bool, now: Instant) -> Self {
        Neighbour {
            peer,
            planned: true,
            lent: HashMap::new(),
            link: None,
            since: now,
            dial: None,
            due: if first { now } else { now + COURTESY },
            failures: 0,
            heard: 0,
            silent: 0,
            received: Traffic::default(),
            sent: Traffic::default(),
            drops: Drops::default(),
        }
    }

    /// A look at the connection, by which so many packets were heard: whether to dial another.
    pub fn look(&mut self, heard: u64, now: Instant) -> bool {
        self.silent = if heard == self.heard { self.silent + 1 } else { 0 };
        self.heard = heard;
        self.due = now + LOOK;
        self.silent >= SILENT && self.dial.is_none()
    }

    /// What it is to be from now on, if it is to be a peer; `all` are the ranges that peers have then. True if it must be
    /// seen whether it is dialled where it is.
    pub fn plan(&mut self, peer: Option<Peer>, all: &HashSet<Cidr>, now: Instant) -> bool {
        let had = std::mem::take(&mut self.peer.ranges);
        self.lent.extend(had.into_iter().map(|range| (range, now)));
        self.lent.retain(|range, _| all.contains(range));
        let was = std::mem::replace(&mut self.planned, peer.is_some());
        let Some(peer) = peer else { return false };
        for range in &peer.ranges {
            self.lent.remove(range);
        }
        let before = std::mem::replace(&mut self.peer, peer);
        !was || before.address != self.peer.address
    }

    /// Whether it may send from that address.
    pub fn speaks_for(&self, address: IpAddr) -> bool {
        let mut ranges = self.peer.ranges.iter().chain(self.lent.keys());
        ranges.any(|range| range.contains(address))
    }

    pub fn connected_since(&self) -> Option<Instant> {
        self.link.map(|_| self.since)
    }

    /// Packets go out by this connection from now on.
    pub fn connected(&mut self, link: usize, now: Instant) {
        if self.link.replace(link).is_none() {
            self.since = now;
        }
        self.failures = 0;
        self.silent = 0;
        self.heard = 0;
        self.due = now + LOOK;
    }

    /// There is none any more, or a dial failed.
    pub fn alone(&mut self, first: bool, now: Instant, random: &mut StdRng) {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST_PAUSE);
        self.failures += 1;
        let pause = pause.mul_f64(random.random_range(0.5..1.5));
        self.due = now + if first { pause } else { pause + COURTESY };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn neighbour(now: Instant) -> Neighbour {
        let peer = Peer {
            name: "n2".to_owned(),
            address: "192.0.2.2:7".parse().unwrap(),
            ranges: Vec::new(),
        };
        Neighbour::new(peer, true, now)
    }

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let now = Instant::now();
        let mut random = StdRng::seed_from_u64(1);
        let mut neighbour = neighbour(now);
        let pauses: Vec<Duration> = (0..12)
            .map(|_| {
                neighbour.alone(true, now, &mut random);
                neighbour.due - now
            })
            .collect();
        assert!(pauses[0] < FIRST_PAUSE * 2 && pauses[11] > LONGEST_PAUSE / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE.mul_f64(1.5)));
        assert_ne!(pauses[10], pauses[11]);
    }

    #[test]
    fn who_is_silent_is_dialled_again() {
        let now = Instant::now();
        let mut neighbour = neighbour(now);
        neighbour.connected(0, now);
        assert!(!neighbour.look(5, now));
        assert_eq!([0; 3].map(|_| neighbour.look(5, now)), [false, false, true]);
        assert!(!neighbour.look(6, now), "it is heard again");
    }
}
