//! The node's directory: made, taken for one agent alone, and cleared at an end that takes the pods along.
use super::StartError;
use crate::config::AgentConfig;
use sampan_container::{ImageError, Store};
use std::{fs, os::unix::fs::DirBuilderExt, path::Path, time::Duration};

/// Makes it, with what is in it.
///
/// # Errors
/// If the disk refuses.
pub fn make(config: &AgentConfig) -> Result<(), StartError> {
    for dir in [&config.data, &config.pods_dir(), &config.cache] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| StartError::Io {
            path: dir.clone(),
            source,
        })?;
    }
    Ok(())
}

/// The node's directory and its image store, for this agent alone. An agent that was just ended lets go of them a moment
/// later.
///
/// # Errors
/// If another agent has them, or the disk refuses.
pub async fn claim(data: &Path) -> Result<(fs::File, Store), StartError> {
    let data = data.to_owned();
    let open = move || {
        let mut tries = 0..40;
        loop {
            let claimed = lock(&data).and_then(|lock| Ok((lock, Store::open(data.join("images"))?)));
            match claimed {
                Err(StartError::Busy(_) | StartError::Images(ImageError::Busy { .. })) if tries.next().is_some() => {
                    std::thread::sleep(Duration::from_millis(25));
                }
                result => return result,
            }
        }
    };
    tokio::task::spawn_blocking(open)
        .await
        .map_err(|error| StartError::Config(error.to_string()))?
}

fn lock(data: &Path) -> Result<fs::File, StartError> {
    let path = data.join("lock");
    let open = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = open.map_err(|source| StartError::Io { path, source })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::Busy(data.to_owned())),
        Err(error) => Err(StartError::Io {
            path: data.to_owned(),
            source: error.into(),
        }),
    }
}

/// What no pod needs any more, where there is none: empty directories and empty cgroups.
pub fn clear(config: &AgentConfig) {
    for entry in fs::read_dir(config.pods_dir()).into_iter().flatten().flatten() {
        // Emptied by now, or about to be by the task that forgets the pod.
        let _ = fs::remove_dir_all(entry.path());
    }
    if config.rootless {
        return;
    }
    let root = Path::new("/sys/fs/cgroup");
    let _ = fs::remove_dir(root.join(&config.cgroup));
    for hierarchy in fs::read_dir(root).into_iter().flatten().flatten() {
        // The kernel lets go of empty ones only.
        let _ = fs::remove_dir(hierarchy.path().join(&config.cgroup));
    }
}
