//! A recording: what a scheduler slot was told and answered, as a file that can be trusted and read.
//!
//! Lines of JSON. The first says what it is of; then come all changes that were told and all calls with their answers, in
//! their order, in the contract's words; the last has the number of lines and the SHA-256 of all before it. So a file that was
//! cut or changed is known before anything of it is used.
use sampan_sandbox::{
    digest_of,
    scheduler::{Changes, Placement, Pod, PodGroup},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// The longest recording. Bytes.
pub const MOST_BYTES: u64 = 256 << 20;

/// The edition of the format.
const VERSION: u32 = 1;

/// The contract in whose words it is.
const CONTRACT: &str = "sampan:scheduler@0.2.0";

/// How every recording begins.
pub const BEGINS: &[u8] = b"{\"recording\":";

/// What a recording is of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Of the format; set by who writes.
    #[serde(default)]
    pub version: u32,
    #[serde(default)]
    pub contract: String,
    pub cluster: String,
    pub slot: String,
    /// The plugin that answered, its bytes, and its config.
    pub policy: String,
    pub digest: String,
    pub config: Value,
    /// Of the state it begins with, and when that was, in milliseconds of Unix time.
    pub revision: u64,
    pub at_ms: u64,
}

/// A call with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    pub pods: Vec<Pod>,
    pub groups: Vec<PodGroup>,
    /// `NAMESPACE/NAME` of each pod: nothing that the policy was told.
    pub names: Vec<String>,
    pub answer: Placement,
    pub micros: u64,
}

/// The end of a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct End {
    pub lines: u64,
    /// Of all lines before.
    pub digest: String,
    /// Why it ended before its time; empty if it did not.
    #[serde(default)]
    pub why: String,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    Recording(Header),
    Sync(Changes),
    Place(Place),
    End(End),
}

/// What happened, in order.
#[derive(Clone, Debug)]
pub struct Recording {
    pub header: Header,
    /// What was told, and what was asked.
    pub steps: Vec<Line>,
    pub end: End,
}

/// Why a file is no recording that can be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no recording that can be used: {why}", path.display())]
    Unusable { path: PathBuf, why: String },
}

/// A line as it is written.
///
/// # Errors
/// None that is known: all of it is numbers, texts and lists.
pub fn line(line: &Line) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

impl Header {
    /// Of this version.
    pub(in crate::policies) fn of_this_version(self) -> Self {
        Header {
            version: VERSION,
            contract: CONTRACT.to_owned(),
            ..self
        }
    }
}

impl Recording {
    /// Reads one to its end.
    ///
    /// # Errors
    /// If it cannot be read, is too long, is of another version, was cut short or changed.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let io = |source| RecordingError::Io {
            path: path.to_owned(),
            source,
        };
        let mut text = Vec::new();
        let file = File::open(path).map_err(io)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(io)?;
        Self::parse(&text).map_err(|why| RecordingError::Unusable {
            path: path.to_owned(),
            why,
        })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() as u64 > MOST_BYTES {
            return Err(format!("it is longer than {} MiB", MOST_BYTES >> 20));
        }
        // Of another version nothing else is known.
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let header = version_of(first)?;
        let (before, last) = last_line(text).ok_or("it is cut short: it has no last line")?;
        let Ok(Line::End(end)) = serde_json::from_slice(last) else {
            return Err("it is cut short: its last line does not say that it is the end".to_owned());
        };
        if digest_of(before) != end.digest {
            return Err("it was changed: its checksum is another than its last line says".to_owned());
        }
        let mut steps = Vec::new();
        let lines = before.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for (number, line) in lines.enumerate().skip(1) {
            let line = serde_json::from_slice(line).map_err(|error| format!("line {}: {error}", number + 1))?;
            match line {
                step @ (Line::Sync(_) | Line::Place(_)) => steps.push(step),
                Line::Recording(_) | Line::End(_) => {
                    return Err(format!("line {}: it is neither a sync nor a place", number + 1));
                }
            }
        }
        if steps.len() as u64 + 1 != end.lines {
            return Err(format!(
                "it has {} lines, and its end says {}",
                steps.len() + 1,
                end.lines
            ));
        }
        Ok(Recording { header, steps, end })
    }

    /// How many pods were decided about.
    pub fn decisions(&self) -> u64 {
        let of = |step: &Line| match step {
            Line::Place(place) => place.answer.nodes.len() as u64,
            _ => 0,
        };
        self.steps.iter().map(of).sum()
    }
}

/// The header, if it is of a version that is known.
fn version_of(first: &[u8]) -> Result<Header, String> {
    #[derive(Deserialize)]
    struct Any {
        recording: Value,
    }
    let any: Any = serde_json::from_slice(first).map_err(|error| format!("line 1: {error}"))?;
    let version = any.recording["version"].as_u64().unwrap_or_default();
    if version != u64::from(VERSION) {
        return Err(format!(
            "it is of version {version}, and this build knows version {VERSION}"
        ));
    }
    serde_json::from_value(any.recording).map_err(|error| format!("line 1: {error}"))
}

/// All before the last line, with its end, and the last line.
fn last_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_suffix(b"\n")?;
    let place = text.iter().rposition(|byte| *byte == b'\n')?;
    text.split_at_checked(place + 1)
}

/// Writes a recording from the pieces in which its lines come.
pub struct Writer<W> {
    out: W,
    digest: Digest,
    /// What came of a line that is not whole yet.
    partial: Vec<u8>,
    pub lines: u64,
    pub bytes: u64,
    pub decisions: u64,
}

struct Digest(sha2::Sha256);

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Self {
        Writer {
            out,
            digest: Digest(<sha2::Sha256 as sha2::Digest>::new()),
            partial: Vec::new(),
            lines: 0,
            bytes: 0,
            decisions: 0,
        }
    }

    /// Takes in a piece; lines are written when they are whole.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.line()?;
            }
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.partial);
        sha2::Digest::update(&mut self.digest.0, &line);
        self.out.write_all(&line)?;
        self.lines += 1;
        self.bytes += line.len() as u64;
        if line.starts_with(b"{\"place\":")
            && let Ok(Line::Place(place)) = serde_json::from_slice(&line)
        {
            self.decisions += place.answer.nodes.len() as u64;
        }
        Ok(())
    }

    /// Writes the end, and gives back what it was written to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self, why: &str) -> io::Result<W> {
        let digest = sha2::Digest::finalize(self.digest.0);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let end = Line::End(End {
            lines: self.lines,
            digest: format!("sha256:{hex}"),
            why: why.to_owned(),
        });
        self.out.write_all(&line(&end)?)?;
        self.out.flush()?;
        Ok(self.out)
    }
}
