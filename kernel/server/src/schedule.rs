//! Snapshots by a schedule: each server that is told to writes its state to a file at full intervals of the clock (with six
//! hours at 00:00, 06:00, 12:00 and 18:00 UTC), and keeps the newest few. What was missed while it was off is not made up for.
use crate::replica::{ReplicaHandle, UNFINISHED, save_checkpoint};
use jiff::Timestamp;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The clock may be set meanwhile: it is looked at so often.
const LOOK: Duration = Duration::from_secs(30);

/// How a snapshot's file ends.
const EXTENSION: &str = "snap";

/// The time in a file's name.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// When snapshots are taken, and how many are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub every: Duration,
    pub keep: usize,
    pub dir: PathBuf,
}

impl Schedule {
    /// The next time after one.
    fn next(&self, after: Timestamp) -> Timestamp {
        let every = i64::try_from(self.every.as_secs()).unwrap_or(i64::MAX).max(1);
        let next = (after.as_second().div_euclid(every) + 1).saturating_mul(every);
        Timestamp::from_second(next).unwrap_or(Timestamp::MAX)
    }
}

/// Takes snapshots until the server closes.
pub async fn keep_taking(replica: ReplicaHandle, schedule: Schedule, cluster_name: String, closing: CancellationToken) {
    let mut next = schedule.next(Timestamp::now());
    loop {
        let now = Timestamp::now();
        let left = Duration::try_from(next - now).unwrap_or_default().min(LOOK);
        if closing.run_until_cancelled(tokio::time::sleep(left)).await.is_none() {
            return;
        }
        let now = Timestamp::now();
        if now < next {
            // Also where the clock was set back.
            next = next.min(schedule.next(now));
            continue;
        }
        next = schedule.next(now);
        match take(&replica, &schedule, &cluster_name, now).await {
            Ok(path) => tracing::info!(path = %path.display(), "took a snapshot"),
            Err(error) => {
                tracing::warn!(dir = %schedule.dir.display(), error, "no snapshot could be taken: is there room?");
            }
        }
    }
}

async fn take(
    replica: &ReplicaHandle,
    schedule: &Schedule,
    cluster_name: &str,
    now: Timestamp,
) -> Result<PathBuf, String> {
    replica.barrier().await.map_err(|error| error.message)?;
    let (header, store) = replica.state().await.map_err(|error| error.message)?;
    let path = schedule
        .dir
        .join(format!("{cluster_name}-{}.{EXTENSION}", now.strftime(TIME)));
    let (schedule, name, written) = (schedule.clone(), cluster_name.to_owned(), path.clone());
    let write = move || {
        save_checkpoint(&written, &header, &store)?;
        forget_old(&schedule.dir, &name, schedule.keep)
    };
    let done = tokio::task::spawn_blocking(write)
        .await
        .map_err(|error| error.to_string())?;
    done.map(|()| path).map_err(|error: io::Error| error.to_string())
}

/// Removes the oldest of those that were taken by the schedule, what was cut short of others, and nothing else.
fn forget_old(dir: &Path, cluster_name: &str, keep: usize) -> io::Result<()> {
    let mut taken = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let time = stem.strip_prefix(cluster_name).and_then(|rest| rest.strip_prefix('-'));
        if !time.is_some_and(is_time) {
            continue;
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(EXTENSION) => taken.push(path),
            Some(UNFINISHED) => fs::remove_file(path)?,
            _ => {}
        }
    }
    // The time in their names is their order.
    taken.sort();
    let old = taken.len().saturating_sub(keep.max(1));
    taken.into_iter().take(old).try_for_each(fs::remove_file)
}

fn is_time(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    text.len() == 16
        && text
            .strip_suffix('Z')
            .and_then(|text| text.split_once('T'))
            .is_some_and(|(day, time)| day.len() == 8 && time.len() == 6 && digits(day) && digits(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backup::inspect, replica::ReplicaConfig};

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_due_at_full_intervals() {
        let schedule = Schedule {
            every: Duration::from_secs(6 * 60 * 60),
            keep: 3,
            dir: PathBuf::new(),
        };
        assert_eq!(
            schedule.next(time("2026-11-25T05:59:59Z")),
            time("2026-11-25T06:00:00Z")
        );
        assert_eq!(
            schedule.next(time("2026-11-25T06:00:00Z")),
            time("2026-11-25T12:00:00Z")
        );
        assert_eq!(
            schedule.next(time("2026-11-25T18:00:01Z")),
            time("2026-11-26T00:00:00Z")
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_newest_are_kept_and_what_is_not_its_own_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let replica = ReplicaHandle::open(&ReplicaConfig {
            dir: dir.path().join("server"),
            cluster: "lab-1".to_owned(),
            member: 1,
            joins: false,
            alone: false,
            quota_bytes: crate::QUOTA,
        })
        .unwrap();
        let schedule = Schedule {
            every: Duration::from_secs(60),
            keep: 2,
            dir: dir.path().join("taken"),
        };
        fs::create_dir(&schedule.dir).unwrap();
        for other in [
            "monday.snap",
            "lab-by-hand.snap",
            "lab-2026.snap",
            "other-20200101T000000Z.snap",
        ] {
            fs::write(schedule.dir.join(other), "mine").unwrap();
        }
        // A server that was killed while it wrote has left it so.
        let unfinished = schedule.dir.join("lab-20261125T055900Z.tmp");
        fs::write(&unfinished, "half").unwrap();
        let mut taken = Vec::new();
        for minute in 0..4 {
            let now = time(&format!("2026-11-25T06:0{minute}:00Z"));
            taken.push(take(&replica, &schedule, "lab", now).await.unwrap());
        }
        assert_eq!(
            taken.iter().map(|path| path.exists()).collect::<Vec<_>>(),
            [false, false, true, true]
        );
        assert!(!unfinished.exists());
        assert_eq!(inspect(&taken[3]).unwrap().cluster, "lab-1");
        assert_eq!(fs::read_dir(&schedule.dir).unwrap().count(), 6, "no more, and no less");
        // Where nothing can be written, nothing is removed.
        fs::remove_file(&taken[2]).unwrap();
        let nowhere = Schedule {
            dir: dir.path().join("nowhere"),
            ..schedule
        };
        assert!(
            take(&replica, &nowhere, "lab", time("2026-11-25T07:00:00Z"))
                .await
                .is_err()
        );
        assert!(taken[3].exists());
        replica.shutdown().await;
    }
}
