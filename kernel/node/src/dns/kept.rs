//! The zone on disk: what it was fed with, in one file that is replaced whole, so that an agent that starts while no server
//! is there answers as the one before it did.
use super::{
    respond::Responder,
    zone::{Fed, Zone},
};
use crate::whole_file;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, task::spawn_blocking, time::sleep};

/// How the file is written; one of another version is not read.
const VERSION: u32 = 1;

/// Changes of so long are written together. What a kill loses of them, the control plane tells again.
const GATHER: Duration = Duration::from_secs(1);
/// So long the disk rests after each time: the file of a large cluster has megabytes, and there is always some change.
const REST: Duration = Duration::from_secs(15);

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// With another, names are not those of this cluster.
    domain: String,
    fed: Fed,
}

/// Feeds the zone what is in the file. Without one that makes sense, nothing.
pub fn restore(path: &Path, domain: &str, zone: &mut Zone) {
    let kept: Kept = match whole_file::read(path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the names of the cluster are not known before a server is");
            return;
        }
    };
    if kept.version == VERSION && kept.domain == domain {
        zone.feed(kept.fed);
    }
}

/// Writes the file.
///
/// # Errors
/// If the disk refuses, or it is too much. What was there stays.
pub fn write(path: &Path, domain: &str, fed: Fed) -> io::Result<()> {
    let kept = Kept {
        version: VERSION,
        domain: domain.to_owned(),
        fed,
    };
    whole_file::write(path, &kept)
}

/// Writes the file some time after each change from now on, for as long as the future is polled.
pub fn keep(
    path: PathBuf,
    domain: String,
    responder: Arc<Responder>,
    changes: Arc<Notify>,
) -> impl Future<Output = ()> + Send {
    // As it is now: by the first poll it may be another.
    let mut written = responder.zone.read().serial();
    async move {
        loop {
            changes.notified().await;
            sleep(GATHER).await;
            let serial = responder.zone.read().serial();
            if serial == written {
                continue;
            }
            let (to, of, from) = (path.clone(), domain.clone(), responder.clone());
            let write = move || {
                let fed = from.zone.read().fed();
                write(&to, &of, fed)
            };
            match spawn_blocking(write).await {
                Ok(Ok(())) => written = serial,
                Ok(Err(error)) => {
                    tracing::warn!(path = %path.display(), %error, "cannot keep the names of the cluster");
                }
                Err(_) => return,
            }
            sleep(REST).await;
        }
    }
}
