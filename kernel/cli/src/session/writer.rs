//! Many writers on one connection: their plans travel together, as many as have gathered while others are under way, so
//! that a busy client costs the server few calls and the log few entries. Each plan is still whole or not at all, and is
//! answered by itself.
use super::Session;
use crate::failure;
use parking_lot::Mutex;
use sampan_api::{
    ApiError, Reason,
    rpc::{self, plan_result::Result as Outcome},
};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::oneshot;

/// Calls under way at a time: one is on its way while the next is gathered.
const CALLS: usize = 2;

/// Plans, and about so many bytes, in a call at the most.
const TOGETHER: usize = 500;
const BYTES: usize = 1 << 20;

/// Writes plans for many tasks; clones share the connection and gather together.
#[derive(Clone)]
pub struct Writer {
    session: Arc<Session>,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    under_way: usize,
}

struct Waiting {
    plan: rpc::Plan,
    reply: oneshot::Sender<Result<rpc::Committed, ApiError>>,
}

impl Writer {
    pub(super) fn new(session: Session) -> Self {
        Writer {
            session: Arc::new(session),
            queue: Arc::default(),
        }
    }

    /// Commits a plan. A server that is away for a moment is asked again, and does not do twice what it has done.
    ///
    /// # Errors
    /// Why the plan was refused, or what hindered the call it went with.
    pub async fn commit(&self, plan: rpc::Plan) -> Result<rpc::Committed, ApiError> {
        let (reply, answer) = oneshot::channel();
        let begins = {
            let mut queue = self.queue.lock();
            queue.waiting.push_back(Waiting { plan, reply });
            let begins = queue.under_way < CALLS;
            queue.under_way += usize::from(begins);
            begins
        };
        if begins {
            tokio::spawn(self.clone().carry());
        }
        answer
            .await
            .unwrap_or_else(|_| Err(ApiError::unavailable("the client ends")))
    }

    /// Makes calls for as long as somebody waits.
    async fn carry(self) {
        // Whoever else is about to write may come along.
        tokio::task::yield_now().await;
        while let Some(together) = self.next() {
            self.call(together).await;
        }
    }

    fn next(&self) -> Option<Vec<Waiting>> {
        self.queue.lock().next()
    }

    async fn call(&self, together: Vec<Waiting>) {
        let (plans, replies): (Vec<_>, Vec<_>) = together.into_iter().map(|one| (one.plan, one.reply)).unzip();
        let mut request = rpc::CommitRequest {
            plans,
            idempotency_key: key(),
        };
        match self.ask(&request).await {
            Ok(results) => {
                for (reply, result) in replies.into_iter().zip(results) {
                    let _ = reply.send(result);
                }
            }
            // A call with a key is refused as one if a single plan of it is not let in.
            Err(error) if replies.len() > 1 && !matches!(error.reason, Reason::Unavailable | Reason::Timeout) => {
                for (plan, reply) in std::mem::take(&mut request.plans).into_iter().zip(replies) {
                    request = rpc::CommitRequest {
                        plans: vec![plan],
                        idempotency_key: key(),
                    };
                    let results = self.ask(&request).await;
                    let result = results.and_then(|results| results.into_iter().next().unwrap_or_else(unanswered));
                    let _ = reply.send(result);
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Asks until there is an answer for each plan, or none to be had.
    async fn ask(&self, request: &rpc::CommitRequest) -> Result<Vec<Result<rpc::Committed, ApiError>>, ApiError> {
        let ask = || async { self.session.objects().commit(request.clone()).await };
        let answer = self.session.again(ask).await.map_err(|error| {
            let reason = failure::reason(&error).unwrap_or(Reason::Unavailable);
            ApiError::new(reason, format!("{error:#}"))
        })?;
        let mut results = answer.results.into_iter();
        let result = |_| match results.next().and_then(|result| result.result) {
            Some(Outcome::Committed(committed)) => Ok(committed),
            Some(Outcome::Failure(failure)) => Err(ApiError::from(&failure)),
            None => unanswered(),
        };
        Ok(request.plans.iter().map(result).collect())
    }
}

/// A key under which a call acts once, however often it is made.
fn key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn unanswered() -> Result<rpc::Committed, ApiError> {
    Err(ApiError::internal("the server said nothing of this plan"))
}

impl Queue {
    /// What goes next; none, and the call is over, if nobody waits.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut bytes = 0;
        let fits = |one: &&Waiting| {
            bytes += weight(&one.plan);
            bytes <= BYTES
        };
        let count = self.waiting.iter().take(TOGETHER).take_while(fits).count();
        // One that is larger goes alone.
        let count = count.max(1).min(self.waiting.len());
        self.under_way -= usize::from(count == 0);
        (count > 0).then(|| self.waiting.drain(..count).collect())
    }
}

/// About how many bytes a plan takes on its way.
fn weight(plan: &rpc::Plan) -> usize {
    use rpc::write::Operation::{Create, Merge, MergeStatus, Replace, ReplaceStatus};
    let of = |write: &rpc::Write| match &write.operation {
        Some(Create(json) | Replace(json) | ReplaceStatus(json) | Merge(json) | MergeStatus(json)) => 200 + json.len(),
        _ => 200,
    };
    plan.writes.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(sizes: &[usize]) -> Queue {
        let waiting = |size: &usize| Waiting {
            plan: rpc::Plan {
                writes: vec![rpc::Write {
                    operation: Some(rpc::write::Operation::Create(vec![b'x'; *size].into())),
                    ..rpc::Write::default()
                }],
            },
            reply: oneshot::channel().0,
        };
        Queue {
            waiting: sizes.iter().map(waiting).collect(),
            under_way: 1,
        }
    }

    #[test]
    fn what_waits_goes_together_within_bounds() {
        let mut queue = queue(&[10, 20, BYTES, 2 * BYTES, 30]);
        let sizes = std::iter::from_fn(|| queue.next().map(|together| together.len()));
        assert_eq!(sizes.collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert_eq!(queue.under_way, 0);
    }

    #[test]
    fn no_call_has_too_many_plans() {
        let mut queue = queue(&[1; TOGETHER + 3]);
        assert_eq!(queue.next().map(|together| together.len()), Some(TOGETHER));
        assert_eq!(queue.next().map(|together| together.len()), Some(3));
    }
}
