//! Clients that read and write a few cells, each call once, and write down what they saw: one order of all calls must
//! explain it.
use crate::{
    group::SERVERS,
    load::{change, commit, create, read},
};
use sampan_api::Reason;
use sampan_cli::session::Session;
use serde_json::json;
use sim::history::{CellInput, CellOutput, CellWrite, Cells, Operation, Refusal, Verdict, check};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Cells, each of a group of its own for the checker.
const CELLS: u64 = 3;
/// Between two calls of a client, which bounds the length of histories.
const PAUSE: Duration = Duration::from_millis(30);
/// After a call without an answer: each of these may have an effect at any time, which is what makes a check long.
const PAUSE_AFTER_SILENCE: Duration = Duration::from_millis(300);

/// What was called and answered.
#[derive(Default)]
pub struct History {
    clock: AtomicU64,
    operations: Mutex<Vec<Operation<CellInput, CellOutput>>>,
}

impl History {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn note(&self, client: u64, call: u64, input: CellInput, output: Option<CellOutput>) {
        let answered = output.map(|output| (self.now(), output));
        // A read without an answer says nothing.
        if answered.is_some() || matches!(input, CellInput::Plan(_)) {
            let operation = Operation {
                client,
                call,
                input,
                answered,
            };
            self.operations.lock().unwrap().push(operation);
        }
    }

    /// Fails if no order explains it; how many operations there were.
    pub fn check(&self) -> usize {
        let operations = self.operations.lock().unwrap();
        let verdict = check(&Cells, &operations);
        assert_eq!(verdict, Verdict::Linearizable);
        operations.len()
    }
}

fn output(answer: anyhow::Result<Result<u64, Reason>>) -> Option<CellOutput> {
    Some(match answer.ok()? {
        Ok(_) => CellOutput::Done,
        Err(Reason::AlreadyExists) => CellOutput::Refused(Refusal::Exists),
        Err(Reason::NotFound) => CellOutput::Refused(Refusal::Absent),
        Err(_) => CellOutput::Refused(Refusal::Changed),
    })
}

/// Reads, creates, puts and swaps until it is over, at one server and, where that does not answer, at the next.
pub async fn uses(sessions: Vec<Session>, client: u64, history: std::sync::Arc<History>, is_over: impl Fn() -> bool) {
    let mut at = usize::try_from(client).unwrap() % SERVERS;
    // What was read last of each cell: its value, and the revision that stands for it.
    let mut last = BTreeMap::new();
    for step in 0_u64.. {
        if is_over() {
            return;
        }
        let cell = 100 * (1 + step / 3 % CELLS);
        let name = format!("cell-{cell}");
        let session = &sessions[at];
        let value = (step + 1) * 10 + client;
        let data = json!({"value": value.to_string()});
        let call = history.now();
        let (write, input) = match (step % 3, last.get(&cell)) {
            (1, None) => (create(&name, &json!({}), &data), CellWrite::Create { cell, value }),
            (1, Some(&(seen, revision))) => {
                let expect = Some(seen);
                (change(&name, &data, revision), CellWrite::Put { cell, expect, value })
            }
            (2, _) => {
                let expect = None;
                (change(&name, &data, 0), CellWrite::Put { cell, expect, value })
            }
            _ => {
                let found = read(session, &name).await.ok();
                let answered = found.is_some();
                if let Some(found) = found {
                    last.remove(&cell);
                    last.extend(found.map(|found| (cell, found)));
                    let values = CellOutput::Values(vec![found.map(|(value, _)| value)]);
                    history.note(client, call, CellInput::Read(vec![cell]), Some(values));
                }
                turn(answered, &mut at).await;
                continue;
            }
        };
        let output = output(commit(session, write, "").await);
        let answered = output.is_some();
        history.note(client, call, CellInput::Plan(vec![input]), output);
        turn(answered, &mut at).await;
    }
}

async fn turn(answered: bool, at: &mut usize) {
    if answered {
        tokio::time::sleep(PAUSE).await;
    } else {
        *at = (*at + 1) % SERVERS;
        tokio::time::sleep(PAUSE_AFTER_SILENCE).await;
    }
}
