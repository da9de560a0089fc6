//! Clients: each asks one thing at a time, goes elsewhere when it is told nothing, and records what it saw.
mod cells;
mod plugins;
mod pods;

use crate::{
    ask::{Ask, Freshness, Reply},
    failure::Failure,
    history::{Cell, CellInput, CellOutput, Operation},
    objects,
    oracle::Oracle,
    random::Random,
};
use sampan_api::{ApiError, Plan, Revision};
use sampan_state::{Committed, Snapshot};
use std::collections::BTreeMap;

/// Tries of one thing before a client lets it be.
const TRIES: u32 = 30;

/// What all clients share.
pub struct Book {
    pub random: Random,
    /// Counts every call and answer.
    pub clock: u64,
    pub history: Vec<Operation<CellInput, CellOutput>>,
    /// Numbers that were given: values, keys, operations, requests.
    pub given: u64,
    /// The highest revision anybody was told of.
    pub acknowledged: Revision,
    /// What clients need is there.
    pub begun: bool,
    /// How linearizable reads are made.
    pub freshness: Vec<Freshness>,
    /// Answers to commits, for the record.
    pub commits: u64,
}

impl Book {
    pub fn next(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn open(&mut self, client: usize, input: CellInput) -> usize {
        let call = self.tick();
        self.history.push(Operation {
            client: client as u64,
            call,
            input,
            answered: None,
        });
        self.history.len() - 1
    }

    fn close(&mut self, operation: usize, output: CellOutput) {
        let at = self.tick();
        self.history[operation].answered = Some((at, output));
    }

    fn freshness(&mut self) -> Freshness {
        let any = self.random.one_of(&self.freshness).copied();
        any.unwrap_or(Freshness::Barrier)
    }

    fn key(&mut self) -> String {
        format!("k{}", self.next())
    }
}

/// What a client is for.
pub enum Trade {
    /// Makes what the others need.
    Founder,
    /// Writes and reads cells; with what it saw of them: value and revision.
    Writer(BTreeMap<Cell, (u64, Revision)>),
    /// Makes pods and removes them.
    Maker,
    /// Binds pods to nodes, in competition with others.
    Scheduler,
    /// Swaps the plugin in force.
    Operator,
}

/// What a client waits for.
struct Pending {
    number: u64,
    ask: Ask,
    tries: u32,
    /// Its operations in the history.
    operations: Vec<usize>,
    /// What was acknowledged to anybody before it was asked.
    floor: Revision,
}

/// One client.
pub struct Client {
    pub at: usize,
    pub trade: Trade,
    /// Whom it asks.
    pub target: u64,
    pending: Option<Pending>,
    /// What it decided to ask next, by what it read.
    decided: Option<Ask>,
}

impl Client {
    pub fn new(at: usize, trade: Trade) -> Self {
        Client {
            at,
            trade,
            target: 1,
            pending: None,
            decided: None,
        }
    }

    /// What is asked now, with its number; none while something is outstanding.
    pub fn ask(&mut self, book: &mut Book) -> Option<(u64, Ask)> {
        if self.pending.is_some() || (!book.begun && !matches!(self.trade, Trade::Founder)) {
            return None;
        }
        let ask = match self.decided.take() {
            Some(ask) => ask,
            None => match &mut self.trade {
                Trade::Founder if book.begun => return None,
                Trade::Founder => Ask::Commit {
                    plans: vec![objects::beginning().into()],
                    key: "beginning".to_owned(),
                },
                Trade::Writer(known) => {
                    let asked = cells::ask(book, known);
                    return Some(self.begin_cells(asked, book));
                }
                Trade::Maker => pods::make(book),
                Trade::Scheduler => Ask::Read(pods::look(book)),
                Trade::Operator => Ask::Read(plugins::look(book)),
            },
        };
        Some(self.begin(ask, Vec::new(), book))
    }

    fn begin_cells(&mut self, (ask, inputs): (Ask, Vec<CellInput>), book: &mut Book) -> (u64, Ask) {
        let operations = inputs.into_iter().map(|input| book.open(self.at, input)).collect();
        self.begin(ask, operations, book)
    }

