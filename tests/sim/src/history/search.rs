//! The search for an order: Wing and Gong's, with Lowe's memory of what was tried.
//!
//! Sources: Wing, Gong: Testing and verifying concurrent objects, 1993; Lowe: Testing for linearizability, 2017.
use super::{Model, Operation};
use std::collections::{BTreeMap, HashSet};

/// Steps of one search at the most: a search that takes longer says so instead of an answer.
const LIMIT: u64 = 3_000_000;

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// No order explains these: text for people, with the operation that no order gets past.
    Violated(String),
    /// Too many orders to try.
    Undecided,
}

type OperationOf<'a, M> = &'a Operation<<M as Model>::Input, <M as Model>::Output>;

/// Whether one order of the operations, in which none comes before its call or after its answer, explains all answers.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Input, M::Output>]) -> Verdict {
    let mut groups: BTreeMap<M::Group, Vec<OperationOf<'_, M>>> = BTreeMap::new();
    for operation in history {
        groups.entry(model.group(&operation.input)).or_default().push(operation);
    }
    let mut undecided = false;
    for (group, operations) in groups {
        match Search::new(model, operations).run() {
            Verdict::Linearizable => {}
            Verdict::Undecided => undecided = true,
            Verdict::Violated(why) => return Verdict::Violated(format!("group {group:?}: {why}")),
        }
    }
    if undecided {
        Verdict::Undecided
    } else {
        Verdict::Linearizable
    }
}

/// A point of the search: what was put in order so far, and what could come next.
struct Frame<S> {
    state: S,
    candidates: Vec<usize>,
    next: usize,
    /// The operation whose choice led here.
    chosen: Option<usize>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    /// By call; those with an answer first.
    operations: Vec<OperationOf<'a, M>>,
    answered: usize,
    /// Bit set of what was put in order.
    ordered: Vec<u64>,
    seen: HashSet<(Vec<u64>, M::State)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, mut operations: Vec<OperationOf<'a, M>>) -> Self {
        operations.sort_by_key(|operation| (operation.answered.is_none(), operation.call));
        let answered = operations
            .iter()
            .filter(|operation| operation.answered.is_some())
            .count();
        Search {
            model,
            ordered: vec![0; operations.len().div_ceil(64)],
            operations,
            answered,
            seen: HashSet::new(),
        }
    }

    fn is_ordered(&self, at: usize) -> bool {
        self.ordered[at / 64] & (1 << (at % 64)) != 0
    }

    fn flip(&mut self, at: usize) {
        self.ordered[at / 64] ^= 1 << (at % 64);
    }

    /// What may come next: all that was called before the first answer that is outstanding. Those without an answer come
    /// last, since most never matter.
    fn candidates(&self) -> Vec<usize> {
        let mut found = Vec::new();
        let mut first_answer = u64::MAX;
        for at in (0..self.answered).filter(|at| !self.is_ordered(*at)) {
            let operation = self.operations[at];
            if operation.call > first_answer {
                break;
            }
            let answer = operation.answered.as_ref().map_or(u64::MAX, |(when, _)| *when);
            first_answer = first_answer.min(answer);
            found.push(at);
        }
        found.retain(|at| self.operations[*at].call <= first_answer);
        let open = self.answered..self.operations.len();
        found.extend(open.filter(|at| !self.is_ordered(*at) && self.operations[*at].call <= first_answer));
        found
    }

    fn run(mut self) -> Verdict {
        let mut done = 0;
        let mut best = 0;
        let mut stuck = self.candidates();
        let mut steps = 0;
        let mut frames = vec![Frame {
            state: self.model.initial(),
            candidates: stuck.clone(),
            next: 0,
            chosen: None,
        }];
        while let Some(frame) = frames.last_mut() {
            if done == self.answered {
                return Verdict::Linearizable;
            }
            let Some(&at) = frame.candidates.get(frame.next) else {
                if let Some(chosen) = frame.chosen {
                    done -= usize::from(chosen < self.answered);
                    self.flip(chosen);
                }
                frames.pop();
                continue;
            };
            frame.next += 1;
            steps += 1;
            if steps > LIMIT {
                return Verdict::Undecided;
            }
            let operation = self.operations[at];
            let output = operation.answered.as_ref().map(|(_, output)| output);
            let Some(state) = self.model.step(&frame.state, &operation.input, output) else {
                continue;
            };
            // Without an answer and without an effect it might as well not have been.
            if output.is_none() && state == frame.state {
                continue;
            }
            self.flip(at);
            if !self.seen.insert((self.ordered.clone(), state.clone())) {
                self.flip(at);
                continue;
            }
            done += usize::from(at < self.answered);
            let candidates = self.candidates();
            if done > best {
                best = done;
                stuck.clone_from(&candidates);
            }
            frames.push(Frame {
                state,
                candidates,
                next: 0,
                chosen: Some(at),
            });
        }
        Verdict::Violated(self.explain(best, &stuck))
    }

    fn explain(&self, best: usize, stuck: &[usize]) -> String {
        let total = self.answered;
        let mut text = format!("{best} of {total} answers can be explained, and then none of these:");
        for at in stuck.iter().filter(|at| **at < self.answered) {
            let operation = self.operations[*at];
            let (client, call, input) = (operation.client, operation.call, &operation.input);
            let answered = &operation.answered;
            text.push_str(&format!(
                "\n  client {client} at {call}: {input:?}, answered {answered:?}"
            ));
        }
        text
    }
}
