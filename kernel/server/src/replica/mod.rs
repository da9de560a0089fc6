//! The replica at work: one thread that owns the state machine and the log on disk, and handles for everybody else.
mod changes;
mod checkpoints;
mod driver;
mod group;
mod listeners;
mod lock;
mod pieces;
mod published;
mod quota;
mod recovery;
mod segments;
mod survivor;
#[cfg(test)]
mod tests;
mod timing;
mod waiters;
mod weight;

pub use changes::{Batch, Changes};
pub(crate) use checkpoints::{
    ReadError, WRITTEN as UNFINISHED, read as read_checkpoint, save as save_checkpoint, write as write_checkpoint,
};
pub use driver::Post;
pub(crate) use pieces::stream as state_pieces;

use bytes::Bytes;
use driver::{Driver, Request};
use published::{Published, Publisher};
use sampan_api::{ApiError, Plan, Reason, Revision};
use sampan_state::{
    Committed, Header, Progress, Snapshot, Store,
    eraftpb::{ConfChangeV2, Message},
    give_state,
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc as mpsc_async, oneshot, watch};

/// The answers to a list of plans, one for each.
pub type Results = Vec<Result<Committed, ApiError>>;

/// The directory of checkpoints in a replica's.
const CHECKPOINTS: &str = "snap";

/// Requests that may wait for the driver; more have to wait to be let in.
const WAITING: usize = 4096;

/// So long an answer is waited for in a group of many, in all and at a time.
const PATIENCE: Duration = Duration::from_secs(15);
const ATTEMPT: Duration = Duration::from_millis(1500);
const ATTEMPT_STUCK: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes of an idempotency key at the most: they are remembered.
const LONGEST_KEY: usize = 256;

/// What is said of a file that this build cannot know.
const NEWER: &str = "it was written by a newer build of sampan: install that, or a later one, on this machine";

/// How a replica is opened.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// Where its log and checkpoints are; made if it is not there.
    pub dir: PathBuf,
    /// Unlike any other cluster's; only used when the directory is empty.
    pub cluster: String,
    pub member: u64,
    /// It joins a group that is there, whose leader will give it the state; it does not begin one.
    pub joins: bool,
    /// It goes on alone with what it has: the other members are lost.
    pub alone: bool,
    /// How large the state may become.
    pub quota_bytes: u64,
}

/// Why a replica cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} is in use by process {pid}: stop it first, or choose another --data-dir", path.display())]
    Locked { path: PathBuf, pid: String },
    #[error(
        "the log is damaged in its middle, at byte {offset} of {}: what follows would be lost. Restore a snapshot, or, to \
         accept the loss, move this file and those after it away", path.display()
    )]
    Corrupt { path: PathBuf, offset: u64 },
    #[error("{}: {reason}. Move it away to start from the checkpoint before it", path.display())]
    Checkpoint {
        path: PathBuf,
        reason: sampan_state::CheckpointError,
    },
    #[error("{}: there is a log, and no checkpoint that it continues. Restore {}/snap", path.display(), path.display())]
    NoCheckpoint { path: PathBuf },
    #[error("{}: the log begins after the newest checkpoint: entries up to {missing} are missing", path.display())]
    Gap { path: PathBuf, missing: u64 },
    #[error("{} has no state that this server could go on with alone: restore a snapshot (`sampan snapshot restore`)", .0.display())]
    NothingLeft(PathBuf),
    #[error("this server is the only one of its group already: start it without --force-new-cluster")]
    AloneAlready,
    #[error("{}: {what}", path.display())]
    Version { path: PathBuf, what: String },
    #[error(transparent)]
    Replica(#[from] sampan_state::ReplicaError),
}

/// An error of I/O with the path it is about.
fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path = path.to_owned();
    |source| OpenError::Io { path, source }
}

/// Whether there is a state in a replica's directory. Reads nothing of it, and changes nothing.
pub fn holds_state(dir: &Path) -> bool {
    let checkpoint = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|end| end == "checkpoint");
    dir.join(CHECKPOINTS)
        .read_dir()
        .is_ok_and(|entries| entries.flatten().any(checkpoint))
}

/// Waits until this member leads; in which term. None once the replica is closed.
pub async fn leads(leadership: &mut watch::Receiver<Option<u64>>) -> Option<u64> {
    leadership.wait_for(Option::is_some).await.ok().and_then(|term| *term)
}

