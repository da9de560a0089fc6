//! The log on disk: segments of records, one record for each batch, one `fdatasync` for each record.
//!
//! A segment begins with a magic of 8 bytes; then records, each aligned to 8 bytes: length of the payload (u32,
//! little-endian), CRC-32 of the number and the payload (u32), number (u64), payload ([`Persisted`]). Numbers rise by one
//! through all segments, so that nothing can be missing unnoticed. Space is written with zeros ahead of its use, so that a
//! sync touches no metadata; a length of 0 ends the log. Since the next record is only begun when the one before is on
//! disk, a record that does not check is a torn tail if nothing valid follows it, and damage if something does.
use super::{OpenError, io_error};
use prost::Message;
use sampan_state::Persisted;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"SAMPLOG1";
const HEADER: u64 = 8;

/// What stands before a payload.
const FRAME: u64 = 16;

/// A segment is ended when it is larger.
const SEGMENT: u64 = 16 << 20;

/// Zeros are written ahead in pieces of at least this size.
const AHEAD: u64 = 1 << 20;

/// A piece of them.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Entries that together are larger go into records of their own.
const LARGE: u64 = 32 << 20;

/// No record is larger: an entry is at most half of this.
const LARGEST: u64 = 256 << 20;

struct Segment {
    path: PathBuf,
    number: u64,
    /// The last index of its entries.
    last_index: u64,
    bytes: u64,
}

/// The log of a directory.
pub struct Segments {
    dir: PathBuf,
    file: File,
    /// Where the next record goes, and up to where zeros are written.
    end: u64,
    zeroed: u64,
    /// The number of the next record.
    next: u64,
    /// A sync failed. What is on disk is then not known, and another sync could say less than the truth.
    failed: bool,
    current: Segment,
    /// Those before, oldest first.
    ended: Vec<Segment>,
}

impl Segments {
    /// Opens the log and hands every record to `each`, oldest first.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged in its middle.
    pub fn open(dir: &Path, mut each: impl FnMut(Persisted)) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir).map_err(io_error(dir))?;
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(io_error(dir))? {
            let name = entry.map_err(io_error(dir))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
            numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
        }
        numbers.sort_unstable();
        let mut ended: Vec<Segment> = Vec::new();
        // The first record there is says where the numbers begin.
        let mut next = None;
        for number in &numbers {
            let last = Some(number) == numbers.last();
            let segment = read(dir, *number, last, &mut next, &mut each)?;
            if last {
                return Self::go_on(dir, segment, next.unwrap_or(1), ended);
            }
            ended.push(segment);
        }
        let (file, current) = create(dir, 1)?;
        Ok(Segments {
            dir: dir.to_owned(),
            file,
            end: HEADER,
            zeroed: HEADER,
            next: 1,
            failed: false,
            current,
            ended,
        })
    }

    fn go_on(dir: &Path, current: Segment, next: u64, ended: Vec<Segment>) -> Result<Self, OpenError> {
        let end = current.bytes;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&current.path)
            .map_err(io_error(&current.path))?;
        // A torn tail goes, for good: nothing of it was acknowledged.
        let cut = || {
            file.set_len(end)?;
            file.sync_all()
        };
        cut().map_err(io_error(&current.path))?;
        Ok(Segments {
            dir: dir.to_owned(),
            file,
            end,
            zeroed: end,
            next,
            failed: false,
            current,
            ended,
        })
    }

    /// Sees to it that a record of this size can be written without needing more of the disk.
    ///
    /// # Errors
    /// If the disk is full ([`is_full`]); nothing was changed then. After any other the log is of no more use.
    pub fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("a sync failed before"));
        }
        if self.end > SEGMENT {
            self.roll()?;
        }
        let needed = self.end + aligned(FRAME + bytes) + 8;
        if needed <= self.zeroed {
            return Ok(());
        }
        let target = needed.max(self.zeroed + AHEAD);
        let mut at = self.zeroed;
        while at < target {
            let piece = usize::try_from(target - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.file.write_all_at(&ZEROS[..piece], at)?;
            at += piece as u64;
        }
        self.synced(File::sync_all)?;
        self.zeroed = target;
        Ok(())
    }

    /// A sync; never again after one that failed.
    fn synced(&mut self, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        sync(&self.file).map_err(|error| {
            self.failed = true;
            io::Error::other(format!("{} cannot be synced: {error}", self.current.path.display()))
        })
    }

    fn roll(&mut self) -> io::Result<()> {
        let (file, segment) = create(&self.dir, self.current.number + 1).map_err(|error| match error {
            OpenError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })?;
        self.file = file;
        self.ended.push(std::mem::replace(&mut self.current, segment));
        (self.end, self.zeroed) = (HEADER, HEADER);
        Ok(())
    }

    /// Writes a record and waits until it is on disk. Entries that together are very large become several records.
    ///
    /// # Errors
    /// The log is of no more use then: what is on disk is not known.
    pub fn append(&mut self, record: &Persisted) -> io::Result<()> {
        if record.entries.len() < 2 || record.encoded_len() as u64 <= LARGE {
            return self.append_one(record);
        }
        for entry in &record.entries {
            // Nothing is said to be committed that is not there yet.
            let mut hard_state = record.hard_state.clone();
            if let Some(state) = &mut hard_state {
                state.commit = state.commit.min(entry.index);
            }
            self.append_one(&Persisted {
                entries: vec![entry.clone()],
                hard_state,
            })?;
        }
        match &record.hard_state {
            Some(state) if record.entries.last().is_some_and(|last| last.index < state.commit) => {
                self.append_one(&Persisted {
                    entries: Vec::new(),
                    hard_state: Some(state.clone()),
                })
            }
            _ => Ok(()),
        }
    }

    fn append_one(&mut self, record: &Persisted) -> io::Result<()> {
        let payload = record.encoded_len();
        self.reserve(payload as u64)?;
        let length = u32::try_from(payload)
            .ok()
            .filter(|length| u64::from(*length) <= LARGEST);
        let length = length.ok_or_else(|| io::Error::other("a record is too large"))?;
        let mut bytes = Vec::with_capacity(payload + 32);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.next.to_le_bytes());
        record.encode(&mut bytes).map_err(io::Error::other)?;
        // All of it stands where it goes but the checksum, which is of what follows it.
        let crc = checksum(self.next, &bytes[FRAME as usize..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes.resize(usize::try_from(aligned(bytes.len() as u64)).unwrap_or(bytes.len()), 0);
        self.file.write_all_at(&bytes, self.end)?;
        self.synced(File::sync_data)?;
        self.next += 1;
        self.end += bytes.len() as u64;
        self.current.bytes = self.end;
        if let Some(entry) = record.entries.last() {
            self.current.last_index = self.current.last_index.max(entry.index);
        }
        Ok(())
    }

    /// Removes segments whose entries are all in a checkpoint.
    pub fn forget(&mut self, checkpoint_index: u64) {
        while self
            .ended
            .first()
            .is_some_and(|segment| segment.last_index <= checkpoint_index)
        {
            let segment = self.ended.remove(0);
            if let Err(error) = std::fs::remove_file(&segment.path) {
                tracing::warn!(path = %segment.path.display(), %error, "an old segment of the log cannot be removed");
            }
        }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.ended
            .iter()
            .chain([&self.current])
            .map(|segment| segment.bytes)
            .sum()
    }
}

