//! The log on disk: segments of records, one record for each batch, one `fdatasync` for each record.
//!
//! A segment begins with a magic of 8 bytes; then records, each aligned to 8 bytes: length (u32, little-endian), CRC-32 of
//! the payload (u32), payload ([`Persisted`]). Space is written with zeros ahead of its use, so that a sync touches no
//! metadata; a length of 0 ends the log. Since the next record is only begun when the one before is on disk, a record
//! that does not check is a torn tail if nothing valid follows it, and damage if something does.
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

/// A segment is ended when it is larger.
const SEGMENT: u64 = 16 << 20;

/// Zeros are written ahead in pieces of at least this size.
const AHEAD: u64 = 1 << 20;

/// No record is larger: entries are bounded far below.
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
        for number in &numbers {
            let last = Some(number) == numbers.last();
            let (segment, end) = read(dir, *number, last, &mut each)?;
            if last {
                return Self::go_on(dir, segment, end, ended);
            }
            ended.push(segment);
        }
        let (file, current) = create(dir, 1)?;
        Ok(Segments { dir: dir.to_owned(), file, end: HEADER, zeroed: HEADER, current, ended })
    }

    fn go_on(dir: &Path, current: Segment, end: u64, ended: Vec<Segment>) -> Result<Self, OpenError> {
        let file = OpenOptions::new().read(true).write(true).open(&current.path).map_err(io_error(&current.path))?;
        // A torn tail goes, for good: nothing of it was acknowledged.
        let cut = || {
            file.set_len(end)?;
            file.sync_all()
        };
        cut().map_err(io_error(&current.path))?;
        Ok(Segments { dir: dir.to_owned(), file, end, zeroed: end, current, ended })
    }

    /// Sees to it that a record of this size can be written without needing more of the disk.
    ///
    /// # Errors
    /// If the disk is full; nothing was changed then.
    pub fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        if self.end > SEGMENT {
            self.roll()?;
        }
        let needed = self.end + aligned(8 + bytes) + 8;
        if needed <= self.zeroed {
            return Ok(());
        }
        let target = needed.max(self.zeroed + AHEAD);
        let zeros = vec![0; usize::try_from(AHEAD).unwrap_or(0)];
        let mut at = self.zeroed;
        while at < target {
            let piece = usize::try_from((target - at).min(AHEAD)).unwrap_or(0);
            self.file.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        self.file.sync_all()?;
        self.zeroed = target;
        Ok(())
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

    /// Writes a record and waits until it is on disk.
    ///
    /// # Errors
    /// The log is of no more use then: what is on disk is not known.
    pub fn append(&mut self, record: &Persisted) -> io::Result<()> {
        let payload = record.encode_to_vec();
        self.reserve(payload.len() as u64)?;
        let length = u32::try_from(payload.len()).map_err(|_| io::Error::other("a record is too large"))?;
        let mut bytes = Vec::with_capacity(payload.len() + 16);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        bytes.extend_from_slice(&payload);
        bytes.resize(usize::try_from(aligned(bytes.len() as u64)).unwrap_or(bytes.len()), 0);
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        self.current.bytes = self.end;
        if let Some(entry) = record.entries.last() {
            self.current.last_index = self.current.last_index.max(entry.index);
        }
        Ok(())
    }

    /// Removes segments whose entries are all in a checkpoint.
    pub fn forget(&mut self, checkpoint_index: u64) {
        while self.ended.first().is_some_and(|segment| segment.last_index <= checkpoint_index) {
            let segment = self.ended.remove(0);
            if let Err(error) = std::fs::remove_file(&segment.path) {
                tracing::warn!(path = %segment.path.display(), %error, "an old segment of the log cannot be removed");
            }
        }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.ended.iter().chain([&self.current]).map(|segment| segment.bytes).sum()
    }
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
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all_at(MAGIC, 0)?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(file)
    };
    let file = make().map_err(io_error(&path))?;
    Ok((file, Segment { path, number, last_index: 0, bytes: HEADER }))
}

