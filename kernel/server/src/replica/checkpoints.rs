//! The state on disk: files named by the log index they include, written aside and renamed.
use super::{OpenError, io_error};
use sampan_state::{CheckpointError, Header, Store, decode_checkpoint, encode_checkpoint};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread::{Builder, JoinHandle},
};

/// So many are kept: the newest, and the one before in case it is damaged.
const KEPT: usize = 2;

/// The newest checkpoint of a directory, if there is one.
///
/// # Errors
/// If it cannot be read; an older one is not taken silently, since the log may no longer reach back to it.
pub fn newest(dir: &Path) -> Result<Option<(Store, Header)>, OpenError> {
    std::fs::create_dir_all(dir).map_err(io_error(dir))?;
    let Some(path) = all(dir).map_err(io_error(dir))?.pop() else {
        return Ok(None);
    };
    let bytes = std::fs::read(&path).map_err(io_error(&path))?;
    decode_checkpoint(&bytes).map(Some).map_err(|reason| match reason {
        CheckpointError::Newer => OpenError::Version {
            path,
            what: super::NEWER.to_owned(),
        },
        reason => OpenError::Checkpoint { path, reason },
    })
}

/// Writes a checkpoint and removes those that are no longer needed; the index of the oldest that is kept. The log must
/// reach back to that one, or it would be of no use.
///
/// # Errors
/// If the disk is full; what was there before is there still.
pub fn write(dir: &Path, header: &Header, store: &Store) -> io::Result<u64> {
    write_pieces(dir, header.index, encode_checkpoint(header, store))
}

/// As [`write`], from the bytes as received from a leader.
///
/// # Errors
/// As [`write`].
pub fn write_received(dir: &Path, index: u64, bytes: &[u8]) -> io::Result<u64> {
    write_pieces(dir, index, std::iter::once(bytes.to_vec()))
}

fn write_pieces(dir: &Path, index: u64, pieces: impl Iterator<Item = Vec<u8>>) -> io::Result<u64> {
    let path = dir.join(format!("{index:016x}.checkpoint"));
    let aside = dir.join(format!("{index:016x}.tmp"));
    let written: io::Result<()> = (|| {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        for piece in pieces {
            writer.write_all(&piece)?;
        }
        writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        std::fs::rename(&aside, &path)?;
        File::open(dir)?.sync_all()
    })();
    if let Err(error) = written {
        let _ = std::fs::remove_file(&aside);
        return Err(error);
    }
    let mut kept = all(dir)?;
    let old = kept.len().saturating_sub(KEPT);
    kept.drain(..old).try_for_each(std::fs::remove_file)?;
    let number = |path: &PathBuf| u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok();
    Ok(kept.first().and_then(number).unwrap_or_default())
}

/// All checkpoints, oldest first; leftovers of writing are removed.
fn all(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("checkpoint") => found.push(path),
            Some("tmp") => std::fs::remove_file(&path)?,
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

/// Writes one checkpoint at a time, beside everything else. Dropping it waits for its end.
#[derive(Default)]
pub struct Background {
    /// The index, and what comes of it.
    running: Option<(u64, JoinHandle<io::Result<u64>>)>,
}

impl Background {
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Starts to write.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(&mut self, dir: &Path, header: Header, store: Store) -> io::Result<()> {
        let (dir, index) = (dir.to_owned(), header.index);
        let write = move || write(&dir, &header, &store);
        self.running = Some((index, Builder::new().name("checkpoint".to_owned()).spawn(write)?));
        Ok(())
    }

    /// The checkpoint that was written since this was asked last: its index, and what [`write`] said.
    pub fn finished(&mut self) -> Option<(u64, io::Result<u64>)> {
        let (index, thread) = self.running.take_if(|(_, thread)| thread.is_finished())?;
        Some((
            index,
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))),
        ))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some((_, thread)) = self.running.take() {
            let _ = thread.join();
        }
    }
}
