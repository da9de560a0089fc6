//! How a loop of the policies lives: it follows the state and who leads, and sleeps while there is nothing to do.
//!
//! The loops run on every member, so that wherever leadership goes their instances are warm and know everything. They
//! decide only while their member leads, and what they decide is committed in that term or not at all.
use crate::replica::{Batch, Changes, ReplicaHandle};
use sampan_api::Reason;
use sampan_state::Snapshot;
use std::time::Instant;
use tokio::{runtime, sync::watch};
use tokio_util::sync::CancellationToken;

/// What a loop does with what it is told.
pub trait Work {
    /// The resources whose changes it is told of; `*` is all of them. When they are others, it starts over.
    fn interest(&self) -> impl Iterator<Item = &str>;

    /// The state as it is: what was known of it before may have gaps.
    fn start_over(&mut self, snapshot: &Snapshot);

    /// Whether it keeps so much of what is no more that it had better start over.
    fn is_overgrown(&self) -> bool {
        false
    }

    /// What has changed since.
    fn take_in(&mut self, changes: &Batch);

    /// Between two decisions, whoever leads: whom the line-up names is seated and told what is new.
    fn keep_ready(&mut self, term: Option<u64>);

    /// When there is something to decide; none while it waits for news.
    fn due(&self) -> Option<Instant>;

    /// Decides some of what is due, in a term.
    fn decide(&mut self, term: u64);

    /// Waits until something else than the state and the term asks for a look.
    async fn stirred(&mut self);
}

/// What ends a sleep.
enum News {
    Changes(Batch),
    /// Some of the changes were missed.
    Gap,
    Due,
    /// Another term, or what the work waits for.
    Look,
    Stop,
}

/// Runs a loop.
pub struct Follower {
    pub name: String,
    pub replica: ReplicaHandle,
    pub leadership: watch::Receiver<Option<u64>>,
    pub stop: CancellationToken,
}