/// Reads a segment; where its records end.
fn read(dir: &Path, number: u64, last: bool, each: &mut impl FnMut(Persisted)) -> Result<(Segment, u64), OpenError> {
    let path = path_of(dir, number);
    let bytes = std::fs::read(&path).map_err(io_error(&path))?;
    if bytes.len() < MAGIC.len() && last {
        // Made, and nothing was ever written to it.
        let (_, segment) = create(dir, number)?;
        return Ok((segment, HEADER));
    }
    if !bytes.starts_with(MAGIC) {
        let what = "it is no log of this version of sampan".to_owned();
        return Err(OpenError::Version { path, what });
    }
    let mut segment = Segment { path, number, last_index: 0, bytes: bytes.len() as u64 };
    let mut at = HEADER;
    while let Some((record, next)) = record_at(&bytes, at) {
        if let Some(entry) = record.entries.last() {
            segment.last_index = segment.last_index.max(entry.index);
        }
        each(record);
        at = next;
    }
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let torn = rest.iter().any(|byte| *byte != 0);
    if torn && (!last || followed_by_a_record(&bytes, at)) {
        return Err(OpenError::Corrupt { path: segment.path, offset: at });
    }
    if torn {
        tracing::warn!(path = %segment.path.display(), offset = at, "a torn record at the end of the log was cut");
    }
    segment.bytes = at;
    Ok((segment, at))
}

fn record_at(bytes: &[u8], at: u64) -> Option<(Persisted, u64)> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u64::from(u32::from_le_bytes(*length));
    if length == 0 || length > LARGEST {
        return None;
    }
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    if crc32fast::hash(payload).to_le_bytes() != *crc {
        return None;
    }
    Some((Persisted::decode(payload).ok()?, at + aligned(8 + length)))
}

/// Whether a valid record stands anywhere after a place.
fn followed_by_a_record(bytes: &[u8], at: u64) -> bool {
    let mut place = at + 8;
    while place + 8 < bytes.len() as u64 {
        if record_at(bytes, place).is_some() {
            return true;
        }
        place += 8;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_state::eraftpb::Entry;

    fn record(index: u64) -> Persisted {
        let data = vec![7; 100 + usize::try_from(index).unwrap() % 50].into();
        Persisted { entries: vec![Entry { index, term: 1, data, ..Entry::default() }], hard_state: None }
    }

    fn indexes(dir: &Path) -> Result<Vec<u64>, OpenError> {
        let mut found = Vec::new();
        Segments::open(dir, |record| found.extend(record.entries.iter().map(|entry| entry.index)))?;
        Ok(found)
    }

    fn filled(dir: &Path, count: u64) -> PathBuf {
        let mut log = Segments::open(dir, |_| {}).unwrap();
        (1..=count).for_each(|index| log.append(&record(index)).unwrap());
        log.current.path.clone()
    }

    #[test]
    fn what_was_appended_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 100);
        assert_eq!(indexes(dir.path()).unwrap(), (1..=100).collect::<Vec<_>>());
        let mut log = Segments::open(dir.path(), |_| {}).unwrap();
        log.append(&record(101)).unwrap();
        assert_eq!(indexes(dir.path()).unwrap().len(), 101);
    }

    #[test]
    fn a_torn_tail_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path(), 10);
        let end = Segments::open(dir.path(), |_| {}).unwrap().end;
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        // The last record's payload is changed, and half a record follows.
        file.write_all_at(&[9; 8], end - 16).unwrap();
        file.write_all_at(&200_u32.to_le_bytes(), end).unwrap();
        assert_eq!(indexes(dir.path()).unwrap(), (1..=9).collect::<Vec<_>>());
        assert_eq!(indexes(dir.path()).unwrap().len(), 9, "and stays cut");
    }

    #[test]
    fn damage_in_the_middle_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path(), 10);
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[9; 8], 200).unwrap();
        let error = indexes(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { offset, .. } if offset < 200), "{error}");
    }

    #[test]
    fn segments_roll_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Segments::open(dir.path(), |_| {}).unwrap();
        let large = |index| Persisted {
            entries: vec![Entry { index, term: 1, data: vec![1; 6 << 20].into(), ..Entry::default() }],
            hard_state: None,
        };
        (1..=8).for_each(|index| log.append(&large(index)).unwrap());
        assert_eq!(log.ended.len(), 2);
        log.forget(5);
        assert_eq!(log.ended.len(), 1, "the entries of the second are not all in the checkpoint");
        assert_eq!(indexes(dir.path()).unwrap().first(), Some(&4));
    }
}
