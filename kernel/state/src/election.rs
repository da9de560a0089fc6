//! When a member stands for election. Raft draws that from the thread's generator; here randomness is an input.
use crate::{log::Log, names};
use raft::{RawNode, StateRole};

/// Ticks without a leader before an election, at the least; twice as many at the most.
pub const ELECTION_TICKS: usize = 10;

/// Bytes of applied entries kept in memory for followers, unless told otherwise: always, and while one is behind that was
/// heard lately.
const KEPT_BYTES: usize = 32 << 20;
const HELD_BYTES: usize = 512 << 20;

/// What a replica is given from outside.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where its randomness comes from: members of the same seed would stand for election at the same time, for ever.
    pub seed: u64,
    /// Bytes of applied entries kept in memory for followers. One that is further behind gets the state.
    pub kept_bytes: usize,
    /// As much as is kept for one who is there and still catches up.
    pub held_bytes: usize,
}

impl Settings {
    pub fn seeded(seed: u64) -> Self {
        Settings {
            seed,
            kept_bytes: KEPT_BYTES,
            held_bytes: HELD_BYTES,
        }
    }
}

/// A member's election timeouts.
pub struct Timeouts {
    seed: u64,
    draws: u64,
    /// The one in force, in ticks, and the term and role it was drawn for.
    current: usize,
    drawn_for: Option<(u64, StateRole)>,
}

impl Timeouts {
    pub fn new(seed: u64) -> Self {
        Timeouts {
            seed,
            draws: 0,
            current: ELECTION_TICKS,
            drawn_for: None,
        }
    }

    /// Puts ours in the place of Raft's. One is drawn whenever the term or the role changes, as Raft does. To be called after
    /// everything that may change these.
    pub fn keep(&mut self, node: &mut RawNode<Log>) {
        let now = Some((node.raft.term, node.raft.state));
        if self.drawn_for != now {
            self.drawn_for = now;
            self.draws += 1;
            let random = names::mix(self.seed ^ names::mix(self.draws));
            self.current = ELECTION_TICKS + usize::try_from(random % ELECTION_TICKS as u64).unwrap_or(0);
        }
        node.raft.set_randomized_election_timeout(self.current);
    }
}