    fn begin(&mut self, ask: Ask, operations: Vec<usize>, book: &mut Book) -> (u64, Ask) {
        let number = book.next();
        self.pending = Some(Pending {
            number,
            ask: ask.clone(),
            tries: 1,
            operations,
            floor: book.acknowledged,
        });
        (number, ask)
    }

    /// No answer came in time: what is asked again, elsewhere.
    pub fn timed_out(&mut self, number: u64, members: &[u64], book: &mut Book) -> Option<(u64, Ask)> {
        self.pending.as_ref().filter(|pending| pending.number == number)?;
        self.try_again(false, 0, members, book)
    }

    /// The same again, of another member, where that can do no harm.
    fn try_again(&mut self, not_done: bool, hint: u64, members: &[u64], book: &mut Book) -> Option<(u64, Ask)> {
        let other = book.random.one_of(members).copied().unwrap_or(self.target);
        self.target = if hint > 0 && book.random.chance(3, 4) {
            hint
        } else {
            other
        };
        let mut pending = self.pending.take()?;
        let harmless = match &pending.ask {
            Ask::Commit { key, .. } => not_done || !key.is_empty(),
            _ => true,
        };
        if !harmless || pending.tries >= TRIES {
            return None;
        }
        pending.tries += 1;
        pending.number = book.next();
        let again = (pending.number, pending.ask.clone());
        self.pending = Some(pending);
        Some(again)
    }

    /// An answer came; what is asked again, if it was none.
    pub fn answered(
        &mut self,
        number: u64,
        reply: Reply,
        members: &[u64],
        book: &mut Book,
        oracle: &Oracle,
    ) -> Result<Option<(u64, Ask)>, Failure> {
        if self.pending.as_ref().is_none_or(|pending| pending.number != number) {
            return Ok(None);
        }
        match reply {
            Reply::NotDone(hint) => Ok(self.try_again(true, hint, members, book)),
            Reply::Unknown => Ok(self.try_again(false, 0, members, book)),
            Reply::State(state) => self.read(&state, book).map(|()| None),
            Reply::Committed(results) => self.committed(&results, book, oracle).map(|()| None),
        }
    }

    fn read(&mut self, state: &Snapshot, book: &mut Book) -> Result<(), Failure> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let Ask::Read(freshness) = pending.ask else {
            return Ok(());
        };
        if freshness != Freshness::Stale && state.revision() < pending.floor {
            return Err(Failure::new(format!(
                "a {freshness:?} read of client {} from member {} shows revision {}, and {} was acknowledged before",
                self.at,
                self.target,
                state.revision(),
                pending.floor
            )));
        }
        match &mut self.trade {
            Trade::Writer(known) => {
                for operation in pending.operations {
                    cells::saw(operation, state, known, book);
                }
            }
            Trade::Scheduler => self.decided = pods::bind(state, book),
            Trade::Operator => self.decided = plugins::swap(state, book),
            Trade::Maker | Trade::Founder => {}
        }
        Ok(())
    }

    fn committed(
        &mut self,
        results: &[Result<Committed, ApiError>],
        book: &mut Book,
        oracle: &Oracle,
    ) -> Result<(), Failure> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let Ask::Commit { plans, .. } = &pending.ask else {
            return Ok(());
        };
        book.commits += 1;
        let plans: &[Plan] = plans;
        if results.len() != plans.len() {
            let (asked, got) = (plans.len(), results.len());
            return Err(Failure::new(format!(
                "{asked} plans were asked for, and {got} answered"
            )));
        }
        oracle.acknowledged(plans, results)?;
        for committed in results.iter().flatten() {
            // A plan that changes nothing has the revision before it.
            book.acknowledged = book.acknowledged.max(committed.revision);
        }
        match &mut self.trade {
            Trade::Writer(known) => {
                for ((operation, result), plan) in pending.operations.iter().zip(results).zip(plans) {
                    cells::wrote(*operation, plan, result, known, book)?;
                }
            }
            Trade::Founder => book.begun = true,
            Trade::Maker | Trade::Scheduler | Trade::Operator => {}
        }
        Ok(())
    }
}
