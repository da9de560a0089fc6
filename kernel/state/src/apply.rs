//! Plans on a draft: each write sees the ones before it, and nothing is changed unless all of them stand.
mod bind;
mod delete;

use crate::{merge::merge_patch, names, snapshot::Snapshot};
use sampan_api::{
    ApiError, Key, Object, Operation, Reason, Revision, Write, kinds, object::same_fields, time::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc};

/// Attempts to find a free generated name.
const ATTEMPTS: u64 = 16;

/// A plan in the making.
pub struct Draft<'a> {
    state: &'a Snapshot,
    seed: u64,
    revision: Revision,
    now: Timestamp,
    now_ms: u64,
    changes: BTreeMap<Key, Option<Object>>,
    /// Objects made so far: makes uids differ.
    made: u64,
}

impl<'a> Draft<'a> {
    pub fn new(state: &'a Snapshot, seed: u64, revision: Revision, now_ms: u64) -> Self {
        let now = Timestamp::from_millis(now_ms);
        Draft { state, seed, revision, now, now_ms, changes: BTreeMap::new(), made: 0 }
    }

    /// What changed, where it really did.
    pub fn changes(self) -> Vec<(Key, Option<Object>)> {
        let state = self.state;
        let differs = |key: &Key, after: &Option<Object>| match (state.objects.get(key), after) {
            (None, None) => false,
            (Some(before), Some(after)) => **before != *after,
            _ => true,
        };
        self.changes.into_iter().filter(|(key, after)| differs(key, after)).collect()
    }

    /// The object as the writes so far leave it.
    fn get(&self, key: &Key) -> Option<Object> {
        match self.changes.get(key) {
            Some(changed) => changed.clone(),
            None => self.state.objects.get(key).map(|object| Object::clone(object)),
        }
    }

    fn exists(&self, key: &Key) -> bool {
        self.changes.get(key).map_or_else(|| self.state.objects.contains_key(key), Option::is_some)
    }

    fn put(&mut self, key: Key, object: Object) {
        self.changes.insert(key, Some(object));
    }

    /// One write; the key it wrote.
    ///
    /// # Errors
    /// Why it is refused; the draft is of no more use then.
    pub fn write(&mut self, write: &Write) -> Result<Key, ApiError> {
        if let Operation::Create(object) = &write.operation {
            return self.create(&write.key, object);
        }
        let stored = self.get(&write.key).ok_or_else(|| ApiError::not_found(&write.key))?;
        let expect = match &write.operation {
            Operation::Replace(object) | Operation::ReplaceStatus(object) if write.expect == 0 => {
                object.metadata.resource_version
            }
            _ => write.expect,
        };
        if expect != 0 && expect != stored.metadata.resource_version {
            return Err(ApiError::conflict(&write.key, expect, stored.metadata.resource_version));
        }
        let key = write.key.clone();
        match &write.operation {
            Operation::Create(_) => {}
            Operation::Replace(object) => self.replace(key, stored, object.clone())?,
            Operation::ReplaceStatus(object) => self.replace_status(key, stored, object),
            Operation::Merge(patch) => {
                let mut value = stored.to_value();
                merge_patch(&mut value, patch);
                let merged = Object::from_value(&value)?;
                self.replace(key, stored, merged)?;
            }
            Operation::MergeStatus(patch) => {
                let mut value = stored.to_value();
                let status = serde_json::json!({ "status": patch.get("status") });
                merge_patch(&mut value, &status);
                self.replace_status(key, stored, &Object::from_value(&value)?);
            }
            Operation::Delete(deletion) => self.delete(key, stored, deletion)?,
            Operation::Bind(binding) => self.bind(key, stored, binding)?,
        }
        Ok(write.key.clone())
    }

