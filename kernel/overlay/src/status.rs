//! What is said of peers, and what is counted of packets that went nowhere.
use std::{fmt, net::SocketAddr, time::Duration};

/// Why a packet went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is no IP packet, or not what it says it is.
    Malformed,
    /// It came out of the device, and its source is none of ours.
    NotOurs,
    /// It came out of the device, and is for nobody who is a peer.
    NoRoute,
    /// The peer is not connected.
    Away,
    /// It must be whole and does not fit; its sender was told.
    TooLarge,
    /// The peer takes less than is sent; of what waited, the oldest goes first.
    Behind,
    /// A peer sent it in the name of an address that is none of its own.
    Spoofed,
    /// A peer sent it, and it is for none of our addresses, nor for those of another peer; or it has been through too many
    /// nodes.
    Astray,
    /// The kernel did not take it.
    Refused,
}

const REASONS: [(Reason, &str); 9] = [
    (Reason::Malformed, "malformed"),
    (Reason::NotOurs, "not-ours"),
    (Reason::NoRoute, "no-route"),
    (Reason::Away, "away"),
    (Reason::TooLarge, "too-large"),
    (Reason::Behind, "behind"),
    (Reason::Spoofed, "spoofed"),
    (Reason::Astray, "astray"),
    (Reason::Refused, "refused"),
];

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REASONS[*self as usize].1)
    }
}

/// Packets that went nowhere, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; REASONS.len()]);

impl Drops {
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Those that there were, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        let all = REASONS.iter().map(|(reason, _)| (*reason, self.of(*reason)));
        all.filter(|(_, count)| *count > 0)
    }

    pub(crate) fn count(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    pub(crate) fn add(&mut self, reason: Reason, count: u64) {
        self.0[reason as usize] += count;
    }
}

/// Packets and their bytes, without what the way between nodes adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: u64,
}

impl Traffic {
    pub(crate) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// What is known of a connection to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Where the peer is heard from.
    pub address: SocketAddr,
    /// For how long it has been connected.
    pub lasting: Duration,
    pub rtt: Duration,
    /// QUIC packets that were sent, and those that did not arrive.
    pub sent: u64,
    pub lost: u64,
    /// The longest UDP payload that the path carries.
    pub path_mtu: u16,
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub name: String,
    /// Where it is dialled.
    pub address: SocketAddr,
    /// None: it is away.
    pub connected: Option<Connected>,
    /// What was taken from it and given to it, since it is a peer.
    pub received: Traffic,
    pub sent: Traffic,
    pub drops: Drops,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_place_and_name() {
        for (at, (reason, name)) in REASONS.iter().enumerate() {
            assert_eq!((*reason as usize, reason.to_string().as_str()), (at, *name));
        }
        let mut drops = Drops::default();
        drops.count(Reason::Spoofed);
        drops.add(Reason::Spoofed, 2);
        assert_eq!(drops.iter().collect::<Vec<_>>(), [(Reason::Spoofed, 3)]);
    }
}
