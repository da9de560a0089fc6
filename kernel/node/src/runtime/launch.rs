//! Starting a pod's shim so that it outlives the agent.
use sampan_shim::{PodSpec, ShimInfo, client};
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
    time::timeout,
};

/// How long a shim may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// What it may print. Bytes.
const MAX_LINE: u64 = 64 << 10;

/// Why there is no shim.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot start the shim {}: {source}", path.display())]
    Spawn { path: PathBuf, source: io::Error },
    #[error("the pod's shim was not ready within {0:?}")]
    Slow(Duration),
    #[error(transparent)]
    Shim(#[from] client::ClientError),
}

/// Starts a shim that holds `dir`, which is made anew, and waits until it can be connected to.
///
/// # Errors
/// Says why not, in the shim's own words where it has any.
pub async fn launch(binary: &Path, dir: &Path, spec: &PodSpec) -> Result<ShimInfo, LaunchError> {
    write_spec(dir, spec).map_err(|source| LaunchError::Write {
        path: dir.to_owned(),
        source,
    })?;
    let failed = |source| LaunchError::Spawn {
        path: binary.to_owned(),
        source,
    };
    // Nothing is between fork and exec, so that a large agent starts it as fast as a small one. The shim leaves the
    // session by itself. Its complaints go to a file: a pipe would end with the agent.
    let mut child = Command::from(client::command(binary, dir).map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    let output = child
        .stdout
        .take()
        .ok_or_else(|| failed(io::Error::other("it has no output")))?;
    let mut line = String::new();
    let mut reader = BufReader::new(output.take(MAX_LINE));
    let read = timeout(PATIENCE, reader.read_line(&mut line)).await;
    match client::parse_ready(&line) {
        Ok(info) => {
            // Reaped when it ends, for as long as this agent lives.
            tokio::spawn(async move { child.wait().await });
            Ok(info)
        }
        Err(error) => {
            let _ = child.start_kill();
            let _ = child.wait().await;
            Err(if read.is_err() {
                LaunchError::Slow(PATIENCE)
            } else {
                error.into()
            })
        }
    }
}

fn write_spec(dir: &Path, spec: &PodSpec) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::write(dir.join("pod.json"), serde_json::to_vec(spec)?)
}

/// The shim of `dir`, if it lives.
pub fn alive(dir: &Path) -> Option<ShimInfo> {
    let text = fs::read(dir.join("shim.json")).ok()?;
    serde_json::from_slice::<ShimInfo>(&text)
        .ok()
        .filter(ShimInfo::is_alive)
}