    fn create(&mut self, key: &Key, object: &Object) -> Result<Key, ApiError> {
        self.made += 1;
        let mut key = key.clone();
        if key.name.is_empty() {
            key = self.generated(&key, &object.metadata.generate_name)?;
        }
        if self.exists(&key) {
            return Err(ApiError::already_exists(&key));
        }
        if !key.namespace.is_empty() {
            self.check_namespace(&key)?;
        }
        let mut object = object.clone();
        object.metadata.name = key.name.to_string();
        object.metadata.namespace = key.namespace.to_string();
        object.metadata.uid = names::uid(self.seed, self.revision, self.made);
        object.metadata.generation = 1;
        object.metadata.creation_timestamp = Some(self.now);
        object.metadata.deletion_timestamp = None;
        object.metadata.deletion_grace_period_seconds = None;
        object.metadata.resource_version = 0;
        if &*key.resource == "pods" && !object.fields.contains_key("status") {
            object.set_field("status", &serde_json::json!({"phase": "Pending"}));
        }
        self.put(key.clone(), object);
        Ok(key)
    }

    fn generated(&self, key: &Key, prefix: &str) -> Result<Key, ApiError> {
        if prefix.is_empty() {
            return Err(ApiError::bad_request(format!("a new object of {} has neither name nor generateName", key.resource)));
        }
        let candidate = |attempt| {
            let end = names::suffix(self.seed, self.revision, self.made, attempt);
            key.sibling(&format!("{prefix}{end}"))
        };
        (0..ATTEMPTS).map(candidate).find(|key| !self.exists(key)).ok_or_else(|| ApiError::already_exists(&candidate(0)))
    }

    fn check_namespace(&self, key: &Key) -> Result<(), ApiError> {
        let namespace = Key::new("namespaces", "", &key.namespace);
        match self.get(&namespace) {
            None => Err(ApiError::not_found(&namespace)),
            Some(found) if found.metadata.deletion_timestamp.is_some() => {
                let message = format!("cannot create {key}: the namespace is being deleted");
                Err(ApiError::new(Reason::Forbidden, message))
            }
            Some(_) => Ok(()),
        }
    }

    /// All but status and what the kernel keeps of the metadata.
    fn replace(&mut self, key: Key, stored: Object, mut next: Object) -> Result<(), ApiError> {
        let kept = &stored.metadata;
        if next.metadata.name != kept.name || (!next.metadata.namespace.is_empty() && next.metadata.namespace != kept.namespace) {
            return Err(ApiError::bad_request(format!("the name and the namespace of {key} cannot be changed")));
        }
        if !next.metadata.uid.is_empty() && next.metadata.uid != kept.uid {
            let message = format!("{key} is another object now: its uid is {}", kept.uid);
            return Err(ApiError::new(Reason::Conflict, message));
        }
        next.api_version.clone_from(&stored.api_version);
        next.kind.clone_from(&stored.kind);
        next.metadata.namespace.clone_from(&kept.namespace);
        next.metadata.uid.clone_from(&kept.uid);
        next.metadata.generate_name.clone_from(&kept.generate_name);
        next.metadata.creation_timestamp = kept.creation_timestamp;
        next.metadata.deletion_timestamp = kept.deletion_timestamp;
        next.metadata.deletion_grace_period_seconds = kept.deletion_grace_period_seconds;
        next.metadata.resource_version = kept.resource_version;
        match stored.fields.get("status") {
            Some(status) => next.fields.insert("status".to_owned(), status.clone()),
            None => next.fields.remove("status"),
        };
        let same = same_fields(&stored.fields, &next.fields, |name| name != "status");
        next.metadata.generation = kept.generation + i64::from(!same);
        let released = next.metadata.deletion_timestamp.is_some() && next.metadata.finalizers.is_empty();
        // A pod that ends goes when its node says so.
        if released && &*key.resource != "pods" {
            self.changes.insert(key, None);
        } else {
            self.put(key, next);
        }
        Ok(())
    }

    fn replace_status(&mut self, key: Key, mut stored: Object, next: &Object) {
        match next.fields.get("status") {
            Some(status) => stored.fields.insert("status".to_owned(), status.clone()),
            None => stored.fields.remove("status"),
        };
        self.put(key, stored);
    }

    /// The namespaced key's kind, for messages.
    fn kind_of(key: &Key) -> &'static str {
        kinds::of_resource(&key.resource).map_or("object", |kind| kind.kind)
    }
}

impl Draft<'_> {
    /// An object of the draft or the state without copying it out.
    fn peek(&self, key: &Key) -> Option<Arc<Object>> {
        match self.changes.get(key) {
            Some(changed) => changed.clone().map(Arc::new),
            None => self.state.objects.get(key).cloned(),
        }
    }
}
