//! The time of the state. It never goes back, whichever member leads and whatever its clock says: a leader goes on from the
//! newest time that it finds, as fast as its clock goes.
use super::driver::clock;
use sampan_state::{Replica, Role};

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
    /// The time for what this member proposes, or stamps as leader.
    pub fn now(&mut self, replica: &Replica) -> u64 {
        if self.term != replica.term() {
            self.term = replica.term();
            self.last = self.last.max(replica.last_time());
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
