//! Small files that are whole or not there: written aside, synced, renamed.
use crate::protocol::ContainerState;
use serde::Serialize;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The largest file that is read back. Bytes.
const MAX_FILE: u64 = 4 << 20;

/// Writes a value as JSON so that a reader sees all of it or what was there before.
///
/// `durable` waits for the disk. Without, the file is atomic against a crash of this process, not of the node: right for
/// what a reboot makes worthless anyway.
pub fn write_json(path: &Path, value: &impl Serialize, durable: bool) -> io::Result<()> {
    let aside = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if durable {
        file.sync_data()?;
    }
    fs::rename(&aside, path)
}

/// Reads what [`write_json`] wrote. `Ok(None)` if it is not there.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is not what is expected there: {error}", path.display()),
        )
    })
}

/// How a container of a pod ended, though its shim may be gone. `Ok(None)` if it has not.
///
/// # Errors
/// Where the file cannot be read, or holds something else.
pub fn read_exit(pod: &Path, container: &str) -> io::Result<Option<ContainerState>> {
    read_json(&pod.join(container).join("exit.json"))
}
