//! The time of the state. It never goes back, whichever member leads and whatever its clock says: a leader goes on from the
//! newest time that it finds, as fast as its clock goes.
use super::driver::clock;
use sampan_api::{Selection, time::Timestamp};
use sampan_state::{Replica, Role, Snapshot};

/// Clocks of machines that keep them true differ by less, in milliseconds.
const NOTABLE: u64 = 5_000;

/// What a member tells the time with, while it leads.
#[derive(Default)]
pub struct Timing {
    /// The newest time given, in milliseconds of Unix time.
    last: u64,
    /// By how much the state's time is ahead of this machine's clock.
    ahead: u64,
    /// The term that this is for.
    term: u64,
}

impl Timing {
    /// Of a state as it was found on disk.
    pub fn of(state: &Snapshot) -> Self {
        let objects = Selection::of("*");
        let made = state
            .list(&objects)
            .filter_map(|(_, object)| object.metadata.creation_timestamp);
        Timing {
            last: made.map(Timestamp::as_millis).max().unwrap_or(0),
            ..Timing::default()
        }
    }

    /// The time for what this member proposes, or stamps as leader.
    pub fn now(&mut self, replica: &Replica) -> u64 {
        if self.term != replica.term() {
            self.term = replica.term();
            self.last = self.last.max(replica.last_time().unwrap_or(0));
            self.ahead = self.last.saturating_sub(clock());
            if self.ahead > NOTABLE && replica.role() == Role::Leader {
                tracing::warn!(
                    ahead_ms = self.ahead,
                    "the state's time is ahead of this machine's clock, and goes on so: the servers' clocks differ, or did"
                );
            }
        }
        self.last = self.last.max(clock() + self.ahead);
        self.last
    }

    /// By how much the state's time is ahead of this machine's clock, in milliseconds.
    pub fn ahead(&self) -> u64 {
        self.ahead
    }
}