/// What a replica says of itself.
#[derive(Clone, Debug, Default)]
pub struct ReplicaStatus {
    pub member: u64,
    pub leader: u64,
    pub term: u64,
    pub applied: u64,
    pub voters: Vec<u64>,
    pub learners: Vec<u64>,
    /// On disk: the log, and the newest checkpoint.
    pub log_bytes: u64,
    pub checkpoint_bytes: u64,
    /// About what objects and blobs take, and may take.
    pub state_bytes: u64,
    pub quota_bytes: u64,
    /// The last entry of the log here.
    pub last_index: u64,
    /// How far the members are; empty unless this one leads.
    pub progress: Vec<Progress>,
    /// By how much the state's time is ahead of this machine's clock: of a leader that follows one whose clock was ahead.
    pub ahead_ms: u64,
    /// Why no entry can be taken in that the leader has sent, as for want of room.
    pub stuck: Option<String>,
}

impl ReplicaStatus {
    /// Who would take over best, as the leader knows: of the other voters that are there the one that is furthest.
    pub fn heir(&self) -> Option<u64> {
        let others = self.progress.iter().filter(|progress| {
            progress.member != self.member && progress.active && self.voters.contains(&progress.member)
        });
        others
            .max_by_key(|progress| progress.matched)
            .map(|progress| progress.member)
    }
}

/// A way to the replica; copies are cheap and all lead to the same one.
#[derive(Clone)]
pub struct ReplicaHandle {
    requests: mpsc::SyncSender<Request>,
    published: Arc<Published>,
    /// Where checkpoints are.
    snapshots: Arc<Path>,
}

impl ReplicaHandle {
    /// As [`ReplicaHandle::open_in_group`], of a replica that nobody else belongs to.
    ///
    /// # Errors
    /// As [`ReplicaHandle::open_in_group`].
    pub fn open(config: &ReplicaConfig) -> Result<Self, OpenError> {
        Self::open_in_group(config, Box::new(drop))
    }

    /// Opens the replica of a directory, or makes a new one there, and starts its thread. `post` carries its messages to
    /// the other members.
    ///
    /// # Errors
    /// If another process has it, or what is on disk is damaged.
    pub fn open_in_group(config: &ReplicaConfig, post: Post) -> Result<Self, OpenError> {
        let (requests, receiver) = mpsc::sync_channel(WAITING);
        let driver = Driver::open(config, post)?;
        let publisher = Publisher::new(driver.snapshot(), driver.status(), driver.leads());
        let published = publisher.published.clone();
        std::thread::Builder::new()
            .name("replica".to_owned())
            .spawn(move || {
                // A server whose replica is gone is of no use to anybody: whoever watches over it starts it again.
                let run = std::panic::AssertUnwindSafe(|| driver.run(&receiver, publisher));
                if std::panic::catch_unwind(run).is_err() {
                    tracing::error!("the replica has panicked: the process ends");
                    std::process::abort();
                }
            })
            .map_err(io_error(&config.dir))?;
        Ok(ReplicaHandle {
            requests,
            published,
            snapshots: config.dir.join(CHECKPOINTS).into(),
        })
    }

    fn send(&self, request: Request) -> Result<(), ApiError> {
        self.requests.send(request).map_err(|_| closed())
    }

