//! Who waits for what was proposed: by a number that travels with the proposal and comes back with what came of it.
use super::Results;
use bytes::Bytes;
use sampan_api::ApiError;
use std::collections::HashMap;
use tokio::sync::oneshot;

/// One who waits for an entry.
pub enum Waiter {
    /// For so many of its plans.
    Plans(usize, oneshot::Sender<Result<Results, ApiError>>),
    /// For its being applied.
    Nothing(oneshot::Sender<Result<(), ApiError>>),
}

impl Waiter {
    fn still_waits(&self) -> bool {
        match self {
            Waiter::Plans(_, reply) => !reply.is_closed(),
            Waiter::Nothing(reply) => !reply.is_closed(),
        }
    }

    /// The answer of one who waits for nothing but that it is so.
    pub fn done(self) -> Answer {
        match self {
            Waiter::Plans(_, reply) => Box::new(move || drop(reply.send(Ok(Vec::new())))),
            Waiter::Nothing(reply) => Box::new(move || drop(reply.send(Ok(())))),
        }
    }

    pub fn fail(self, error: &ApiError) {
        match self {
            Waiter::Plans(_, reply) => drop(reply.send(Err(error.clone()))),
            Waiter::Nothing(reply) => drop(reply.send(Err(error.clone()))),
        }
    }
}

/// An answer that is ready to be given.
pub type Answer = Box<dyn FnOnce()>;

/// All who wait.
pub struct Waiters {
    member: u64,
    next: u64,
    waiting: HashMap<u64, Vec<Waiter>>,
}

impl Waiters {
    /// Those of a member, its proposals numbered from `first` on. An earlier run's numbers must all be below: what it
    /// proposed may still be committed.
    pub fn new(member: u64, first: u64) -> Self {
        Waiters {
            member,
            next: first,
            waiting: HashMap::new(),
        }
    }

    /// What goes with the next proposal: whose it is, and which.
    pub fn context(&self) -> Bytes {
        [self.member.to_le_bytes(), self.next.to_le_bytes()].concat().into()
    }

    /// The next proposal was made; these wait for it.
    pub fn wait(&mut self, waiters: Vec<Waiter>) {
        self.waiting.insert(self.next, waiters);
        self.next += 1;
    }

    /// Those who wait for what went out with this context.
    pub fn take(&mut self, context: &[u8]) -> Vec<Waiter> {
        let number = self.number_of(context);
        number
            .and_then(|number| self.waiting.remove(&number))
            .unwrap_or_default()
    }

    /// The number of a context of this member's own.
    fn number_of(&self, context: &[u8]) -> Option<u64> {
        let (member, number) = context.split_first_chunk::<8>()?;
        let number = number.try_into().map(u64::from_le_bytes).ok()?;
        (u64::from_le_bytes(*member) == self.member).then_some(number)
    }

    /// Lets go of those who no longer wait.
    pub fn prune(&mut self) {
        self.waiting
            .retain(|_, waiters| waiters.iter().any(Waiter::still_waits));
    }

    /// Adds the answers to those who wait for the proposal of a context. The results are in the order in which they asked.
    pub fn answer(&mut self, context: &[u8], results: Results, answers: &mut Vec<Answer>) {
        let mut results = results.into_iter();
        for waiter in self.take(context) {
            match waiter {
                Waiter::Plans(count, reply) => {
                    let own: Results = results.by_ref().take(count).collect();
                    answers.push(Box::new(move || drop(reply.send(Ok(own)))));
                }
                Waiter::Nothing(reply) => answers.push(Box::new(move || drop(reply.send(Ok(()))))),
            }
        }
    }

    /// Nobody will get an answer.
    pub fn fail_all(&mut self, error: &ApiError) {
        self.waiting
            .drain()
            .flat_map(|(_, waiters)| waiters)
            .for_each(|waiter| waiter.fail(error));
    }
}