impl Follower {
    /// Until it is told to stop or the replica is closed. Blocks.
    pub fn run(&self, work: &mut impl Work) {
        let runtime = match runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(name = self.name, %error, "a policy loop cannot start");
                return;
            }
        };
        while let Some(changes) = self.start_over(work) {
            if !self.follow(&runtime, work, changes) {
                return;
            }
        }
    }

    /// The changes from what is now on. `None` if the replica is closed.
    fn start_over(&self, work: &mut impl Work) -> Option<Changes> {
        loop {
            let snapshot = self.replica.snapshot();
            let resources = work.interest().map(str::to_owned).collect();
            match self.replica.watch_only(snapshot.revision(), resources) {
                Ok(changes) => {
                    work.start_over(&snapshot);
                    return Some(changes);
                }
                Err(error) if error.reason == Reason::Expired => {}
                Err(error) => {
                    tracing::info!(name = self.name, %error, "a policy loop ends");
                    return None;
                }
            }
        }
    }

    /// Whether to start over; if not, to stop.
    fn follow(&self, runtime: &runtime::Runtime, work: &mut impl Work, mut changes: Changes) -> bool {
        let mut leadership = self.leadership.clone();
        loop {
            // Read before the changes are: who leads has taken in all that was committed before its term.
            let term = *leadership.borrow_and_update();
            work.keep_ready(term);
            if !work.interest().eq(changes.resources()) || work.is_overgrown() {
                return true;
            }
            let due = term.and_then(|_| work.due());
            // The runtime is left for the work: it blocks.
            match runtime.block_on(self.sleep(work, &mut changes, &mut leadership, due)) {
                News::Changes(batch) => {
                    work.take_in(&batch);
                    work.keep_ready(term);
                }
                News::Due => {}
                News::Look => continue,
                News::Gap => return true,
                News::Stop => return false,
            }
            if let Some(term) = term
                && *leadership.borrow() == Some(term)
                && work.due().is_some_and(|due| due <= Instant::now())
            {
                work.decide(term);
            }
        }
    }

    async fn sleep(
        &self,
        work: &mut impl Work,
        changes: &mut Changes,
        leadership: &mut watch::Receiver<Option<u64>>,
        due: Option<Instant>,
    ) -> News {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => News::Stop,
            batch = changes.next() => batch.map_or(News::Gap, News::Changes),
            _ = leadership.changed() => News::Look,
            () = work.stirred() => News::Look,
            () = until(due) => News::Due,
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        None => std::future::pending().await,
        Some(due) if due <= Instant::now() => {}
        Some(due) => tokio::time::sleep_until(due.into()).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::ReplicaConfig;
    use sampan_api::{Key, Object, Operation, Plan, Write, kinds};
    use std::{
        sync::{
            Arc, Mutex,
            mpsc::{Receiver, Sender, channel},
        },
        time::Duration,
    };

    /// Tells what it is asked to do; decides once for each change.
    struct Teller {
        told: Sender<String>,
        open: usize,
        /// Changes since it started over, and how many are too many.
        kept: usize,
        most: usize,
        looks: Arc<Mutex<usize>>,
    }

    impl Work for Teller {
        fn interest(&self) -> impl Iterator<Item = &str> {
            ["*"].into_iter()
        }

        fn start_over(&mut self, _: &Snapshot) {
            self.kept = 0;
            self.told.send("start over".to_owned()).unwrap();
        }

        fn is_overgrown(&self) -> bool {
            self.kept >= self.most
        }

        fn take_in(&mut self, changes: &Batch) {
            self.open += changes.events.len();
            self.kept += changes.events.len();
            self.told.send("take in".to_owned()).unwrap();
        }

        fn keep_ready(&mut self, _: Option<u64>) {
            *self.looks.lock().unwrap() += 1;
        }

        fn due(&self) -> Option<Instant> {
            (self.open > 0).then(Instant::now)
        }

        fn decide(&mut self, term: u64) {
            self.open = 0;
            self.told.send(format!("decide in {term}")).unwrap();
        }

        async fn stirred(&mut self) {
            std::future::pending().await
        }
    }

    fn next(told: &Receiver<String>) -> String {
        told.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    fn create(name: &str) -> Plan {
        let object = Object::new(kinds::of_manifest("v1", "Namespace").unwrap(), "", name);
        Write::new(Key::new("namespaces", "", name), Operation::Create(object)).into()
    }

    #[test]
    fn a_loop_decides_after_changes_sleeps_in_between_and_stops_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let replica = ReplicaHandle::open(&ReplicaConfig {
            dir: dir.path().to_owned(),
            cluster: "test".to_owned(),
            member: 1,
            joins: false,
            alone: false,
            quota_bytes: crate::QUOTA,
        })
        .unwrap();
        let (lead, leadership) = watch::channel(None);
        let (told, says) = channel();
        let looks = Arc::new(Mutex::new(0));
        let stop = CancellationToken::new();
        let follower = Follower {
            name: "teller".to_owned(),
            replica: replica.clone(),
            leadership,
            stop: stop.clone(),
        };
        let mut teller = Teller {
            told,
            open: 0,
            kept: 0,
            most: 3,
            looks: looks.clone(),
        };
        let thread = std::thread::spawn(move || follower.run(&mut teller));
        assert_eq!(next(&says), "start over");
        // It follows, and decides once its member leads.
        replica.commit_blocking(vec![create("a")]).unwrap();
        assert_eq!(next(&says), "take in");
        assert!(says.recv_timeout(Duration::from_millis(50)).is_err());
        lead.send_replace(Some(7));
        assert_eq!(next(&says), "decide in 7");
        replica.commit_blocking(vec![create("b")]).unwrap();
        assert_eq!(next(&says), "take in");
        assert_eq!(next(&says), "decide in 7");
        // However long nothing happens, it does not look.
        std::thread::sleep(Duration::from_millis(50));
        let before = *looks.lock().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(*looks.lock().unwrap(), before);
        // Where it has kept too much it starts over, and follows from there.
        for name in ["c", "d"] {
            replica.commit_blocking(vec![create(name)]).unwrap();
            assert_eq!(next(&says), "take in");
            assert_eq!(next(&says), "decide in 7");
            if name == "c" {
                assert_eq!(next(&says), "start over");
            }
        }
        stop.cancel();
        thread.join().unwrap();
    }
}
