//! Questions from outside to the loops of the policies: what would you say of this pod?
use parking_lot::Mutex;
use sampan_api::{ApiError, Key, Reason, plugin::DEFAULT_SCHEDULER, rpc};
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait at a loop; more are refused.
const WAITING: usize = 16;

/// Verdicts of one answer at the most.
const MOST: u32 = 1000;

/// One question, and where the answer goes.
pub struct Ask {
    pub pod: Key,
    /// Verdicts at the most.
    pub most: u32,
    pub reply: oneshot::Sender<Result<rpc::SchedulingExplanation, ApiError>>,
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

    /// Asks the loop of a scheduler's name.
    ///
    /// # Errors
    /// If there is no such loop, it has too much to do, or no policy there explains this pod.
    pub async fn ask(&self, slot: &str, pod: Key, most: u32) -> Result<rpc::SchedulingExplanation, ApiError> {
        let slot = if slot.is_empty() { DEFAULT_SCHEDULER } else { slot };
        let desk = self.0.lock().get(slot).cloned();
        let desk = desk.ok_or_else(|| {
            ApiError::new(
                Reason::Invalid,
                format!("no policy fills the scheduler \"{slot}\": sampan get plugins"),
            )
        })?;
        let (reply, answer) = oneshot::channel();
        let most = if most == 0 { MOST } else { most.min(MOST) };
        let busy = |_| ApiError::new(Reason::Unavailable, "the scheduling loop is busy: try again".to_owned());
        desk.try_send(Ask { pod, most, reply })
            .map_err(|error| busy(error.to_string()))?;
        answer.await.map_err(|error| busy(error.to_string()))?
    }
}
