//! What a container prints, in the CRI log format: `2016-10-06T00:17:09.669794202Z stdout F line`.
//!
//! The log never stops a workload: what cannot be written, on a full disk, is lost and counted, and the pipe is emptied all
//! the same.
use crate::protocol::Log;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// A longer line is written in parts. Bytes.
pub const MAX_PART: usize = 16 << 10;
const MAX_SIZE: u64 = 10 << 20;
const MAX_FILES: u32 = 5;

/// Now, in nanoseconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A container's log, the file in use and the older ones.
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max_size: u64,
    max_files: u32,
    /// Bytes that could not be written since the last that could.
    lost: u64,
}

impl LogFile {
    /// Opens the log, making its directory; goes on at the end of a file that is there.
    pub fn open(log: &Log) -> io::Result<LogFile> {
        if let Some(parent) = log.path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        let file = open(&log.path)?;
        Ok(LogFile {
            path: log.path.clone(),
            size: file.metadata()?.len(),
            file: Some(file),
            max_size: if log.max_size == 0 { MAX_SIZE } else { log.max_size },
            max_files: if log.max_files == 0 { MAX_FILES } else { log.max_files },
            lost: 0,
        })
    }

    /// Appends whole lines.
    pub fn append(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.size >= self.max_size {
            self.rotate();
        }
        if self.file.is_none() {
            self.file = open(&self.path).ok();
        }
        let Some(file) = &mut self.file else {
            self.lost += lines.len() as u64;
            return;
        };
        let mut note = Vec::new();
        if self.lost > 0 {
            stamp(now(), &mut note);
            note.extend(
                format!(
                    " stderr F [{} bytes of the log were lost: the disk was full]\n",
                    self.lost
                )
                .bytes(),
            );
        }
        let whole = (note.len() + lines.len()) as u64;
        if file.write_all(&note).and_then(|()| file.write_all(lines)).is_ok() {
            self.size += whole;
            self.lost = 0;
        } else {
            // Half a line must not be continued by another.
            let _ = file.set_len(self.size);
            self.lost += lines.len() as u64;
        }
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`; the oldest is gone.
    fn rotate(&mut self) {
        let numbered = |number: u32| -> PathBuf {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            name.into()
        };
        if self.max_files < 2 {
            let _ = fs::remove_file(&self.path);
        } else {
            for number in (1..self.max_files - 1).rev() {
                let _ = fs::rename(numbered(number), numbered(number + 1));
            }
            let _ = fs::rename(&self.path, numbered(1));
        }
        self.file = open(&self.path).ok();
        self.size = self
            .file
            .as_ref()
            .and_then(|file| file.metadata().ok())
            .map_or(0, |metadata| metadata.len());
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// One stream of a container, cut into lines.
pub struct Lines {
    stream: &'static str,
    /// The beginning of a line whose end has not come; shorter than [`MAX_PART`].
    begun: Vec<u8>,
}

impl Lines {
    /// `stdout` or `stderr`.
    pub fn new(stream: &'static str) -> Lines {
        Lines {
            stream,
            begun: Vec::new(),
        }
    }

    /// Takes what was read, and gives the lines that are complete, or as long as a part may be.
    pub fn push(&mut self, mut data: &[u8], time: u64, out: &mut Vec<u8>) {
        while !data.is_empty() {
            let room = MAX_PART - self.begun.len();
            let window = &data[..data.len().min(room)];
            let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
                self.begun.extend_from_slice(window);
                if self.begun.len() == MAX_PART {
                    self.emit(b'P', time, out);
                }
                data = &data[window.len()..];
                continue;
            };
            self.begun.extend_from_slice(&window[..end]);
            self.emit(b'F', time, out);
            data = &data[end + 1..];
        }
    }

    /// At the end of the stream: what came without an end of line.
    pub fn end(&mut self, time: u64, out: &mut Vec<u8>) {
        if !self.begun.is_empty() {
            self.emit(b'P', time, out);
        }
    }

    fn emit(&mut self, tag: u8, time: u64, out: &mut Vec<u8>) {
        stamp(time, out);
        out.push(b' ');
        out.extend_from_slice(self.stream.as_bytes());
        out.extend_from_slice(&[b' ', tag, b' ']);
        out.append(&mut self.begun);
        out.push(b'\n');
    }
}

/// A time as `2016-10-06T00:17:09.669794202Z`.
fn stamp(nanos: u64, out: &mut Vec<u8>) {
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, in eras of 400 years; a year begins in March, so that a leap day is its last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(nanos: u64) -> String {
        let mut out = Vec::new();
        stamp(nanos, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_dates() {
        assert_eq!(stamped(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(stamped(1_475_713_029_669_794_202), "2016-10-06T00:17:09.669794202Z");
        assert_eq!(stamped(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(stamped(1_735_689_599_999_999_999), "2024-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn lines_are_whole_or_marked() {
        let (mut lines, mut out) = (Lines::new("stdout"), Vec::new());
        lines.push(b"one\ntw", 0, &mut out);
        lines.push(b"o\n\nend", 0, &mut out);
        lines.end(0, &mut out);
        let text = String::from_utf8(out)
            .unwrap()
            .replace("1970-01-01T00:00:00.000000000Z ", "");
        assert_eq!(text, "stdout F one\nstdout F two\nstdout F \nstdout P end\n");
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let (mut lines, mut out) = (Lines::new("stderr"), Vec::new());
        lines.push(&[b'x'; MAX_PART * 2 + 10], 0, &mut out);
        lines.push(b"\n", 0, &mut out);
        let text = String::from_utf8(out).unwrap();
        let tags: Vec<_> = text
            .lines()
            .map(|line| (line.split(' ').nth(2).unwrap(), line.len() - 40))
            .collect();
        assert_eq!(tags, [("P", MAX_PART), ("P", MAX_PART), ("F", 10)]);
    }

    #[test]
    fn old_files_are_kept_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/0.log");
        let mut log = LogFile::open(&Log {
            path: path.clone(),
            max_size: 10,
            max_files: 3,
        })
        .unwrap();
        for number in 0..5 {
            log.append(format!("line number {number}\n").as_bytes());
        }
        let text = |name: &str| fs::read_to_string(dir.path().join("deep").join(name)).ok();
        assert_eq!(text("0.log").unwrap(), "line number 4\n");
        assert_eq!(text("0.log.2").unwrap(), "line number 2\n");
        assert_eq!(text("0.log.3"), None);
    }
}
