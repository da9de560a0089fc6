//! The model of objects that clients write and read: cells with a value, written alone or several in one plan. Every write
//! writes another value, so a value stands for the revision it was written at.
use super::Model;
use std::collections::BTreeMap;

/// A cell's number; those with the same hundreds may be written together.
pub type Cell = u64;

/// One write of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellWrite {
    Create {
        cell: Cell,
        value: u64,
    },
    /// Only if it has the value `expect`, where one is given.
    Put {
        cell: Cell,
        expect: Option<u64>,
        value: u64,
    },
    Delete {
        cell: Cell,
        expect: Option<u64>,
    },
}

/// Why a plan was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Absent,
    Exists,
    Changed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellInput {
    /// Whole or not at all.
    Plan(Vec<CellWrite>),
    /// All at one moment.
    Read(Vec<Cell>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellOutput {
    Done,
    Refused(Refusal),
    Values(Vec<Option<u64>>),
}

impl CellWrite {
    pub fn cell(&self) -> Cell {
        match self {
            CellWrite::Create { cell, .. } | CellWrite::Put { cell, .. } | CellWrite::Delete { cell, .. } => *cell,
        }
    }

    fn apply(&self, cells: &mut BTreeMap<Cell, u64>) -> Result<(), Refusal> {
        let found = cells.get(&self.cell()).copied();
        let as_expected = |expect: &Option<u64>| match found {
            None => Err(Refusal::Absent),
            Some(found) if expect.is_some_and(|expect| expect != found) => Err(Refusal::Changed),
            Some(_) => Ok(()),
        };
        match self {
            CellWrite::Create { .. } if found.is_some() => return Err(Refusal::Exists),
            CellWrite::Create { cell, value } => drop(cells.insert(*cell, *value)),
            CellWrite::Put { cell, expect, value } => {
                as_expected(expect)?;
                cells.insert(*cell, *value);
            }
            CellWrite::Delete { cell, expect } => {
                as_expected(expect)?;
                cells.remove(cell);
            }
        }
        Ok(())
    }
}

/// Cells, all absent at first.
pub struct Cells;

impl Model for Cells {
    type State = BTreeMap<Cell, u64>;
    type Input = CellInput;
    type Output = CellOutput;
    type Group = u64;

    fn group(&self, input: &CellInput) -> u64 {
        let first = match input {
            CellInput::Plan(writes) => writes.first().map(CellWrite::cell),
            CellInput::Read(cells) => cells.first().copied(),
        };
        first.unwrap_or_default() / 100
    }

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(&self, state: &Self::State, input: &CellInput, output: Option<&CellOutput>) -> Option<Self::State> {
        match input {
            CellInput::Read(cells) => {
                let values = cells.iter().map(|cell| state.get(cell).copied()).collect();
                let found = CellOutput::Values(values);
                output.is_none_or(|output| *output == found).then(|| state.clone())
            }
            CellInput::Plan(writes) => {
                let mut next = state.clone();
                match (writes.iter().try_for_each(|write| write.apply(&mut next)), output) {
                    (Ok(()), None | Some(CellOutput::Done)) => Some(next),
                    (Err(_), None) => Some(state.clone()),
                    (Err(why), Some(CellOutput::Refused(said))) if why == *said => Some(state.clone()),
                    _ => None,
                }
            }
        }
    }
}
