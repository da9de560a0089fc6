//! Questions from outside to the loops of the policies: what would you say of this pod? What are you told, and what do you say?
use super::scheduling::Recorded;
use parking_lot::Mutex;
use sampan_api::{ApiError, Key, Reason, plugin::DEFAULT_SCHEDULER, rpc};
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait at a loop; more are refused.
const WAITING: usize = 16;

/// Verdicts of one answer at the most.
const MOST: u32 = 1000;

type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// One question.
pub enum Ask {
    Explain(ExplainAsk),
    Record(RecordAsk),
}

/// About a pod, and where the answer goes.
pub struct ExplainAsk {
    pub pod: Key,
    /// Verdicts at the most.
    pub most: u32,
    pub reply: Reply<rpc::SchedulingExplanation>,
}

/// For all that is told and answered from now on.
pub struct RecordAsk {
    /// The cluster's name, which is written down.
    pub cluster: String,
    /// It ends after so many; 0: it does not.
    pub decisions: u64,
    pub reply: Option<Reply<mpsc::UnboundedReceiver<Recorded>>>,
}

/// The loops that answer, by the schedulers' names.
#[derive(Default)]
pub struct Desks(Mutex<HashMap<String, mpsc::Sender<Ask>>>);

impl Desks {
    /// Where a loop gets its questions.
    pub fn open(&self, slot: &str) -> mpsc::Receiver<Ask> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.0.lock().insert(slot.to_owned(), sender);
        receiver
    }

    /// What the loop of a scheduler's name says of a pod.
    ///
    /// # Errors
    /// If there is no such loop, it has too much to do, or no policy there explains this pod.
    pub async fn explain(&self, slot: &str, pod: Key, most: u32) -> Result<rpc::SchedulingExplanation, ApiError> {
        let most = if most == 0 { MOST } else { most.min(MOST) };
        self.ask(slot, |reply| Ask::Explain(ExplainAsk { pod, most, reply }))
            .await
    }

    /// What the loop of a scheduler's name is told and answers from now on.
    ///
    /// # Errors
    /// If there is no such loop, it has too much to do, does not decide, or is being recorded.
    pub async fn record(
        &self,
        slot: &str,
        cluster: String,
        decisions: u64,
    ) -> Result<mpsc::UnboundedReceiver<Recorded>, ApiError> {
        let ask = |reply| {
            Ask::Record(RecordAsk {
                cluster,
                decisions,
                reply: Some(reply),
            })
        };
        self.ask(slot, ask).await
    }

    async fn ask<T>(&self, slot: &str, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, ApiError> {
        let slot = if slot.is_empty() { DEFAULT_SCHEDULER } else { slot };
        let desk = self.0.lock().get(slot).cloned();
        let desk = desk.ok_or_else(|| {
            ApiError::new(
                Reason::Invalid,
                format!("no policy fills the scheduler \"{slot}\": sampan get plugins"),
            )
        })?;
        let (reply, answer) = oneshot::channel();
        let busy = |_| ApiError::new(Reason::Unavailable, "the scheduling loop is busy: try again".to_owned());
        desk.try_send(ask(reply)).map_err(|error| busy(error.to_string()))?;
        answer.await.map_err(|error| busy(error.to_string()))?
    }
}