/// Whether it is for want of space that a file could not grow.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

fn checksum(number: u64, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(8)
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

fn create(dir: &Path, number: u64) -> Result<(File, Segment), OpenError> {
    let path = path_of(dir, number);
    let make = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all_at(MAGIC, 0)?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(file)
    };
    let file = make().map_err(io_error(&path))?;
    Ok((
        file,
        Segment {
            path,
            number,
            last_index: 0,
            bytes: HEADER,
        },
    ))
}

/// Reads a segment; its `bytes` are those up to the end of its records.
fn read(
    dir: &Path,
    number: u64,
    last: bool,
    next: &mut Option<u64>,
    each: &mut impl FnMut(Persisted),
) -> Result<Segment, OpenError> {
    let path = path_of(dir, number);
    let bytes = std::fs::read(&path).map_err(io_error(&path))?;
    if bytes.len() < MAGIC.len() && last {
        // Made, and nothing was ever written to it.
        return create(dir, number).map(|(_, segment)| segment);
    }
    if !bytes.starts_with(MAGIC) {
        let newer = bytes
            .get(..MAGIC.len())
            .is_some_and(|magic| magic.starts_with(b"SAMPLOG") && magic > &MAGIC[..]);
        let what = match newer {
            true => super::NEWER,
            false => "it is no log of this version of sampan",
        };
        let what = what.to_owned();
        return Err(OpenError::Version { path, what });
    }
    let mut segment = Segment {
        path,
        number,
        last_index: 0,
        bytes: HEADER,
    };
    while let Some((found, record, end)) = record_at(&bytes, segment.bytes) {
        if next.is_some_and(|next| next != found) {
            return Err(OpenError::Corrupt {
                path: segment.path,
                offset: segment.bytes,
            });
        }
        if let Some(entry) = record.entries.last() {
            segment.last_index = segment.last_index.max(entry.index);
        }
        each(record);
        (*next, segment.bytes) = (Some(found + 1), end);
    }
    let at = segment.bytes;
    let rest = usize::try_from(at)
        .ok()
        .and_then(|at| bytes.get(at..))
        .unwrap_or_default();
    let torn = rest.iter().any(|byte| *byte != 0);
    if torn && (!last || followed_by_a_record(&bytes, at, next.unwrap_or(0))) {
        return Err(OpenError::Corrupt {
            path: segment.path,
            offset: at,
        });
    }
    if torn {
        tracing::warn!(path = %segment.path.display(), offset = at, "a torn record at the end of the log was cut");
    }
    Ok(segment)
}

/// The record at a place: its number, and where it ends.
fn record_at(bytes: &[u8], at: u64) -> Option<(u64, Persisted, u64)> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (length, number) = (u64::from(u32::from_le_bytes(*length)), u64::from_le_bytes(*number));
    if length == 0 || length > LARGEST {
        return None;
    }
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    if checksum(number, payload).to_le_bytes() != *crc {
        return None;
    }
    Some((number, Persisted::decode(payload).ok()?, at + aligned(FRAME + length)))
}

/// Whether a valid record stands anywhere after a place. Only where the number could be one of those that come is the
/// checksum worth its time: a torn record may be large.
fn followed_by_a_record(bytes: &[u8], at: u64, next: u64) -> bool {
    let coming = next..next.saturating_add(1 << 32);
    let mut place = usize::try_from(at).unwrap_or(usize::MAX).saturating_add(8);
    while let Some((number, _)) = bytes.get(place + 8..).and_then(|rest| rest.split_first_chunk::<8>()) {
        if coming.contains(&u64::from_le_bytes(*number)) && record_at(bytes, place as u64).is_some() {
            return true;
        }
        place += 8;
    }
    false
}

#[cfg(test)]
mod tests;
