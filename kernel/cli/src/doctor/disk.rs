//! Where the data is to be: whether it may be there, whether there is room, and how fast the disk keeps its word.
use super::Finding;
use crate::progress::size;
use rustix::fs::Access;
use std::{
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

/// Room that a node wants for images and logs. Bytes.
const ROOM: u64 = 2 << 30;

/// How often the disk is asked to keep something.
const SYNCS: usize = 15;

/// The directory itself, or the nearest above it that is there.
fn existing(data: &Path) -> &Path {
    data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

pub fn directory(data: &Path) -> Finding {
    let check = "data directory";
    let there = existing(data);
    let shown = data.display();
    if rustix::fs::access(there, Access::WRITE_OK).is_err() {
        return Finding::fail(
            check,
            format!("{} may not be written to", there.display()),
            "sudo, or --data-dir DIR",
        );
    }
    if there != data {
        return Finding::ok(check, format!("{shown} can be made"));
    }
    let Ok(metadata) = std::fs::metadata(data) else {
        return Finding::fail(check, format!("{shown} cannot be looked at"), "--data-dir DIR");
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_dir() {
        return Finding::fail(check, format!("{shown} is no directory"), "--data-dir DIR");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Finding::warn(
            check,
            format!("{shown} belongs to another user"),
            "run as that user, or --data-dir DIR",
        );
    }
    if mode & 0o077 != 0 {
        return Finding::warn(
            check,
            format!("{shown} is open to others (mode {mode:o})"),
            format!("chmod 700 {shown}"),
        );
    }
    Finding::ok(check, format!("{shown} (mode {mode:o})"))
}

pub fn space(data: &Path) -> Finding {
    let check = "disk space";
    match rustix::fs::statvfs(existing(data)) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{} free", size(free));
            if free >= ROOM {
                Finding::ok(check, found)
            } else {
                Finding::warn(check, found, "images and logs want 2 GiB")
            }
        }
        Err(error) => Finding::warn(check, format!("not known: {error}"), ""),
    }
}

/// Nothing is acknowledged before the disk has it: its latency is the cluster's.
pub fn sync(data: &Path) -> Finding {
    let check = "disk latency";
    match median(existing(data)) {
        Ok(took) => {
            let found = format!("{:.2} ms for a durable write", took.as_secs_f64() * 1000.0);
            match took.as_millis() {
                0..10 => Finding::ok(check, found),
                10..100 => Finding::warn(
                    check,
                    found,
                    "every write of the cluster waits for it: use a faster disk, or less load",
                ),
                _ => Finding::warn(
                    check,
                    found,
                    "far too slow for a control plane: use another disk with --data-dir",
                ),
            }
        }
        Err(error) => Finding::warn(check, format!("not measured: {error}"), ""),
    }
}

fn median(directory: &Path) -> std::io::Result<Duration> {
    // It has no name, and is gone with its descriptor.
    let mut file = tempfile::tempfile_in(directory)?;
    let block = [0_u8; 4096];
    file.write_all(&block)?;
    file.sync_all()?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok(took[SYNCS / 2])
}
