//! The state at one revision: what reads, lists, watches and plugins see. Taking one costs nothing.
use crate::{claims::Claim, index::Index, store::digest_of};
use bytes::Bytes;
use imbl::{OrdMap, Vector};
use sampan_api::{ApiError, Key, Object, Reason, Revision, Selection, quantity::Resources};
use std::{ops::Bound, sync::Arc};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    pub revision: Revision,
    pub key: Key,
    /// As it is now; as it was, with the revision of its end, where it was deleted.
    pub object: Arc<Object>,
    pub previous: Option<Arc<Object>>,
}

/// The state at one revision.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) objects: OrdMap<Key, Arc<Object>>,
    pub(crate) events: Vector<Arc<Event>>,
    pub(crate) blobs: OrdMap<String, Bytes>,
    pub(crate) index: Index,
    /// What objects and blobs weigh.
    bytes: u64,
}

impl Snapshot {
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Events up to this revision are forgotten.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// About how many bytes the objects and blobs take, in memory as on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts an object under a key, or takes it away.
    pub(crate) fn put(&mut self, key: &Key, object: Option<Arc<Object>>) {
        let mut key = key.clone();
        self.index.share(&mut key);
        let key = &key;
        let weight = |object: &Arc<Object>| (object.weight() + 2 * key.name.len()) as u64;
        let added = object.as_ref().map_or(0, weight);
        let before = match object.clone() {
            Some(object) => self.objects.insert(key.clone(), object),
            None => self.objects.remove(key),
        };
        self.index.change(key, before.as_deref(), object.as_deref());
        self.bytes = self.bytes + added - before.as_ref().map_or(0, weight);
    }

    pub(crate) fn keep_blob(&mut self, blob: Bytes) {
        let added = blob.len() as u64;
        if self.blobs.insert(digest_of(&blob), blob).is_none() {
            self.bytes += added;
        }
    }

    pub(crate) fn forget_blob(&mut self, digest: &str) {
        self.bytes -= self.blobs.remove(digest).map_or(0, |blob| blob.len() as u64);
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    /// What is selected, by key.
    pub fn list<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = (Key, Arc<Object>)> + 'a {
        self.list_after(selection, None)
    }

    /// What is selected and comes after a key.
    pub fn list_after<'a>(
        &'a self,
        selection: &'a Selection,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (Key, Arc<Object>)> + 'a {
        let every = selection.resource == "*";
        let first = Key::new(if every { "" } else { &selection.resource }, &selection.namespace, "");
        let start = match after {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(first),
        };
        let objects = self.objects.range((start, Bound::Unbounded));
        let within = move |key: &Key| {
            every
                || (*key.resource == *selection.resource
                    && (selection.namespace.is_empty() || *key.namespace == *selection.namespace))
        };
        objects
            .take_while(move |(key, _)| within(key))
            .filter(|(key, object)| selection.matches(key, object))
            .map(|(key, object)| (key.clone(), object.clone()))
    }

    pub fn count(&self, selection: &Selection) -> usize {
        self.list(selection).count()
    }

    /// What names this uid as an owner, by key.
    pub fn owned_by(&self, uid: &str) -> Vec<(Key, Arc<Object>)> {
        let keys = self.index.dependents(uid);
        keys.filter_map(|key| self.get(key).map(|object| (key.clone(), object)))
            .collect()
    }

    /// What the pods bound to a node, and not finished, ask for together.
    pub fn usage(&self, node: &str) -> Resources {
        self.index.usage(node).usual
    }

    /// Which Service has an address or a node port.
    pub fn holder(&self, claim: &Claim) -> Option<&Key> {
        self.index.claims.holder(claim)
    }

    /// Bytes by `sha256:…`.
    pub fn blob(&self, digest: &str) -> Option<Bytes> {
        self.blobs.get(digest).cloned()
    }

    /// The digests of all bytes kept.
    pub fn blobs(&self) -> impl Iterator<Item = &String> {
        self.blobs.keys()
    }

    /// All that happened after a revision, in order.
    ///
    /// # Errors
    /// `Expired` if some of it is forgotten.
    pub fn since(&self, revision: Revision) -> Result<Vec<Arc<Event>>, ApiError> {
        if revision < self.compacted {
            let message = format!(
                "revision {revision} is compacted: events are kept after {}; list again and watch from there",
                self.compacted
            );
            return Err(ApiError::new(Reason::Expired, message));
        }
        let first = match self
            .events
            .binary_search_by(|event| event.revision.cmp(&(revision + 1)))
        {
            // Several events share a revision: go to the first of them.
            Ok(found) => (0..=found)
                .rev()
                .take_while(|i| self.events[*i].revision > revision)
                .last()
                .unwrap_or(found),
            Err(place) => place,
        };
        Ok(self.events.focus().narrow(first..).into_iter().cloned().collect())
    }
}
