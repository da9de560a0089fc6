//! Reading containers' logs: files of CRI's format, the newest beside the older ones that it was rotated from.
use bytes::Bytes;
use jiff::Timestamp;
use sampan_api::ApiError;
use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

/// A line that a container wrote is split by the shim long before this. Bytes.
const MAX_LINE: u64 = 1 << 20;
/// Sent at once. Bytes.
const CHUNK: usize = 32 << 10;
/// How often a log that is followed is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What of a log is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Lines from the end.
    pub tail: Option<usize>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only what was written since.
    pub since: Option<Timestamp>,
}

/// Where output goes. False: nobody wants more.
type Sink<'a> = &'a mut dyn FnMut(Bytes) -> bool;

/// A log that is being read.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// The newest file, where its reading goes on.
    newest: Option<BufReader<File>>,
    /// A line that was not whole at the end of the file.
    partial: Vec<u8>,
    wanted: Wanted,
    /// What was written last did not end its line.
    mid_line: bool,
}

impl Reader {
    pub fn new(path: PathBuf, wanted: Wanted) -> Self {
        Reader {
            path,
            newest: None,
            partial: Vec::new(),
            wanted,
            mid_line: false,
        }
    }

    /// Reads what there is, from the oldest file on.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn read_all(&mut self, sink: Sink<'_>) -> io::Result<bool> {
        let mut last = self.wanted.tail.map(|tail| (tail, VecDeque::new()));
        let mut out = Vec::new();
        let mut open = true;
        let files = files(&self.path)?;
        let count = files.len();
        for (number, file) in files.into_iter().enumerate() {
            let mut reader = BufReader::new(file);
            while open && let Some(line) = self.next_line(&mut reader)? {
                let Some(text) = self.render(&line) else { continue };
                match &mut last {
                    Some((tail, lines)) => {
                        keep_last(lines, text, *tail);
                    }
                    None => open = push(&mut out, &text, sink),
                }
            }
            if number + 1 == count {
                self.newest = Some(reader);
            }
        }
        for text in last.into_iter().flat_map(|(_, lines)| lines) {
            open = open && push(&mut out, &text, sink);
        }
        Ok(open && flush(&mut out, sink))
    }

    /// Reads what has come since. False: nobody wants more.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn read_more(&mut self, sink: Sink<'_>) -> io::Result<bool> {
        let mut out = Vec::new();
        loop {
            if self.newest.is_none() {
                self.newest = match File::open(&self.path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
                    file => Some(BufReader::new(file?)),
                };
            }
            let Some(mut reader) = self.newest.take() else {
                return Ok(true);
            };
            while let Some(line) = self.next_line(&mut reader)? {
                if let Some(text) = self.render(&line)
                    && !push(&mut out, &text, sink)
                {
                    return Ok(false);
                }
            }
            if !is_rotated(&reader, &self.path)? {
                self.newest = Some(reader);
                return Ok(flush(&mut out, sink));
            }
            // All of the old one is read: on to the one that took its place.
        }
    }

    /// A whole line; none where there is none yet.
    fn next_line(&mut self, reader: &mut BufReader<File>) -> io::Result<Option<Vec<u8>>> {
        let room = MAX_LINE.saturating_sub(self.partial.len() as u64).max(1);
        reader.by_ref().take(room).read_until(b'\n', &mut self.partial)?;
        let whole = self.partial.last() == Some(&b'\n') || self.partial.len() as u64 >= MAX_LINE;
        Ok(whole.then(|| std::mem::take(&mut self.partial)))
    }

    /// `2026-03-01T12:00:00.123456789Z stdout F text` as the user sees it; none where it is not wanted.
    fn render(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (time, _stream, tag, text) = (
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next().unwrap_or_default(),
        );
        let time = std::str::from_utf8(time).ok()?;
        if let Some(since) = self.wanted.since
            && time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return None;
        }
        let mut out = Vec::with_capacity(text.len() + 40);
        if self.wanted.timestamps && !self.mid_line {
            out.extend_from_slice(time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(text);
        // `P`: the line goes on with the next entry.
        self.mid_line = tag == b"P";
        if !self.mid_line {
            out.push(b'\n');
        }
        Some(out)
    }
}

/// Keeps the last `tail` lines; a line may be of several pieces.
fn keep_last(lines: &mut VecDeque<Vec<u8>>, text: Vec<u8>, tail: usize) {
    match lines.back_mut() {
        Some(unfinished) if unfinished.last() != Some(&b'\n') => unfinished.extend_from_slice(&text),
        _ => lines.push_back(text),
    }
    while lines.len() > tail {
        lines.pop_front();
    }
}

fn push(out: &mut Vec<u8>, text: &[u8], sink: Sink<'_>) -> bool {
    out.extend_from_slice(text);
    out.len() < CHUNK || flush(out, sink)
}

