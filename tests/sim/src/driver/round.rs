//! The beginning of a round: what waits is taken in, and becomes proposals.
use super::{Driver, Effect, Input, Step, Waiter, context};
use crate::{
    ask::{Ask, Freshness, Reply, Request},
    fault::Fault,
};
use sampan_api::Plan;
use sampan_state::{Applied, Command};

/// Requests that are gathered into one entry at the most.
const TOGETHER: usize = 8;

impl Driver {
    /// Takes in what waits; rests if nothing does.
    pub(super) fn begin_round(&mut self, now: u64, numbers: &mut u64) -> Vec<Effect> {
        if self.inbox.is_empty() {
            return vec![Effect::Rest];
        }
        let mut effects = Vec::new();
        let mut gathered = Command::default();
        let mut waiters = Vec::new();
        for input in std::mem::take(&mut self.inbox) {
            match input {
                Input::Message(message) => self.hear(*message),
                Input::Tick => self.replica.tick(),
                Input::SnapshotSent { .. } if self.fault == Fault::SilentSnapshots => {}
                Input::SnapshotSent { to, arrived } => self.replica.state_sent(to, arrived),
                Input::Request(request) => {
                    let Request { client, number, ask } = request;
                    let waiter = |plans| Waiter { client, number, plans };
                    match ask {
                        Ask::Commit { plans, key } if key.is_empty() => {
                            waiters.push(waiter(Some(plans.len())));
                            gathered.plans.extend(plans);
                        }
                        Ask::Commit { plans, key } => {
                            let own = vec![waiter(Some(plans.len()))];
                            let key = if self.fault == Fault::ForgetKeys {
                                String::new()
                            } else {
                                key
                            };
                            effects.extend(self.propose(plans, key, own, now, numbers));
                        }
                        Ask::Read(Freshness::Barrier) if self.fault != Fault::StaleReads => waiters.push(waiter(None)),
                        Ask::Read(Freshness::ReadIndex) if self.fault != Fault::StaleReads => {
                            self.waiters.insert(*numbers, vec![waiter(None)]);
                            self.replica.read_index(context(self.id, numbers));
                        }
                        Ask::Read(_) => self.answers.push((client, number, Reply::Unknown)),
                        Ask::Members(change) => {
                            let proposed = self.replica.propose_members(context(self.id, numbers), change);
                            let reply = match proposed {
                                Ok(()) => Reply::Committed(Vec::new()),
                                Err(_) => Reply::NotDone(self.replica.leader()),
                            };
                            effects.push(Effect::Reply(client, number, reply));
                        }
                        Ask::Transfer(to) => self.replica.transfer_leader(to),
                    }
                }
            }
            if waiters.len() >= TOGETHER {
                let plans = std::mem::take(&mut gathered.plans);
                effects.extend(self.propose(plans, String::new(), std::mem::take(&mut waiters), now, numbers));
            }
        }
        if !waiters.is_empty() {
            effects.extend(self.propose(gathered.plans, String::new(), waiters, now, numbers));
        }
        self.steps.push_back(Step::Output);
        effects
    }

    fn propose(
        &mut self,
        plans: Vec<Plan>,
        idempotency_key: String,
        waiters: Vec<Waiter>,
        now: u64,
        numbers: &mut u64,
    ) -> Vec<Effect> {
        self.last_now = self.last_now.max(now / 1000 + self.clock_skew);
        let command = Command {
            now_ms: self.last_now,
            plans,
            idempotency_key,
            ..Command::default()
        };
        let number = *numbers;
        let proposed = self.replica.propose(context(self.id, numbers), command.clone());
        if self.fault == Fault::ProposeTwice {
            let _ = self.replica.propose(context(self.id, numbers), command.clone());
        }
        match proposed {
            Ok(()) if self.fault == Fault::AnswerEarly => {
                let results = command.plans.iter();
                let results = results
                    .map(|plan| self.published.rehearse(plan, command.now_ms))
                    .collect();
                self.waiters.insert(number, waiters);
                self.gather_answers(
                    &context(self.id, &mut number.clone()),
                    Applied {
                        results,
                        events: Vec::new(),
                    },
                );
                Vec::new()
            }
            Ok(()) => {
                self.waiters.insert(number, waiters);
                Vec::new()
            }
            Err(_) => {
                let leader = self.replica.leader();
                let refuse = |waiter: Waiter| Effect::Reply(waiter.client, waiter.number, Reply::NotDone(leader));
                waiters.into_iter().map(refuse).collect()
            }
        }
    }
}
