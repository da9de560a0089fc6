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

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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

    /// Adds the answers to those who wait for the proposal of a context. The results are in the order in which they asked.
    pub fn answer(&mut self, context: &[u8], results: Results, answers: &mut Vec<Answer>) {
        let Some((member, number)) = context.split_first_chunk::<8>() else {
            return;
        };
        let Ok(number) = number.try_into().map(u64::from_le_bytes) else {
            return;
        };
        if u64::from_le_bytes(*member) != self.member {
            return;
        }
        let mut results = results.into_iter();
        for waiter in self.waiting.remove(&number).into_iter().flatten() {
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