fn flush(out: &mut Vec<u8>, sink: Sink<'_>) -> bool {
    out.is_empty() || sink(std::mem::take(out).into())
}

/// The files of a log, oldest first.
fn files(path: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    let older = (1..).map(|number: u32| path.with_extension(format!("log.{number}")));
    for candidate in std::iter::once(path.to_owned()).chain(older) {
        match File::open(&candidate) {
            Ok(file) => files.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && candidate != path => break,
            // Between the renaming of the newest and the making of the next there is none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    files.reverse();
    Ok(files)
}

/// Whether another file has taken the place of the one that is read, which is read to its end.
fn is_rotated(reader: &BufReader<File>, path: &Path) -> io::Result<bool> {
    let here = reader.get_ref().metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((here.dev(), here.ino()) != (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a log to `sink`, and what comes after it for as long as `alive` says that the container may write. Blocks.
///
/// # Errors
/// If the disk refuses.
pub fn send(
    mut reader: Reader,
    follow: bool,
    alive: impl Fn() -> bool,
    sink: &mpsc::Sender<Result<Bytes, ApiError>>,
) -> io::Result<()> {
    let mut give = |chunk| sink.blocking_send(Ok(chunk)).is_ok();
    let mut open = reader.read_all(&mut give)?;
    while open && follow && !sink.is_closed() {
        // Asked before the reading: what was written until its end is read then.
        let alive = alive();
        open = reader.read_more(&mut give)?;
        if !alive {
            break;
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(second: u32, tag: &str, text: &str) -> String {
        format!("2026-03-01T12:00:{second:02}.000000000Z stdout {tag} {text}\n")
    }

    fn read(path: &Path, wanted: Wanted) -> String {
        let mut all = Vec::new();
        Reader::new(path.to_owned(), wanted)
            .read_all(&mut |chunk| {
                all.extend_from_slice(&chunk);
                true
            })
            .unwrap();
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn rotated_files_are_one_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(dir.path().join("0.log.2"), line(1, "F", "one")).unwrap();
        fs::write(dir.path().join("0.log.1"), line(2, "P", "tw") + &line(2, "F", "o")).unwrap();
        fs::write(&path, line(3, "F", "three") + &line(4, "F", "")).unwrap();
        assert_eq!(read(&path, Wanted::default()), "one\ntwo\nthree\n\n");
        assert_eq!(
            read(
                &path,
                Wanted {
                    tail: Some(3),
                    ..Wanted::default()
                }
            ),
            "two\nthree\n\n"
        );
        assert_eq!(
            read(
                &path,
                Wanted {
                    tail: Some(0),
                    ..Wanted::default()
                }
            ),
            ""
        );
        let stamped = read(
            &path,
            Wanted {
                timestamps: true,
                tail: Some(3),
                ..Wanted::default()
            },
        );
        assert!(
            stamped.starts_with("2026-03-01T12:00:02.000000000Z two\n2026-03-01T12:00:03"),
            "{stamped}"
        );
        let since = Some("2026-03-01T12:00:03Z".parse().unwrap());
        assert_eq!(
            read(
                &path,
                Wanted {
                    since,
                    ..Wanted::default()
                }
            ),
            "three\n\n"
        );
        assert_eq!(read(&dir.path().join("none.log"), Wanted::default()), "");
    }

    #[test]
    fn following_goes_over_a_rotation_and_waits_for_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(&path, line(1, "F", "one")).unwrap();
        let mut all = Vec::new();
        let mut reader = Reader::new(path.clone(), Wanted::default());
        let more = |reader: &mut Reader, all: &mut Vec<u8>| {
            reader
                .read_more(&mut |chunk| {
                    all.extend_from_slice(&chunk);
                    true
                })
                .unwrap()
        };
        reader
            .read_all(&mut |chunk| {
                all.extend_from_slice(&chunk);
                true
            })
            .unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&line(2, "F", "two").as_bytes()[..40]).unwrap();
        more(&mut reader, &mut all);
        assert_eq!(all, b"one\n");
        file.write_all(&line(2, "F", "two").as_bytes()[40..]).unwrap();
        fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        fs::write(&path, line(3, "F", "three")).unwrap();
        more(&mut reader, &mut all);
        assert_eq!(all, b"one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn a_follower_is_let_go_when_the_container_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(&path, line(1, "F", "one")).unwrap();
        let (sink, mut lines) = mpsc::channel(8);
        let task =
            tokio::task::spawn_blocking(move || send(Reader::new(path, Wanted::default()), true, || false, &sink));
        assert_eq!(lines.recv().await.unwrap().unwrap(), "one\n");
        assert!(lines.recv().await.is_none());
        task.await.unwrap().unwrap();
    }
}
