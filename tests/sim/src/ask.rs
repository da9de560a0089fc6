//! What clients ask of a member, and what they are told.
use sampan_api::{ApiError, Plan};
use sampan_state::{Committed, Snapshot, eraftpb::ConfChangeV2};

/// How fresh a read must be, and how that is made sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Whatever the member has.
    Stale,
    /// After an entry of its own was applied.
    Barrier,
    /// After the leader said that it leads.
    ReadIndex,
}

#[derive(Clone, Debug)]
pub enum Ask {
    /// Plans, and the key under which they are committed once; empty for none.
    Commit {
        plans: Vec<Plan>,
        key: String,
    },
    Read(Freshness),
    Members(ConfChangeV2),
    Transfer(u64),
}

/// A client's request; its number is never used again.
#[derive(Clone, Debug)]
pub struct Request {
    pub client: usize,
    pub number: u64,
    pub ask: Ask,
}

#[derive(Clone)]
pub enum Reply {
    /// For each plan.
    Committed(Vec<Result<Committed, ApiError>>),
    State(Box<Snapshot>),
    /// Nothing was done, and nothing will be. With the leader as far as is known.
    NotDone(u64),
    /// It may have been done, or may be done still.
    Unknown,
}
