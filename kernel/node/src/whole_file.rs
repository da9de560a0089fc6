//! Files in which the node keeps what the control plane said last, for the time when it is away. Each is JSON, and replaced
//! whole.
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The largest file that is written or read. Bytes.
const MAX: usize = 64 << 20;

/// What is in a file.
///
/// # Errors
/// If there is none, it cannot be read, or makes no sense.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX as u64 + 1).read_to_end(&mut text)?;
    if text.len() > MAX {
        return Err(too_large());
    }
    Ok(serde_json::from_slice(&text)?)
}

/// Writes a file, for nobody else to read.
///
/// # Errors
/// If the disk refuses, or it is too much. What was there stays.
pub fn write<T: Serialize>(path: &Path, kept: &T) -> io::Result<()> {
    let text = serde_json::to_vec(kept)?;
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

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("more than {MAX} bytes"))
}
