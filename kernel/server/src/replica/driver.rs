//! The thread that owns the replica: gathers what is asked into one entry, has it on disk with one sync, applies,
//! answers, and publishes.
use super::{
    OpenError, Published, ReplicaConfig, ReplicaStatus, Results,
    checkpoints::{self, Background},
    io_error,
    lock::Lock,
    segments::{Segments, is_full},
    waiters::{Answer, Waiter, Waiters},
    weight::weight,
};
use bytes::Bytes;
use sampan_api::{ApiError, Plan, Revision};
use sampan_state::{Command, Output, Recovered, Replica, Role, Settings, Snapshot, eraftpb::ConfState, genesis};
use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{oneshot, watch};

/// The length of a Raft tick: elections come after ten, heartbeats after two. Syncs of a busy disk take some
/// milliseconds and must not look like a dead leader.
const TICK: Duration = Duration::from_millis(100);

/// A checkpoint is written when the log has grown by so much since the last one.
const CHECKPOINT_AFTER: u64 = 32 << 20;

/// Plans that go into one entry at the most.
const TOGETHER: usize = 4096;

/// Bytes of plans that go into one entry together, about.
const HEAVY: usize = 4 << 20;

/// Bytes of plans or blobs in one request at the most.
const LARGEST: usize = 128 << 20;

