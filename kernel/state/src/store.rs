//! The state machine: a deterministic function of commands.
use crate::{
    answers::Answers,
    apply::{Changed, Draft},
    command::Command,
    names,
    snapshot::{Event, EventKind, Snapshot},
};
use sampan_api::{ApiError, Key, Object, Plan, Revision};
use sha2::{Digest, Sha256};
use std::{fmt::Write as _, sync::Arc};

/// So many events are kept at the least, unless told to forget earlier.
const EVENTS: usize = 30_000;
/// And one for so many objects, where that is more: who falls behind lists them all again, which costs more than the events do.
const OBJECTS_FOR_AN_EVENT: usize = 4;
/// So many are forgotten together.
const FORGOTTEN: usize = 1_000;

/// What a plan wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// The cluster's revision with the plan; the one before where it changed nothing.
    pub revision: Revision,
    /// The keys written, with the names the kernel gave.
    pub keys: Vec<Key>,
    /// The objects as written; none for those that are gone.
    pub objects: Vec<Option<Arc<Object>>>,
}

/// What came of a command.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// For each plan.
    pub results: Vec<Result<Committed, ApiError>>,
    pub events: Vec<Arc<Event>>,
}

/// The state machine. Copying one costs next to nothing: the maps are shared until one changes.
#[derive(Clone)]
pub struct Store {
    pub(crate) cluster: String,
    pub(crate) seed: u64,
    pub(crate) index: u64,
    /// The newest time that is known here: of commands, and of what a checkpoint says was made. It decides nothing here, and
    /// may differ between replicas.
    pub(crate) newest_ms: u64,
    pub(crate) state: Snapshot,
    pub(crate) answers: Answers,
}

impl Store {
    /// An empty one. The cluster's id makes the uids it gives unlike those of any other cluster.
    pub fn new(cluster: &str) -> Self {
        Store {
            seed: names::seed(cluster),
            cluster: cluster.to_owned(),
            index: 0,
            newest_ms: 0,
            state: Snapshot::default(),
            answers: Answers::default(),
        }
    }

    /// The cluster's id.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The log index applied last.
    pub fn applied(&self) -> u64 {
        self.index
    }

    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    /// The newest time that is known here, in milliseconds of Unix time: whoever goes on from here must not begin before it.
    pub fn newest_time(&self) -> u64 {
        self.newest_ms
    }

    /// About how many bytes the state takes.
    pub fn bytes(&self) -> u64 {
        self.state.bytes()
    }

    /// Applies the command at a log index. An index that was applied already changes nothing.
    pub fn apply(&mut self, index: u64, command: Command) -> Applied {
        if index <= self.index {
            return Applied::default();
        }
        self.index = index;
        self.newest_ms = self.newest_ms.max(command.now_ms);
        let key = &command.idempotency_key;
        if !key.is_empty()
            && let Some(results) = self.answers.recall(key, &self.state)
        {
            return Applied {
                results,
                events: Vec::new(),
            };
        }
        for blob in command.blobs {
            self.state.keep_blob(blob);
        }
        for digest in &command.forget_blobs {
            self.state.forget_blob(digest);
        }
        let mut applied = Applied::default();
        for plan in command.plans {
            let result = self.commit(plan, command.now_ms, &mut applied.events);
            applied.results.push(result);
        }
        if command.compact_to > 0 {
            self.compact(command.compact_to.min(self.state.revision));
        }
        let kept = EVENTS.max(self.state.len() / OBJECTS_FOR_AN_EVENT);
        let surplus = self.state.events.len().saturating_sub(kept);
        if surplus >= FORGOTTEN {
            let last = self.state.events.get(surplus - 1).map(|event| event.revision);
            self.compact(last.unwrap_or_default());
        }
        if !key.is_empty() {
            self.answers.remember(key, command.now_ms, &applied.results);
        }
        applied
    }

    fn commit(&mut self, plan: Plan, now_ms: u64, events: &mut Vec<Arc<Event>>) -> Result<Committed, ApiError> {
        let revision = self.state.revision + 1;
        let mut draft = Draft::new(&self.state, self.seed, revision, now_ms);
        let mut keys = Vec::with_capacity(plan.writes.len());
        for write in plan.writes {
            keys.push(draft.write(write)?);
        }
        let changes: Vec<Changed> = draft.changes().collect();
        if !changes.is_empty() {
            self.state.revision = revision;
        }
        let first = events.len();
        for changed in changes {
            let event = self.change(changed, revision);
            self.state.events.push_back(event.clone());
            events.push(event);
        }
        // They are in the order of their keys; what is not among them was written and is as it was.
        let events = &events[first..];
        let written = |key: &Key| match events.binary_search_by(|event| event.key.cmp(key)) {
            Ok(at) => (events[at].kind != EventKind::Deleted).then(|| events[at].object.clone()),
            Err(_) => self.state.get(key),
        };
        let objects = keys.iter().map(written).collect();
        Ok(Committed {
            revision: self.state.revision,
            keys,
            objects,
        })
    }

    /// Puts a change into the maps.
    fn change(&mut self, changed: Changed, revision: Revision) -> Arc<Event> {
        let Changed { key, before, after } = changed;
        let (kind, object) = match (after, &before) {
            (Some(mut object), _) => {
                object.metadata.resource_version = revision;
                let kind = if before.is_some() {
                    EventKind::Modified
                } else {
                    EventKind::Added
                };
                (kind, Arc::new(object))
            }
            (None, before) => {
                let mut last = before.as_deref().cloned().unwrap_or_default();
                last.metadata.resource_version = revision;
                (EventKind::Deleted, Arc::new(last))
            }
        };
        self.state
            .put(&key, (kind != EventKind::Deleted).then(|| object.clone()));
        Arc::new(Event {
            kind,
            revision,
            key,
            object,
            previous: before,
        })
    }

    fn compact(&mut self, revision: Revision) {
        while self
            .state
            .events
            .front()
            .is_some_and(|event| event.revision <= revision)
        {
            self.state.events.pop_front();
        }
        self.state.compacted = self.state.compacted.max(revision);
    }

    /// A digest of all that replicas must agree on.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.state.revision.to_le_bytes());
        for (key, object) in &self.state.objects {
            hasher.update(key.to_string());
            hasher.update(object.to_json());
        }
        self.state.blobs.keys().for_each(|digest| hasher.update(digest));
        hex(&hasher.finalize())
    }
}

impl Snapshot {
    /// What would come of a plan now. Nothing is changed; uids and generated names are examples.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn rehearse(&self, plan: &Plan, now_ms: u64) -> Result<Committed, ApiError> {
        self.rehearsed(plan, now_ms).map(|(committed, _)| committed)
    }

    /// The state that would come of a plan now.
    ///
    /// # Errors
    /// As [`Snapshot::rehearse`].
    pub fn after(&self, plan: &Plan, now_ms: u64) -> Result<Snapshot, ApiError> {
        self.rehearsed(plan, now_ms).map(|(_, state)| state)
    }

    fn rehearsed(&self, plan: &Plan, now_ms: u64) -> Result<(Committed, Snapshot), ApiError> {
        let mut store = Store {
            state: self.clone(),
            ..Store::new("")
        };
        let committed = store.commit(plan.clone(), now_ms, &mut Vec::new())?;
        Ok((committed, store.state))
    }
}

/// How bytes are named: `sha256:` and 64 hexadecimal digits.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
