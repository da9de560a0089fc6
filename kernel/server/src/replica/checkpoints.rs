//! The state on disk: files named by the log index they include, written aside and renamed.
use super::{OpenError, io_error};
use bytes::Bytes;
use sampan_state::{CheckpointError, Decoder, Header, Store, encode_checkpoint};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread::{Builder, JoinHandle},
};

/// So many are kept: the newest, and the one before in case it is damaged.
const KEPT: usize = 2;

/// How the names of files end: checkpoints, and what becomes one when it is written or received.
const CHECKPOINT: &str = "checkpoint";
pub const WRITTEN: &str = "tmp";
const RECEIVED: &str = "received";

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
    clean(dir).map_err(io_error(dir))?;
    let Some(path) = files(dir, CHECKPOINT).map_err(io_error(dir))?.pop() else {
        return Ok(None);
    };
    match read(&path) {
        Ok(read) => Ok(Some(read)),
        Err(ReadError::Io(error)) => Err(io_error(&path)(error)),
        Err(ReadError::Checkpoint(CheckpointError::Newer)) => Err(OpenError::Version {
            path,
            what: super::NEWER.to_owned(),
        }),
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
    let bytes = save(&path_of(dir, header.index), header, store)?;
    prune(dir, bytes)
}

/// Writes a checkpoint to a file of any name: it is there whole, or not at all. How many bytes it has.
///
/// # Errors
/// If it cannot be written; what was there before is there still.
pub fn save(path: &Path, header: &Header, store: &Store) -> io::Result<u64> {
    let aside = path.with_extension(WRITTEN);
    let written = write_file(&aside, encode_checkpoint(header, store).map(Ok::<_, io::Error>));
    let saved = written.and_then(|bytes| put(&aside, path).map(|()| bytes));
    saved.inspect_err(|_| drop(std::fs::remove_file(&aside)))
}

/// A file that is not one of the checkpoints yet, and goes if it never becomes one.
pub struct Aside {
    path: PathBuf,
    bytes: u64,
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Reads a checkpoint that comes in pieces, and writes it aside meanwhile, so that it is on disk when it has been read.
///
/// # Errors
/// If it is not whole, was changed, or there is no room; nothing is left of it then.
pub fn receive(dir: &Path, pieces: impl Iterator<Item = Bytes>) -> Result<(Store, Header, Aside), ReadError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut aside = Aside {
        path: dir.join(format!("{number:016x}.{RECEIVED}")),
        bytes: 0,
    };
    let mut decoder = Decoder::default();
    let pieces = pieces.map(|piece| {
        decoder.push(&piece)?;
        Ok::<_, ReadError>(piece)
    });
    aside.bytes = write_file(&aside.path, pieces)?;
    let (store, header) = decoder.finish()?;
    Ok((store, header, aside))
}

/// Makes what was received the newest checkpoint.
///
/// # Errors
/// If the directory cannot be written; there is none of it then.
pub fn adopt(dir: &Path, mut aside: Aside, index: u64) -> io::Result<Written> {
    put(&aside.path, &path_of(dir, index))?;
    // It is no longer aside.
    aside.path.clear();
    prune(dir, aside.bytes)
}

/// Has a file on disk that is written anew; its size.
fn write_file<P: AsRef<[u8]>, E: From<io::Error>>(
    path: &Path,
    pieces: impl Iterator<Item = Result<P, E>>,
) -> Result<u64, E> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut writer = BufWriter::with_capacity(PIECE, file);
    let (mut bytes, mut unsynced) = (0, 0);
    for piece in pieces {
        let piece = piece?;
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
    Ok(bytes)
}

/// Puts a file that is on disk in its place, for good.
fn put(aside: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(aside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Where the checkpoint of an index is.
fn path_of(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{index:016x}.{CHECKPOINT}"))
}

/// Removes checkpoints that are no longer needed after one of so many bytes was written.
fn prune(dir: &Path, bytes: u64) -> io::Result<Written> {
    let mut kept = files(dir, CHECKPOINT)?;
    let old = kept.len().saturating_sub(KEPT);
    for old in kept.drain(..old) {
        match std::fs::remove_file(old) {
            // Whoever wrote another at the same time removes the old ones, too.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let number = |path: &PathBuf| u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok();
    Ok(Written {
        oldest: kept.first().and_then(number).unwrap_or_default(),
        bytes,
    })
}

/// Removes what was being written or received when the process before ended.
fn clean(dir: &Path) -> io::Result<()> {
    let left = files(dir, WRITTEN)?.into_iter().chain(files(dir, RECEIVED)?);
    left.into_iter().try_for_each(std::fs::remove_file)
}

/// The files of a directory whose names end so, in the order of their names: checkpoints, oldest first.
fn files(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
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