    async fn send_and_wait<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, ApiError>>) -> Request,
    ) -> Result<T, ApiError> {
        let (sender, receiver) = oneshot::channel();
        self.hand_in(make(sender)).await?;
        receiver.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn hand_in(&self, mut request: Request) -> Result<(), ApiError> {
        // The queue is only ever full for moments: the driver takes all of it at a time.
        while let Err(error) = self.requests.try_send(request) {
            match error {
                mpsc::TrySendError::Full(again) => request = again,
                mpsc::TrySendError::Disconnected(_) => return Err(closed()),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Commits plans as one entry, each whole or not at all; answers when they are on disk and applied.
    ///
    /// # Errors
    /// `Unavailable` if nothing of it was committed: no leader, a full disk, shutting down.
    pub async fn commit(&self, plans: Vec<Plan>) -> Result<Results, ApiError> {
        // Where another may come to lead, what was asked of the one before must not be done twice.
        let key = match self.is_alone() {
            true => String::new(),
            false => format!("{:032x}", rand::random::<u128>()),
        };
        self.commit_keyed(plans, key).await
    }

    /// As [`ReplicaHandle::commit`], if this member still leads in the term in which the plans were decided.
    ///
    /// # Errors
    /// As [`ReplicaHandle::commit`], and `Unavailable` if the term is over.
    pub async fn commit_in(&self, term: u64, plans: Vec<Plan>) -> Result<Results, ApiError> {
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        self.send_and_wait(|reply| Request::commit(plans, Some(term), reply))
            .await
    }

    /// As [`ReplicaHandle::commit`]; the same key again gives the same answer and commits nothing.
    ///
    /// # Errors
    /// As [`ReplicaHandle::commit`].
    pub async fn commit_keyed(&self, plans: Vec<Plan>, idempotency_key: String) -> Result<Results, ApiError> {
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        if idempotency_key.len() > LONGEST_KEY {
            let message = format!(
                "an idempotency key has at most {LONGEST_KEY} bytes, this one has {}",
                idempotency_key.len()
            );
            return Err(ApiError::bad_request(message));
        }
        if self.is_alone() {
            let commit = |reply| Request::Commit {
                plans,
                idempotency_key,
                term: None,
                reply,
            };
            return self.send_and_wait(commit).await;
        }
        self.insist(|reply| Request::Commit {
            plans: plans.clone(),
            idempotency_key: idempotency_key.clone(),
            term: None,
            reply,
        })
        .await
    }

    /// Whether there is no other member to ask.
    fn is_alone(&self) -> bool {
        let status = self.status();
        status.voters.len() <= 1 && status.leader == status.member
    }

    /// Asks until there is an answer, through a change of leaders and lost messages: what is asked must do no harm when it
    /// is asked twice.
    async fn insist<T>(&self, make: impl Fn(oneshot::Sender<Result<T, ApiError>>) -> Request) -> Result<T, ApiError> {
        if self.is_alone() {
            return self.send_and_wait(make).await;
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let attempt = match self.status().stuck {
                Some(_) => ATTEMPT_STUCK,
                None => ATTEMPT,
            };
            let answer = tokio::time::timeout(attempt, self.send_and_wait(&make)).await;
            // What is read or written here shows here once it is applied: not before there is room.
            if let (Err(_) | Ok(Err(_)), Some(why)) = (&answer, self.status().stuck) {
                let what = format!(
                    "this server is behind the others and cannot catch up: {why}. Ask another server; a write that was sent \
                     here may have been done"
                );
                return Err(ApiError::unavailable(what));
            }
            match answer {
                Ok(Err(error)) if error.reason == Reason::Unavailable && Instant::now() < until => {
                    if self.published.is_closed() {
                        return Err(error);
                    }
                }
                Ok(answer) => return answer,
                Err(_) if Instant::now() < until => {}
                Err(_) => {
                    let what =
                        "no leader has answered in time: is a majority of the servers there? `sampan member list`";
                    return Err(ApiError::unavailable(what));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Commits one plan.
    ///
    /// # Errors
    /// As [`ReplicaHandle::commit`], or why the plan was refused.
    pub async fn commit_one(&self, plan: Plan) -> Result<Committed, ApiError> {
        self.commit(vec![plan]).await?.pop().unwrap_or_else(|| Err(closed()))
    }

    /// As [`ReplicaHandle::commit`], for threads. Must not be called from an asynchronous task.
    ///
    /// # Errors
    /// As [`ReplicaHandle::commit`].
    pub fn commit_blocking(&self, plans: Vec<Plan>) -> Result<Results, ApiError> {
        self.send_and_block(plans, None)
    }

    /// As [`ReplicaHandle::commit_in`], for threads. Must not be called from an asynchronous task.
    ///
    /// # Errors
    /// As [`ReplicaHandle::commit_in`].
    pub fn commit_blocking_in(&self, term: u64, plans: Vec<Plan>) -> Result<Results, ApiError> {
        self.send_and_block(plans, Some(term))
    }

    fn send_and_block(&self, plans: Vec<Plan>, term: Option<u64>) -> Result<Results, ApiError> {
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, receiver) = oneshot::channel();
        self.send(Request::commit(plans, term, reply))?;
        receiver.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Keeps bytes in the state; their digest.
    ///
    /// # Errors
    /// As [`ReplicaHandle::commit`].
    pub async fn put_blob(&self, bytes: Bytes) -> Result<String, ApiError> {
        let digest = sampan_state::digest_of(&bytes);
        if self.snapshot().blob(&digest).is_none() {
            self.send_and_wait(|reply| Request::Blobs {
                keep: vec![bytes],
                forget: Vec::new(),
                reply,
            })
            .await?;
        }
        Ok(digest)
    }

    /// Lets go of bytes.
    ///
    /// # Errors
    /// As [`ReplicaHandle::commit`].
    pub async fn forget_blobs(&self, digests: Vec<String>) -> Result<(), ApiError> {
        self.send_and_wait(|reply| Request::Blobs {
            keep: Vec::new(),
            forget: digests,
            reply,
        })
        .await
    }

    /// Waits until this replica shows everything that was acknowledged before the call, anywhere.
    ///
    /// # Errors
    /// `Unavailable` if there is no leader.
    pub async fn barrier(&self) -> Result<(), ApiError> {
        // The only member is the leader and has applied what it acknowledged.
        if self.is_alone() {
            return Ok(());
        }
        self.insist(|reply| Request::Barrier { reply }).await
    }

    /// The state at one revision, and what a checkpoint of it says of itself. It costs next to nothing, and holding it holds
    /// up nobody. After a [`ReplicaHandle::barrier`] it has all that was acknowledged before.
    ///
    /// # Errors
    /// `Unavailable` when the replica is closed.
    pub async fn state(&self) -> Result<(Header, Store), ApiError> {
        self.send_and_wait(|reply| Request::State { reply }).await
    }

    /// Hands in messages of another member.
    ///
    /// # Errors
    /// `Unavailable` when the replica is closed.
    pub async fn step(&self, messages: Vec<Message>) -> Result<(), ApiError> {
        self.hand_in(Request::Step(messages)).await
    }

    /// Hands in a state that another member sends in pieces, and the message that it came with. It is read and on disk when
    /// this returns; the replica takes it if it is newer than what it has.
    ///
    /// # Errors
    /// If it does not come whole, or there is no room for it.
    pub async fn step_state(
        &self,
        mut message: Message,
        mut pieces: mpsc_async::Receiver<Bytes>,
    ) -> Result<(), ApiError> {
        let dir = self.snapshots.clone();
        let read = move || checkpoints::receive(&dir, std::iter::from_fn(|| pieces.blocking_recv()));
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| closed())?;
        let (store, header, file) =
            read.map_err(|error| ApiError::unavailable(format!("the state could not be received: {error}")))?;
        give_state(&mut message, &header);
        self.hand_in(Request::StepState(Box::new((message, header, store, file))))
            .await
    }

    /// A message to that member could not be sent. Never waits.
    pub fn unreachable(&self, member: u64) {
        let _ = self.requests.try_send(Request::Unreachable(member));
    }

    /// The state went to that member, or could not.
    pub fn state_sent(&self, member: u64, arrived: bool) {
        let _ = self.requests.try_send(Request::StateSent(member, arrived));
    }

    /// Changes the members by one step, if this one leads.
    ///
    /// # Errors
    /// `Unavailable` if it does not lead, or another change is under way.
    pub async fn change_members(&self, change: ConfChangeV2) -> Result<(), ApiError> {
        let done = self.send_and_wait(|reply| Request::Members { change, reply }).await?;
        done.into_iter().try_for_each(|result| result.map(drop))
    }

    /// Asks for another leader; nothing happens if it is not ready to lead.
    pub fn transfer_leadership(&self, member: u64) {
        let _ = self.requests.try_send(Request::TransferLeadership(member));
    }

    /// The newest state that was applied here.
    pub fn snapshot(&self) -> Snapshot {
        self.published.snapshot.read().clone()
    }

    pub fn status(&self) -> ReplicaStatus {
        self.published.status.read().clone()
    }

    /// The time, in milliseconds of Unix time, in which the state's own times are told.
    pub fn now_millis(&self) -> u64 {
        driver::clock() + self.published.status.read().ahead_ms
    }

    /// The term in which this member leads, while it does; the newest snapshot shows all that was committed before it.
    /// Closed when the replica is.
    pub fn leadership(&self) -> watch::Receiver<Option<u64>> {
        self.published.leadership.clone()
    }

    /// Everything that happens after a revision.
    ///
    /// # Errors
    /// `Expired` if some of it is forgotten, `Unavailable` if the replica is closed.
    pub fn watch(&self, after: Revision) -> Result<Changes, ApiError> {
        self.watch_only(after, vec![listeners::EVERY.to_owned()])
    }

    /// What happens to these resources after a revision; of others it is not even woken.
    ///
    /// # Errors
    /// As [`ReplicaHandle::watch`].
    pub fn watch_only(&self, after: Revision, resources: Vec<String>) -> Result<Changes, ApiError> {
        if self.published.is_closed() {
            return Err(closed());
        }
        self.snapshot().since(after)?;
        Ok(Changes::new(self.published.clone(), after, resources))
    }

    /// Ends the thread after what was asked before is done; everything after is answered `Unavailable`.
    pub async fn shutdown(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.requests.send(Request::Shutdown { reply: sender }).is_ok() {
            let _: Result<(), _> = receiver.await;
        }
    }
}

fn closed() -> ApiError {
    ApiError::new(Reason::Unavailable, "the control plane is shutting down")
}
