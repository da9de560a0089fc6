//! What must hold at every moment, checked as it happens: one leader a term, one log, one state for an index, and what the
//! state itself promises.
use crate::{failure::Failure, promises::Promises};
use sampan_api::{Plan, Revision};
use sampan_state::{
    Applied, Command, Committed, Event, Header, Persisted, Recovered, Store, digest_of, encode_checkpoint,
    eraftpb::{ConfState, Entry, EntryType},
};
use std::{collections::BTreeMap, sync::Arc};

/// At every so many entries states are compared by their digests, and with what they remember of answers; at the others by
/// their size and revision. States that part stay apart.
const DIGEST: u64 = 4;
const WHOLE: u64 = 64;

/// A member's log as its replica has it.
#[derive(Default)]
struct Log {
    /// The entry before the first.
    base: (u64, u64),
    entries: BTreeMap<u64, Entry>,
    applied: u64,
}

impl Log {
    fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        self.entries.get(&index).map(|entry| entry.term)
    }
}

/// Sees everything, and compares.
pub struct Oracle {
    logs: BTreeMap<u64, Log>,
    leaders: BTreeMap<u64, u64>,
    /// Entries by index and term, and the term of the one before each: two logs with one entry in common are the same up to
    /// it.
    known: BTreeMap<(u64, u64), (Entry, u64)>,
    /// What was applied, by index.
    committed: BTreeMap<u64, Entry>,
    /// The state that the committed entries lead to.
    store: Store,
    /// Revision and size of the state, by index.
    sizes: BTreeMap<u64, (Revision, usize)>,
    digests: BTreeMap<u64, String>,
    whole: BTreeMap<u64, String>,
    events: BTreeMap<Revision, Vec<Arc<Event>>>,
    promises: Promises,
    /// The members by the last committed entry.
    pub members: ConfState,
    /// Changes of members that were committed.
    pub changes: u64,
}

