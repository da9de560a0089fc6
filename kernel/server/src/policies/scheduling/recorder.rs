//! Writing down what the slot is told and answers, for whoever asked for it.
//!
//! It is kept in step as an instance of a plugin is: it begins with everything, and then notes what changed. It holds up nobody:
//! lines wait in memory for whoever takes them, up to the longest that a recording may be.
use super::{
    Scheduling,
    mirror::{
        Mirror,
        touched::{self, Touched},
    },
};
use crate::policies::{
    asking::RecordAsk,
    replay::{self, Header, Line, MOST_BYTES, Place},
};
use sampan_api::{
    ApiError, Key, Reason,
    plugin::{self, PluginSpec},
};
use sampan_sandbox::scheduler::{Placement, Pod, PodGroup};
use std::time::Duration;
use tokio::sync::mpsc;

/// What comes of a recording under way.
#[derive(Debug)]
pub enum Recorded {
    Line(Vec<u8>),
    /// It ends before its time, for this reason.
    End(String),
}

/// A recording under way.
pub struct Recorder {
    to: mpsc::UnboundedSender<Recorded>,
    pending: Touched,
    /// What was written knows the symbols below this number.
    symbols: usize,
    /// Decisions to be written yet.
    left: u64,
    bytes: u64,
    /// The last decision was written: what became of it is, too, and that is all.
    last: bool,
    done: bool,
}

impl Recorder {
    fn begin(mirror: &Mirror, header: Header, most: u64) -> (Self, mpsc::UnboundedReceiver<Recorded>) {
        let (to, from) = mpsc::unbounded_channel();
        let mut recorder = Recorder {
            to,
            pending: mirror.everything(),
            symbols: 1,
            left: if most == 0 { u64::MAX } else { most },
            bytes: 0,
            last: false,
            done: false,
        };
        recorder.write(&Line::Recording(header));
        recorder.sync(mirror);
        (recorder, from)
    }

    /// Notes what is to be written with the next sync.
    pub fn tell(&mut self, touched: &Touched) {
        self.pending.add(touched);
    }

    /// Writes what is pending.
    pub fn sync(&mut self, mirror: &Mirror) {
        if self.is_done() || (self.pending.is_empty() && self.symbols == mirror.symbols.count()) {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        for changes in touched::changes(mirror, &pending, self.symbols) {
            self.write(&Line::Sync(changes));
        }
        self.symbols = mirror.symbols.count();
        self.done |= self.last;
    }

    /// Writes what was asked and answered; what the policy was told before is written first.
    pub fn place(&mut self, mirror: &Mirror, pods: &[Pod], groups: &[PodGroup], answer: &Placement, took: Duration) {
        self.sync(mirror);
        if self.is_done() {
            return;
        }
        let name = |pod: &Pod| mirror.pods.get(pod.id).map_or_else(String::new, |pod| pod.key.path());
        self.left = self.left.saturating_sub(answer.nodes.len() as u64);
        self.write(&Line::Place(Place {
            pods: pods.to_vec(),
            groups: groups.to_vec(),
            names: pods.iter().map(name).collect(),
            answer: answer.clone(),
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }));
        self.last = self.left == 0;
    }

    fn write(&mut self, line: &Line) {
        match replay::line(line) {
            Ok(text) => {
                self.bytes += text.len() as u64;
                if self.bytes > MOST_BYTES {
                    let limit = MOST_BYTES >> 20;
                    self.end(&format!("it would be longer than {limit} MiB"));
                } else {
                    self.done |= self.to.send(Recorded::Line(text)).is_err();
                }
            }
            Err(error) => self.end(&error.to_string()),
        }
    }

    /// It ends before its time.
    pub fn end(&mut self, why: &str) {
        if !self.done {
            // Who does not listen any more need not know.
            let _ = self.to.send(Recorded::End(why.to_owned()));
            self.done = true;
        }
    }

    /// Whether nothing more is written.
    pub fn is_done(&self) -> bool {
        self.done || self.to.is_closed()
    }
}

impl Scheduling {
    /// Begins a recording of what this slot is told and answers from now on.
    pub(super) fn begin_recording(&mut self, ask: &RecordAsk) -> Result<mpsc::UnboundedReceiver<Recorded>, ApiError> {
        let refused = |why: &str| Err(ApiError::new(Reason::Invalid, why.to_owned()));
        if !self.seats.may_decide() {
            let why = "this server does not lead: it decides nothing".to_owned();
            return Err(ApiError::new(Reason::Unavailable, why));
        }
        if self.recorder.as_ref().is_some_and(|recorder| !recorder.is_done()) {
            return refused("this slot is being recorded already: wait until that has ended");
        }
        let Some(member) = self.seats.active.as_ref().map(|seat| seat.member.clone()) else {
            return refused("no policy decides now: the built-in placing does, and it is not recorded");
        };
        self.tell();
        let state = self.replica.snapshot();
        let object = state.get(&Key::new(plugin::RESOURCE, "", &member.name));
        let spec = object.and_then(|object| object.field::<PluginSpec>("spec").ok());
        let header = Header {
            cluster: ask.cluster.clone(),
            slot: self.slot.clone(),
            policy: member.name,
            digest: member.digest,
            config: spec.unwrap_or_default().config,
            revision: state.revision(),
            at_ms: self.replica.now_millis(),
            ..Header::default()
        };
        let (recorder, lines) = Recorder::begin(&self.mirror, header.of_this_version(), ask.decisions);
        self.recorder = Some(recorder);
        Ok(lines)
    }

    /// Keeps a recording in step, and ends it where it is no longer of the same policy.
    pub(super) fn keep_recording(&mut self, term: Option<u64>) {
        let Some(recorder) = &mut self.recorder else { return };
        recorder.sync(&self.mirror);
        let decides = self.seats.active.as_ref().map(|seat| &seat.member);
        if term.is_none() {
            recorder.end("this server leads no more");
        } else if decides != self.decides.as_ref() {
            recorder.end("another policy decides");
        }
        if recorder.is_done() {
            self.recorder = None;
        }
    }
}
