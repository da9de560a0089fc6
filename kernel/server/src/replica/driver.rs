//! The thread that owns the replica: gathers what is asked into one entry, has it on disk with one sync, applies,
//! answers, and publishes.
use super::{
    CHECKPOINTS, OpenError, Publisher, ReplicaConfig, ReplicaStatus, Results,
    checkpoints::{self, Aside, Background},
    io_error,
    lock::Lock,
    quota,
    recovery::{OnDisk, recover},
    segments::{Segments, is_full},
    survivor,
    timing::Timing,
    waiters::{Answer, Waiter, Waiters},
    weight::weight,
};
use bytes::Bytes;
use sampan_api::{ApiError, Plan};
use sampan_state::{
    Command, Header, Output, Replica, Role, Settings, Snapshot, Store,
    eraftpb::{ConfChangeV2, Message},
};
use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::oneshot;

/// The length of a Raft tick: elections come after ten to twenty, heartbeats after two. Syncs of a busy disk take some
/// milliseconds and must not look like a dead leader.
const TICK: Duration = Duration::from_millis(50);

/// A checkpoint is written when the log has grown by so much since the last one, and by its own size: so a large state
/// is not written again for every few changes.
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
        /// Refused in any other term than this one.
        term: Option<u64>,
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
    /// Messages of another member.
    Step(Vec<Message>),
    /// A state that came with a message, and the file that it is in.
    StepState(Box<(Message, Header, Store, Aside)>),
    /// A message to that member could not be sent.
    Unreachable(u64),
    /// The state went to that member, or could not.
    StateSent(u64, bool),
    Members {
        change: ConfChangeV2,
        reply: oneshot::Sender<Result<Results, ApiError>>,
    },
    TransferLeadership(u64),
    /// The state as it is, and what a checkpoint of it says of itself.
    State {
        reply: oneshot::Sender<Result<(Header, Store), ApiError>>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

impl Request {
    /// A commit without an idempotency key.
    pub fn commit(plans: Vec<Plan>, term: Option<u64>, reply: oneshot::Sender<Result<Results, ApiError>>) -> Self {
        Request::Commit {
            plans,
            idempotency_key: String::new(),
            term,
            reply,
        }
    }
}

/// Sends a message to the member it is for, or drops it; never waits.
pub type Post = Box<dyn Fn(Message) + Send>;

pub struct Driver {
    pub(super) config: ReplicaConfig,
    post: Post,
    /// Ends before the lock does: fields are dropped in this order.
    background: Background,
    _lock: Lock,
    pub(super) replica: Replica,
    log: Segments,
    snapshots: PathBuf,
    pub(super) waiters: Waiters,
    /// Reads whose index is known: they wait until it is applied.
    reads: Vec<(u64, Waiter)>,
    /// The file of a state that came and that Raft takes next.
    pub(super) received: Option<Aside>,
    /// The leader and the term, when it was looked last.
    led_by: (u64, u64),
    /// Bytes proposed and not yet in the log.
    proposed: u64,
    pub(super) timing: Timing,
    /// The size of the newest checkpoint, and that of the log when it was written.
    checkpoint_bytes: u64,
    logged_before: u64,
    /// When leadership was given away for want of room.
    pub(super) handed_over: Option<Instant>,
    /// Why the last entries that the leader sent were not taken in.
    pub(super) stuck: Option<String>,
    /// Why nothing can be committed any more.
    broken: Option<String>,
}

impl Driver {
    pub fn open(config: &ReplicaConfig, post: Post) -> Result<Self, OpenError> {
        std::fs::create_dir_all(&config.dir).map_err(io_error(&config.dir))?;
        let lock = Lock::take(&config.dir)?;
        let snapshots = config.dir.join(CHECKPOINTS);
        let dir = config.dir.join("log");
        let OnDisk {
            store,
            recovered,
            log,
            checkpoint_bytes,
        } = recover(config, &snapshots, &dir)?;
        let (store, recovered) = match config.alone {
            true => survivor::go_on_alone(config, &snapshots, store, recovered)?,
            false => (store, recovered),
        };
        let replica = Replica::new(config.member, store, recovered, Settings::seeded(rand::random()))?;
        let mut driver = Driver {
            config: config.clone(),
            post,
            reads: Vec::new(),
            received: None,
            led_by: (0, 0),
            _lock: lock,
            replica,
            checkpoint_bytes,
            logged_before: 0,
            log,
            snapshots,
            waiters: Waiters::new(config.member, clock() << 20),
            proposed: 0,
            timing: Timing::default(),
            background: Background::default(),
            handed_over: None,
            stuck: None,
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
            progress: self.replica.progress(),
            last_index: self.replica.last_index(),
            log_bytes: self.log.bytes(),
            checkpoint_bytes: self.checkpoint_bytes,
            state_bytes: self.replica.store().bytes(),
            quota_bytes: self.config.quota_bytes,
            ahead_ms: self.timing.ahead(),
            stuck: self.stuck.clone().filter(|_| self.replica.role() != Role::Leader),
        }
    }

    /// The term in which this member leads and sees all that came before.
    pub fn leads(&self) -> Option<u64> {
        self.replica.leads()
    }

    /// Runs until it is told to end, or nobody can ask any more.
    pub fn run(mut self, requests: &Receiver<Request>, publisher: Publisher) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            // Alone there are no heartbeats to send and no elections to start.
            let members = self.replica.members();
            let alone = members.voters.len() == 1 && members.learners.is_empty() && self.replica.role() == Role::Leader;
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
                self.waiters.prune();
                next_tick = Instant::now() + TICK;
            }
            let answers = self.drain();
            let woken = publisher.publish(self.snapshot(), self.status(), self.leads());
            // Who asked sees what it did in the next snapshot it takes, and is answered before others are woken.
            answers.into_iter().for_each(|answer| answer());
            woken.into_iter().for_each(|listener| listener.wake());
            if let Some(reply) = ended {
                drop((self, publisher));
                let _ = reply.send(());
                return;
            }
            self.checkpoint_if_due();
        }
    }

    /// Whether plans may be proposed now: they were not decided in another term, on what another leader may have changed,
    /// and the state has room for them.
    fn check(&self, term: Option<u64>, plans: &[Plan]) -> Result<(), ApiError> {
        match term {
            Some(term) if self.leads() != Some(term) => {
                let over = format!("term {term}, in which this was decided, is over");
                Err(ApiError::unavailable(over))
            }
            _ => quota::check_plans(self.config.quota_bytes, self.replica.store(), plans),
        }
    }

    /// Makes proposals of requests; says who asked for the end.
    fn take_in(&mut self, requests: impl Iterator<Item = Request>) -> Option<oneshot::Sender<()>> {
        let mut gathered = Command::default();
        let mut waiters = Vec::new();
        let mut barriers = Vec::new();
        let mut heavy = 0;
        let mut ended = None;
        for request in requests {
            match request {
                Request::Commit {
                    plans,
                    idempotency_key,
                    term,
                    reply,
                } => {
                    let waiter = Waiter::Plans(plans.len(), reply);
                    match self.check(term, &plans) {
                        Err(error) => waiter.fail(&error),
                        Ok(()) if idempotency_key.is_empty() => {
                            let more: usize = plans.iter().map(weight).sum();
                            if heavy > 0 && heavy + more > HEAVY {
                                self.propose(std::mem::take(&mut gathered), std::mem::take(&mut waiters));
                                heavy = 0;
                            }
                            heavy += more;
                            waiters.push(waiter);
                            gathered.plans.extend(plans);
                        }
                        Ok(()) => {
                            let command = Command {
                                plans,
                                idempotency_key,
                                ..Command::default()
                            };
                            self.propose(command, vec![waiter]);
                        }
                    }
                }
                Request::Blobs { keep, forget, reply } => {
                    let waiter = Waiter::Nothing(reply);
                    match quota::check_blobs(self.config.quota_bytes, self.replica.store(), &keep) {
                        Err(error) => waiter.fail(&error),
                        Ok(()) => {
                            let command = Command {
                                blobs: keep,
                                forget_blobs: forget,
                                ..Command::default()
                            };
                            self.propose(command, vec![waiter]);
                        }
                    }
                }
                Request::Barrier { reply } => barriers.push(Waiter::Nothing(reply)),
                Request::Shutdown { reply } => ended = Some(reply),
                other => self.pass_on(other),
            }
        }
        if !barriers.is_empty() {
            self.replica.read_index(self.waiters.context());
            self.waiters.wait(barriers);
        }
        if !waiters.is_empty() {
            self.propose(gathered, waiters);
        }
        ended
    }

    fn propose(&mut self, mut command: Command, waiters: Vec<Waiter>) {
        command.now_ms = self.timing.now(&self.replica);
        let encoded = command.encode();
        // What a follower proposes goes into the leader's log first.
        let prepared = match self.replica.role() {
            Role::Leader => self.prepare(encoded.len()),
            _ => self.prepare(0),
        };
        let refused = prepared.and_then(|()| {
            let context = self.waiters.context();
            self.replica
                .propose_encoded(context, command, encoded)
                .map_err(|error| ApiError::unavailable(format!("this member cannot write now ({error}): try again")))
        });
        match refused {
            Ok(()) => self.waiters.wait(waiters),
            Err(error) => waiters.into_iter().for_each(|waiter| waiter.fail(&error)),
        }
    }

    /// Whether so many bytes can be committed: nothing is broken, and there is room on the disk, also for what else was
    /// proposed.
    pub(super) fn prepare(&mut self, bytes: usize) -> Result<(), ApiError> {
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
                self.hand_over();
                let dir = self.config.dir.display();
                let what = format!("the log in {dir} cannot grow ({error}): free space there");
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
                Ok(Some(mut output)) => match self.carry_out(&mut output) {
                    Ok(applied) => {
                        for (context, index) in &output.reads {
                            let waiters = self.waiters.take(context).into_iter();
                            self.reads.extend(waiters.map(|waiter| (*index, waiter)));
                        }
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
        let led_by = (self.replica.leader(), self.replica.term());
        if led_by != self.led_by {
            self.led_by = led_by;
            // Another leads now: it may commit what was proposed before, or not.
            let lost =
                ApiError::unavailable("the leader has changed: look whether your write is there before you repeat it");
            self.waiters.fail_all(&lost);
        }
        let applied = self.replica.store().applied();
        for (_, read) in self.reads.extract_if(.., |(index, _)| *index <= applied) {
            answers.push(read.done());
        }
        answers
    }

    fn carry_out(&mut self, output: &mut Output) -> Result<Vec<(Bytes, sampan_state::Applied)>, String> {
        output.messages.drain(..).for_each(&self.post);
        if output.took_state {
            let index = self.replica.store().applied();
            let file = self.received.take().ok_or("the file of a state that came is missing")?;
            let written = checkpoints::adopt(&self.snapshots, file, index).map_err(|error| error.to_string())?;
            (self.checkpoint_bytes, self.logged_before) = (written.bytes, self.log.bytes());
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
        outcome.messages.into_iter().for_each(&self.post);
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
        if let Some(written) = self.background.finished() {
            match written {
                Ok(written) => {
                    self.checkpoint_bytes = written.bytes;
                    self.log.forget(written.oldest);
                }
                Err(error) => tracing::warn!(%error, "a checkpoint could not be written; the log grows on"),
            }
            self.logged_before = self.log.bytes();
        }
        let due = self.logged_before + CHECKPOINT_AFTER.max(self.checkpoint_bytes);
        if !self.background.is_busy() && self.log.bytes() >= due {
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
pub fn clock() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    u64::try_from(now).unwrap_or(u64::MAX)
}
