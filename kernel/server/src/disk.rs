//! What a server's directory takes of its disk, and what is left there.
use sampan_api::rpc::Disk;
use std::{fs, io, path::Path};

/// Looks at the log and the checkpoints of a replica's directory.
///
/// # Errors
/// If the directory cannot be read.
pub fn look(dir: &Path) -> io::Result<Disk> {
    let system = rustix::fs::statvfs(dir)?;
    Ok(Disk {
        used_bytes: bytes(&dir.join("log")) + bytes(&dir.join("snap")),
        free_bytes: system.f_bavail * system.f_frsize,
        ..Disk::default()
    })
}

/// Bytes of the files in a directory. One that vanishes meanwhile takes nothing any more.
fn bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}