/// What is asked of the driver.
pub enum Request {
    Commit {
        plans: Vec<Plan>,
        idempotency_key: String,
        reply: oneshot::Sender<Result<Results, ApiError>>,
    },
    Blobs {
        keep: Vec<Bytes>,
        forget: Vec<String>,
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    Barrier {
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

pub struct Driver {
    config: ReplicaConfig,
    /// Ends before the lock does: fields are dropped in this order.
    background: Background,
    _lock: Lock,
    replica: Replica,
    log: Segments,
    snapshots: PathBuf,
    waiters: Waiters,
    /// Bytes proposed and not yet in the log.
    proposed: u64,
    last_now: u64,
    checkpointed_bytes: u64,
    /// Why nothing can be committed any more.
    broken: Option<String>,
}

impl Driver {
    pub fn open(config: &ReplicaConfig) -> Result<Self, OpenError> {
        std::fs::create_dir_all(&config.dir).map_err(io_error(&config.dir))?;
        let lock = Lock::take(&config.dir)?;
        let snapshots = config.dir.join("snap");
        let dir = config.dir.join("log");
        let mut checkpoint = checkpoints::newest(&snapshots)?;
        if checkpoint.is_none() {
            if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(OpenError::NoCheckpoint {
                    path: config.dir.clone(),
                });
            }
            let members = ConfState {
                voters: vec![config.member],
                ..ConfState::default()
            };
            let (store, header) = genesis(&config.cluster, members);
            checkpoints::write(&snapshots, &header, &store).map_err(io_error(&snapshots))?;
            checkpoint = Some((store, header));
        }
        let (store, header) = checkpoint.ok_or_else(|| OpenError::NoCheckpoint {
            path: config.dir.clone(),
        })?;
        let mut recovered = Recovered {
            members: header.members.unwrap_or_default(),
            checkpoint_index: header.index,
            checkpoint_term: header.term,
            ..Recovered::default()
        };
        let mut gap = None;
        let log = Segments::open(&dir, |batch| {
            let next = recovered
                .entries
                .last()
                .map_or(recovered.checkpoint_index, |entry| entry.index)
                + 1;
            if batch.entries.first().is_some_and(|entry| entry.index > next) {
                gap.get_or_insert(next);
            }
            recovered.absorb(batch);
        })?;
        if let Some(missing) = gap {
            return Err(OpenError::Gap { path: dir, missing });
        }
        let replica = Replica::new(config.member, store, recovered, Settings::seeded(rand::random()))?;
        let mut driver = Driver {
            config: config.clone(),
            _lock: lock,
            replica,
            checkpointed_bytes: 0,
            log,
            snapshots,
            waiters: Waiters::new(config.member, clock() << 20),
            proposed: 0,
            last_now: 0,
            background: Background::default(),
            broken: None,
        };
        driver.drain();
        match driver.broken.take() {
            Some(why) => Err(OpenError::Io {
                path: dir,
                source: std::io::Error::other(why),
            }),
            None => Ok(driver),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        self.replica.store().snapshot()
    }

    pub fn status(&self) -> ReplicaStatus {
        ReplicaStatus {
            member: self.config.member,
            leader: self.replica.leader(),
            term: self.replica.term(),
            applied: self.replica.store().applied(),
            voters: self.replica.members().voters.clone(),
            learners: self.replica.members().learners.clone(),
            log_bytes: self.log.bytes(),
        }
    }

    /// Runs until it is told to end, or nobody can ask any more.
    pub fn run(mut self, requests: &Receiver<Request>, published: &Published, revision: &watch::Sender<Revision>) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            // Alone there are no heartbeats to send and no elections to start.
            let alone = self.replica.members().voters.len() == 1 && self.replica.role() == Role::Leader;
            let first = match alone {
                true => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => requests.recv_timeout(next_tick.saturating_duration_since(Instant::now())),
            };
            let ended = match first {
                Ok(first) => self.take_in(std::iter::once(first).chain(requests.try_iter().take(TOGETHER))),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if Instant::now() >= next_tick {
                self.replica.tick();
                next_tick = Instant::now() + TICK;
            }
            let answers = self.drain();
            *published.snapshot.write() = self.snapshot();
            *published.status.write() = self.status();
            revision.send_if_modified(|known| {
                let newer = *known != self.snapshot().revision();
                *known = self.snapshot().revision();
                newer
            });
            // Who asked sees what it did in the next snapshot it takes.
            answers.into_iter().for_each(|answer| answer());
            if let Some(reply) = ended {
                drop(self);
                let _ = reply.send(());
                return;
            }
            self.checkpoint_if_due();
        }
    }

    /// Makes proposals of requests; says who asked for the end.
    fn take_in(&mut self, requests: impl Iterator<Item = Request>) -> Option<oneshot::Sender<()>> {
        let mut gathered = Command::default();
        let mut waiters = Vec::new();
        let mut heavy = 0;
        let mut ended = None;
        for request in requests {
            match request {
                Request::Commit {
                    plans,
                    idempotency_key,
                    reply,
                } if idempotency_key.is_empty() => {
                    let more: usize = plans.iter().map(weight).sum();
                    if heavy > 0 && heavy + more > HEAVY {
                        self.propose(std::mem::take(&mut gathered), std::mem::take(&mut waiters));
                        heavy = 0;
                    }
                    heavy += more;
                    waiters.push(Waiter::Plans(plans.len(), reply));
                    gathered.plans.extend(plans);
                }
                Request::Commit {
                    plans,
                    idempotency_key,
                    reply,
                } => {
                    let waiter = Waiter::Plans(plans.len(), reply);
                    self.propose(
                        Command {
                            plans,
                            idempotency_key,
                            ..Command::default()
                        },
                        vec![waiter],
                    );
                }
                Request::Blobs { keep, forget, reply } => {
                    let command = Command {
                        blobs: keep,
                        forget_blobs: forget,
                        ..Command::default()
                    };
                    self.propose(command, vec![Waiter::Nothing(reply)]);
                }
                // An entry of one's own that is applied proves that one still leads.
                Request::Barrier { reply } => waiters.push(Waiter::Nothing(reply)),
                Request::Shutdown { reply } => ended = Some(reply),
            }
        }
        if !waiters.is_empty() {
            self.propose(gathered, waiters);
        }
        ended
    }

    fn propose(&mut self, mut command: Command, waiters: Vec<Waiter>) {
        // Time never goes back in the state, whatever the clock does.
        self.last_now = self.last_now.max(clock());
        command.now_ms = self.last_now;
        let encoded = command.encode();
        let refused = self.prepare(encoded.len()).and_then(|()| {
            let context = self.waiters.context();
            self.replica
                .propose_encoded(context, encoded)
                .map_err(|error| ApiError::unavailable(format!("this member cannot write now ({error}): try again")))
        });
        match refused {
            Ok(()) => self.waiters.wait(waiters),
            Err(error) => waiters.into_iter().for_each(|waiter| waiter.fail(&error)),
        }
    }

    /// Whether so many bytes can be committed: nothing is broken, and there is room on the disk, also for what else was
    /// proposed.
    fn prepare(&mut self, bytes: usize) -> Result<(), ApiError> {
        if let Some(why) = &self.broken {
            return Err(ApiError::unavailable(why.clone()));
        }
        if bytes > LARGEST {
            let message = format!("a write of {bytes} bytes is too large: {LARGEST} are the limit");
            return Err(ApiError::new(sampan_api::Reason::TooLarge, message));
        }
        // With what Raft and the log add to it.
        let bytes = bytes as u64 + 4096;
        match self.log.reserve(self.proposed + bytes) {
            Ok(()) => {
                self.proposed += bytes;
                Ok(())
            }
            Err(error) if is_full(&error) => {
                let dir = self.config.dir.display();
                let what = format!("the log in {dir} cannot grow ({error}): free space there; reads go on meanwhile");
                Err(ApiError::unavailable(what))
            }
            Err(error) => {
                self.break_off(format!("the log cannot be written: {error}"));
                self.prepare(0)
            }
        }
    }

    /// Persists and applies until there is nothing left to do; what to answer once that is published.
    fn drain(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while self.broken.is_none() {
            match self.replica.output() {
                Ok(Some(output)) => match self.carry_out(&output) {
                    Ok(applied) => {
                        for (context, applied) in applied {
                            self.waiters.answer(&context, applied.results, &mut answers);
                        }
                    }
                    Err(why) => self.break_off(why),
                },
                Ok(None) => break,
                Err(error) => self.break_off(error.to_string()),
            }
        }
        self.proposed = 0;
        if self.replica.role() != Role::Leader && !self.waiters.is_empty() {
            // Another leads now: it may commit what was proposed here, or not.
            let lost =
                ApiError::unavailable("the leader has changed: look whether your write is there before you repeat it");
            self.waiters.fail_all(&lost);
        }
        answers
    }

    fn carry_out(&mut self, output: &Output) -> Result<Vec<(Bytes, sampan_state::Applied)>, String> {
        if let Some(bytes) = &output.checkpoint {
            let index = self.replica.store().applied();
            checkpoints::write_received(&self.snapshots, index, bytes).map_err(|error| error.to_string())?;
        }
        if let Some(record) = &output.persist {
            // After a failed sync nobody knows what is on disk: never again on this file.
            self.log
                .append(record)
                .map_err(|error| format!("the log cannot be written: {error}"))?;
        }
        let outcome = self.replica.persisted().map_err(|error| error.to_string())?;
        if let Some(record) = &outcome.persist {
            self.log
                .append(record)
                .map_err(|error| format!("the log cannot be written: {error}"))?;
        }
        Ok(outcome.applied)
    }

    fn break_off(&mut self, why: String) {
        let why = format!("{why}. Nothing can be written until the control plane is restarted");
        tracing::error!("{why}");
        let error = ApiError::unavailable(why.clone());
        self.waiters.fail_all(&error);
        self.broken = Some(why);
    }

    /// Starts to write a checkpoint aside when the log has grown enough, and lets go of what one that is written made
    /// needless.
    fn checkpoint_if_due(&mut self) {
        if let Some((index, written)) = self.background.finished() {
            match written {
                Ok(oldest) => {
                    self.replica.checkpointed(index);
                    self.log.forget(oldest);
                }
                Err(error) => tracing::warn!(%error, "a checkpoint could not be written; the log grows on"),
            }
            self.checkpointed_bytes = self.log.bytes();
        }
        if !self.background.is_busy() && self.log.bytes() >= self.checkpointed_bytes + CHECKPOINT_AFTER {
            let started = self
                .background
                .start(&self.snapshots, self.replica.header(), self.replica.store().clone());
            if let Err(error) = started {
                tracing::warn!(%error, "no checkpoint can be written");
            }
        }
    }
}

/// Milliseconds of Unix time.
fn clock() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    u64::try_from(now).unwrap_or(u64::MAX)
}
