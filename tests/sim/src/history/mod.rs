//! What clients saw, and whether one order of their operations explains it (linearizability). Of use to any test that can
//! record its clients' calls and answers.
mod cells;
mod search;
#[cfg(test)]
mod tests;

pub use cells::{Cell, CellInput, CellOutput, CellWrite, Cells, Refusal};
pub use search::{Verdict, check};

use std::{fmt::Debug, hash::Hash};

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Operation<I, O> {
    pub client: u64,
    /// When it was called. Any clock that never stands still will do: only the order counts.
    pub call: u64,
    pub input: I,
    /// When an answer came, and which. None: it may take effect at any time after the call, or never.
    pub answered: Option<(u64, O)>,
}

/// What the operations should do, one after the other.
pub trait Model {
    type State: Clone + Eq + Hash;
    type Input: Debug;
    type Output: Debug;
    /// Operations of different groups have nothing to do with each other and are checked apart.
    type Group: Ord + Clone + Debug;

    fn group(&self, input: &Self::Input) -> Self::Group;

    fn initial(&self) -> Self::State;

    /// The state after an operation; none if it cannot have had this output. Without an output any will do.
    fn step(&self, state: &Self::State, input: &Self::Input, output: Option<&Self::Output>) -> Option<Self::State>;
}