impl Oracle {
    /// At the group's beginning.
    pub fn new(store: Store, members: ConfState) -> Self {
        let mut oracle = Oracle {
            logs: BTreeMap::new(),
            leaders: BTreeMap::new(),
            known: BTreeMap::new(),
            committed: BTreeMap::new(),
            sizes: BTreeMap::new(),
            digests: BTreeMap::new(),
            whole: BTreeMap::new(),
            events: BTreeMap::new(),
            promises: Promises::default(),
            store,
            members,
            changes: 0,
        };
        oracle.note_digests();
        // A member that knows nothing yet.
        oracle.sizes.insert(0, (0, 0));
        oracle
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn revision(&self) -> Revision {
        self.store.snapshot().revision()
    }

    /// What happened at a revision.
    pub fn events(&self, revision: Revision) -> &[Arc<Event>] {
        self.events.get(&revision).map_or(&[], Vec::as_slice)
    }

    pub fn started(&mut self, member: u64, recovered: &Recovered, store: &Store) -> Result<(), Failure> {
        let mut log = Log {
            base: (recovered.checkpoint_index, recovered.checkpoint_term),
            applied: store.applied(),
            ..Log::default()
        };
        // As the replica does: these were overtaken by the checkpoint.
        let first = recovered.entries.first().map_or(u64::MAX, |entry| entry.term);
        if first >= recovered.checkpoint_term {
            log.entries = recovered
                .entries
                .iter()
                .map(|entry| (entry.index, entry.clone()))
                .collect();
        }
        self.logs.insert(member, log);
        self.compare(member, store)
    }

    /// The log is from now on this; the state came whole.
    pub fn restored(&mut self, member: u64, index: u64, term: u64, store: &Store) -> Result<(), Failure> {
        let base = (index, term);
        self.logs.insert(
            member,
            Log {
                base,
                applied: index,
                ..Log::default()
            },
        );
        self.compare(member, store)
    }

    pub fn appended(&mut self, member: u64, record: &Persisted) -> Result<(), Failure> {
        let log = self.logs.entry(member).or_default();
        for entry in &record.entries {
            let index = entry.index;
            log.entries.split_off(&index);
            let before = log.term(index - 1).ok_or_else(|| {
                Failure::new(format!(
                    "member {member} appends {index}, and the one before is missing"
                ))
            })?;
            let known = self
                .known
                .entry((index, entry.term))
                .or_insert_with(|| (entry.clone(), before));
            if known.0 != *entry || known.1 != before {
                let term = entry.term;
                return Err(Failure::new(format!(
                    "logs part: member {member} has another entry {index} of term {term} than others have"
                )));
            }
            if index <= log.applied {
                return Err(Failure::new(format!(
                    "member {member} replaces entry {index}, which it applied"
                )));
            }
            log.entries.insert(index, entry.clone());
        }
        Ok(())
    }

    pub fn leads(&mut self, member: u64, term: u64) -> Result<(), Failure> {
        let leader = *self.leaders.entry(term).or_insert(member);
        if leader == member {
            return Ok(());
        }
        Err(Failure::new(format!(
            "term {term} has two leaders, {leader} and {member}"
        )))
    }

    /// A member applied all up to its store's index.
    pub fn applied(&mut self, member: u64, store: &Store, members: &ConfState) -> Result<(), Failure> {
        let log = self.logs.entry(member).or_default();
        let from = std::mem::replace(&mut log.applied, store.applied());
        if store.applied() < from {
            let to = store.applied();
            return Err(Failure::new(format!(
                "member {member} went back from index {from} to {to}"
            )));
        }
        let mut fresh = Vec::new();
        for index in from + 1..=store.applied() {
            let entry = log
                .entries
                .get(&index)
                .ok_or_else(|| Failure::new(format!("member {member} applied {index}, which its log lacks")))?;
            match self.committed.get(&index) {
                Some(committed) if committed != entry => {
                    let (one, other) = (committed.term, entry.term);
                    return Err(Failure::new(format!(
                        "a committed entry was lost: {index} was of term {one}, and member {member} applied one of term {other}"
                    )));
                }
                Some(_) => {}
                None => fresh.push(entry.clone()),
            }
        }
        for entry in fresh {
            self.commit(entry)?;
        }
        if store.applied() == self.store.applied() {
            self.members = members.clone();
        }
        self.compare(member, store)
    }

    fn commit(&mut self, entry: Entry) -> Result<(), Failure> {
        let before = self.store.snapshot();
        let command = match entry.entry_type() {
            EntryType::EntryNormal if !entry.data.is_empty() => Command::decode(entry.data.clone())
                .map_err(|error| Failure::new(format!("entry {} cannot be read: {error}", entry.index)))?,
            _ => Command::default(),
        };
        if entry.index != self.store.applied() + 1 {
            return Err(Failure::new(format!(
                "entry {} was applied before its time",
                entry.index
            )));
        }
        let Applied { events, .. } = self.store.apply(entry.index, command);
        let after = self.store.snapshot();
        self.changes += u64::from(entry.entry_type() != EntryType::EntryNormal);
        self.committed.insert(entry.index, entry);
        let mut last = before.revision();
        for event in events {
            if event.revision != last && event.revision != last + 1 {
                return Err(Failure::new(format!(
                    "an event of revision {} follows {last}",
                    event.revision
                )));
            }
            last = event.revision;
            self.promises.check(&event)?;
            self.events.entry(event.revision).or_default().push(event);
        }
        if last != after.revision() {
            return Err(Failure::new(format!(
                "revision {} follows {last} without an event",
                after.revision()
            )));
        }
        self.promises.check_state(&after)?;
        self.note_digests();
        Ok(())
    }

    fn note_digests(&mut self) {
        let index = self.store.applied();
        self.sizes.insert(index, size(&self.store));
        if index.is_multiple_of(DIGEST) {
            self.digests.insert(index, self.store.digest());
        }
        if index.is_multiple_of(WHOLE) {
            self.whole.insert(index, whole(&self.store));
        }
    }

    /// The same index, the same state.
    fn compare(&self, member: u64, store: &Store) -> Result<(), Failure> {
        let index = store.applied();
        let differs = |what: &str| Failure::new(format!("the state of member {member} at index {index} {what}"));
        if self.sizes.get(&index) != Some(&size(store)) {
            return Err(differs("is of another revision or size than others have"));
        }
        if self.digests.get(&index).is_some_and(|digest| *digest != store.digest()) {
            return Err(differs("is another than others have"));
        }
        if self.whole.get(&index).is_some_and(|digest| *digest != whole(store)) {
            return Err(differs("remembers other answers than others do"));
        }
        Ok(())
    }

    /// At the end all members are at the last index.
    pub fn ended(&self, member: u64, store: &Store) -> Result<(), Failure> {
        if store.applied() != self.store.applied() || whole(store) != whole(&self.store) {
            return Err(Failure::new(format!(
                "member {member} ends with another state than was committed"
            )));
        }
        Ok(())
    }

    /// A client is told that its plans were committed: they must be in what is committed, whole.
    pub fn acknowledged(
        &self,
        plans: &[Plan],
        results: &[Result<Committed, sampan_api::ApiError>],
    ) -> Result<(), Failure> {
        for (plan, result) in plans.iter().zip(results) {
            let Ok(committed) = result else { continue };
            if committed.revision > self.revision() {
                let revision = committed.revision;
                return Err(Failure::new(format!(
                    "revision {revision} was acknowledged and is not committed"
                )));
            }
            let events = self.events(committed.revision);
            for (write, key) in plan.writes.iter().zip(&committed.keys) {
                let cell = &*write.key.resource == "configmaps";
                if cell && !events.iter().any(|event| event.key == *key) {
                    let revision = committed.revision;
                    return Err(Failure::new(format!(
                        "{key} was acknowledged at {revision}, and is not there"
                    )));
                }
            }
        }
        Ok(())
    }
}

fn size(store: &Store) -> (Revision, usize) {
    let state = store.snapshot();
    (state.revision(), state.len())
}

/// A digest of all that is replicated.
fn whole(store: &Store) -> String {
    let bytes: Vec<u8> = encode_checkpoint(&Header::default(), store).flatten().collect();
    digest_of(&bytes)
}
