//! The state on disk: files named by the log index they include, written aside and renamed.
use super::{OpenError, io_error};
use sampan_state::{CheckpointError, Decoder, Header, Store, encode_checkpoint};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread::{Builder, JoinHandle},
};

/// So many are kept: the newest, and the one before in case it is damaged.
const KEPT: usize = 2;

/// Bytes are read and written in pieces of this size.
const PIECE: usize = 1 << 20;

/// So many bytes are handed to the disk at a time: a sync of all of it at the end would hold up that of the log.
const SYNCED: usize = 8 << 20;

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What came of writing one.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The index of the oldest that is kept. The log must reach back to it, or it would be of no use.
    pub oldest: u64,
    pub bytes: u64,
}

/// The newest checkpoint of a directory, if there is one, and its size in bytes.
///
/// # Errors
/// If it cannot be read; an older one is not taken silently, since the log may no longer reach back to it.
pub fn newest(dir: &Path) -> Result<Option<(Store, Header, u64)>, OpenError> {
    std::fs::create_dir_all(dir).map_err(io_error(dir))?;
    let Some(path) = all(dir).map_err(io_error(dir))?.pop() else {
        return Ok(None);
    };
    match read(&path) {
        Ok(read) => Ok(Some(read)),
        Err(ReadError::Io(error)) => Err(io_error(&path)(error)),
        Err(ReadError::Checkpoint(reason)) => Err(OpenError::Checkpoint { path, reason }),
    }
}

/// Reads a checkpoint, and says how many bytes it has. It is never in memory as a whole.
///
/// # Errors
/// If it cannot be read, is cut short, or was changed.
pub fn read(path: &Path) -> Result<(Store, Header, u64), ReadError> {
    let mut file = File::open(path)?;
    let mut decoder = Decoder::default();
    let mut piece = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                bytes += length as u64;
                decoder.push(&piece[..length])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (store, header) = decoder.finish()?;
    Ok((store, header, bytes))
}

/// Writes a checkpoint and removes those that are no longer needed.
///
/// # Errors
/// If the disk is full; what was there before is there still.
pub fn write(dir: &Path, header: &Header, store: &Store) -> io::Result<Written> {
    write_pieces(dir, header.index, encode_checkpoint(header, store))
}

/// As [`write`], from the bytes as received from a leader.
///
/// # Errors
/// As [`write`].
pub fn write_received(dir: &Path, index: u64, bytes: &[u8]) -> io::Result<Written> {
    write_pieces(dir, index, bytes.chunks(PIECE))
}

fn write_pieces<P: AsRef<[u8]>>(dir: &Path, index: u64, pieces: impl Iterator<Item = P>) -> io::Result<Written> {
    let path = dir.join(format!("{index:016x}.checkpoint"));
    let aside = dir.join(format!("{index:016x}.tmp"));
    let mut bytes = 0;
    let written: io::Result<()> = (|| {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        let mut writer = BufWriter::with_capacity(PIECE, file);
        let mut unsynced = 0;
        for piece in pieces {
            let piece = piece.as_ref();
            writer.write_all(piece)?;
            bytes += piece.len() as u64;
            unsynced += piece.len();
            if unsynced > SYNCED {
                writer.get_ref().sync_data()?;
                unsynced = 0;
            }
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
    Ok(Written {
        oldest: kept.first().and_then(number).unwrap_or_default(),
        bytes,
    })
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
    running: Option<JoinHandle<io::Result<Written>>>,
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
        let dir = dir.to_owned();
        let write = move || write(&dir, &header, &store);
        self.running = Some(Builder::new().name("checkpoint".to_owned()).spawn(write)?);
        Ok(())
    }

    /// What came of the checkpoint that was written since this was asked last.
    pub fn finished(&mut self) -> Option<io::Result<Written>> {
        let thread = self.running.take_if(|thread| thread.is_finished())?;
        Some(
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))),
        )
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(thread) = self.running.take() {
            let _ = thread.join();
        }
    }
}
