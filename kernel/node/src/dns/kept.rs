//! The zone on disk: what it was fed with, in one file that is replaced whole, so that an agent that starts while no server
//! is there answers as the one before it did.
use super::{
    respond::Responder,
    zone::{Fed, Zone},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, task::spawn_blocking, time::sleep};

/// The largest file that is written or read. Bytes.
const MAX: usize = 64 << 20;

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
    let kept = match read(path) {
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

fn read(path: &Path) -> io::Result<Kept> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX as u64 + 1).read_to_end(&mut text)?;
    if text.len() > MAX {
        return Err(too_large());
    }
    Ok(serde_json::from_slice(&text)?)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("more than {MAX} bytes"))
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
    let text = serde_json::to_vec(&kept)?;
    if text.len() > MAX {
        return Err(too_large());
    }
    let aside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&aside, path)
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
