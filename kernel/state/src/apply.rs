//! Plans on a draft: each write sees the ones before it, and nothing is changed unless all of them stand.
mod admission;
mod bind;
mod delete;

pub use admission::would_admit;

use crate::{
    claims::{self, Claim},
    merge::merge_patch,
    names,
    snapshot::Snapshot,
    view::PodView,
};
use sampan_api::{
    ApiError, Cause, Key, MAX_OBJECT_BYTES, Meta, Object, Operation, Reason, Revision, Write, kinds, time::Timestamp,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Attempts to find a free generated name.
const ATTEMPTS: u64 = 16;

/// A key as a plan found it and leaves it.
#[derive(Default)]
struct Change {
    before: Option<Arc<Object>>,
    /// None while it is as before; then the object, or none.
    after: Option<Option<Object>>,
}

impl Change {
    fn now(&self) -> Option<&Object> {
        match &self.after {
            Some(after) => after.as_ref(),
            None => self.before.as_deref(),
        }
    }
}

/// What a plan did to a key.
pub struct Changed {
    pub key: Key,
    pub before: Option<Arc<Object>>,
    pub after: Option<Object>,
}

/// A plan in the making.
pub struct Draft<'a> {
    state: &'a Snapshot,
    seed: u64,
    revision: Revision,
    /// To the second, as it is written: a replica that read a checkpoint must not know more than another.
    now: Timestamp,
    /// The keys that were written, or are about to be: each is looked up in the state once.
    changes: BTreeMap<Key, Change>,
    /// What the Services among them claim.
    claimed: BTreeMap<Claim, Key>,
    /// Objects made so far: makes uids differ.
    made: u64,
}

impl<'a> Draft<'a> {
    pub fn new(state: &'a Snapshot, seed: u64, revision: Revision, now_ms: u64) -> Self {
        let now = Timestamp::from_millis(now_ms / 1000 * 1000);
        Draft {
            state,
            seed,
            revision,
            now,
            changes: BTreeMap::new(),
            claimed: BTreeMap::new(),
            made: 0,
        }
    }

    /// What changed, where it really did, by key.
    pub fn changes(self) -> impl Iterator<Item = Changed> {
        self.changes.into_iter().filter_map(|(key, Change { before, after })| {
            let after = after?;
            let same = match (&before, &after) {
                (None, None) => true,
                (Some(before), Some(after)) => **before == *after,
                _ => false,
            };
            (!same).then_some(Changed { key, before, after })
        })
    }

    /// A key that is about to be written.
    fn change(&mut self, key: &Key) -> &mut Change {
        let state = self.state;
        self.changes.entry(key.clone()).or_insert_with(|| Change {
            before: state.objects.get(key).cloned(),
            after: None,
        })
    }

    /// What becomes of a key.
    fn set(&mut self, key: &Key, after: Option<Object>) {
        self.change(key).after = Some(after);
    }

    /// An object as the writes so far leave it.
    fn now(&self, key: &Key) -> Option<&Object> {
        match self.changes.get(key) {
            Some(change) => change.now(),
            None => self.state.objects.get(key).map(|object| &**object),
        }
    }

    fn put(&mut self, key: Key, object: Object) -> Result<(), ApiError> {
        let weight = object.weight();
        if weight > MAX_OBJECT_BYTES {
            let message = format!("{key} would take {weight} bytes, and {MAX_OBJECT_BYTES} are the limit");
            return Err(ApiError::new(Reason::TooLarge, message));
        }
        if &*key.resource == claims::RESOURCE && self.level() >= u64::from(claims::LEVEL) {
            self.claim(&key, &object)?;
        }
        self.set(&key, Some(object));
        Ok(())
    }

    /// The level of features in force.
    fn level(&self) -> u64 {
        self.state.index.level
    }

    /// Notes what a Service claims, if nobody else has it as the writes so far leave it.
    fn claim(&mut self, key: &Key, service: &Object) -> Result<(), ApiError> {
        let claims = claims::of(service);
        for claim in &claims {
            // Of a Service that was written by this plan, what it claimed before counts no more.
            let before = self.state.index.claims.holder(claim);
            let written = |holder: &Key| self.changes.get(holder).is_some_and(|change| change.after.is_some());
            let before = before.filter(|holder| !written(holder));
            let now = self.claimed.get(claim);
            let now = now.filter(|holder| self.now(holder).is_some());
            if let Some(holder) = before.or(now).filter(|holder| *holder != key) {
                return Err(claims::taken(key, claim, holder));
            }
        }
        self.claimed.retain(|_, holder| holder != key);
        self.claimed
            .extend(claims.into_iter().map(|claim| (claim, key.clone())));
        Ok(())
    }

    /// One write; the key it wrote.
    ///
    /// # Errors
    /// Why it is refused; the draft is of no more use then.
    pub fn write(&mut self, mut write: Write) -> Result<Key, ApiError> {
        self.state.index.share(&mut write.key);
        if let Operation::Create(object) = write.operation {
            return self.create(write.key, object);
        }
        let stored = self.change(&write.key).now().cloned();
        let stored = stored.ok_or_else(|| ApiError::not_found(&write.key))?;
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
        match write.operation {
            Operation::Create(_) => {}
            Operation::Replace(object) => self.replace(key, stored, object)?,
            Operation::ReplaceStatus(object) => self.replace_status(key, stored, &object)?,
            Operation::Merge(patch) => {
                let merged = merged(&key, &stored, &patch)?;
                self.replace(key, stored, merged)?;
            }
            Operation::MergeStatus(patch) => {
                let mut status = field(&key, &stored, "status")?;
                patch
                    .get("status")
                    .into_iter()
                    .for_each(|patch| merge_patch(&mut status, patch));
                let mut next = stored.clone();
                set_or_remove(&mut next, "status", &status);
                self.replace_status(key, stored, &next)?;
            }
            Operation::Delete(deletion) => self.delete(key, stored, &deletion)?,
            Operation::Bind(binding) => self.bind(key, stored, &binding)?,
        }
        Ok(write.key)
    }

    fn create(&mut self, mut key: Key, mut object: Object) -> Result<Key, ApiError> {
        self.made += 1;
        if key.name.is_empty() {
            key = self.generated(&key, &object.metadata.generate_name)?;
        }
        check_kind(&key, &object)?;
        if self.change(&key).now().is_some() {
            return Err(ApiError::already_exists(&key));
        }
        if !key.namespace.is_empty() {
            self.check_namespace(&key)?;
        }
        object.metadata.name = key.name.to_string();
        object.metadata.namespace = key.namespace.to_string();
        object.metadata.uid = names::uid(self.seed, self.revision, self.made);
        object.metadata.generation = 1;
        object.metadata.creation_timestamp = Some(self.now);
        object.metadata.deletion_timestamp = None;
        object.metadata.deletion_grace_period_seconds = None;
        object.metadata.resource_version = 0;
        if &*key.resource == "pods" && !object.fields.contains("status") {
            object.set_field("status", &serde_json::json!({"phase": "Pending"}));
        }
        self.admit(&key, &mut object)?;
        self.put(key.clone(), object)?;
        Ok(key)
    }

    fn generated(&self, key: &Key, prefix: &str) -> Result<Key, ApiError> {
        if prefix.is_empty() {
            return Err(ApiError::bad_request(format!(
                "a new object of {} has neither name nor generateName",
                key.resource
            )));
        }
        let candidate = |attempt| {
            let end = names::suffix(self.seed, self.revision, self.made, attempt);
            key.sibling(&format!("{prefix}{end}"))
        };
        (0..ATTEMPTS)
            .map(candidate)
            .find(|key| self.now(key).is_none())
            .ok_or_else(|| ApiError::already_exists(&candidate(0)))
    }

    fn check_namespace(&self, key: &Key) -> Result<(), ApiError> {
        let ending = match self.changes.len() {
            // Nothing but this object.
            0 | 1 => self.state.index.namespace(&key.namespace),
            _ => {
                let namespace = self.now(&Key::new("namespaces", "", &key.namespace));
                namespace.map(|namespace| namespace.metadata.deletion_timestamp.is_some())
            }
        };
        match ending {
            None => Err(ApiError::not_found(&Key::new("namespaces", "", &key.namespace))),
            Some(true) => {
                let message = format!("cannot create {key}: the namespace is being deleted");
                Err(ApiError::new(Reason::Forbidden, message))
            }
            Some(false) => Ok(()),
        }
    }

    /// All but status and what the kernel keeps of the metadata.
    fn replace(&mut self, key: Key, stored: Object, mut next: Object) -> Result<(), ApiError> {
        let kept = &stored.metadata;
        if next.metadata.name != kept.name
            || (!next.metadata.namespace.is_empty() && next.metadata.namespace != kept.namespace)
        {
            return Err(ApiError::bad_request(format!(
                "the name and the namespace of {key} cannot be changed"
            )));
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
        next.fields.take_from(&stored.fields, "status");
        let same = stored.fields.same(&next.fields, |name| name != "status");
        next.metadata.generation = kept.generation + i64::from(!same);
        if !same && &*key.resource == "pods" {
            check_node(&key, &stored, &next)?;
        }
        let ending = next.metadata.deletion_timestamp.is_some() && next.metadata.finalizers.is_empty();
        // A pod that was given time to end goes when its node says so.
        if ending && next.metadata.deletion_grace_period_seconds.unwrap_or(0) == 0 {
            self.set(&key, None);
            return Ok(());
        }
        self.put(key, next)
    }

    fn replace_status(&mut self, key: Key, mut stored: Object, next: &Object) -> Result<(), ApiError> {
        stored.fields.take_from(&next.fields, "status");
        self.put(key, stored)
    }

    /// The namespaced key's kind, for messages.
    fn kind_of(key: &Key) -> &'static str {
        kinds::of_resource(&key.resource).map_or("object", |kind| kind.kind)
    }
}

/// Whether a new object is of the kind that its key says, and is where that kind lives.
fn check_kind(key: &Key, object: &Object) -> Result<(), ApiError> {
    let Some(kind) = kinds::of_resource(&key.resource) else {
        return Err(ApiError::bad_request(format!(
            "no resource \"{}\" is known",
            key.resource
        )));
    };
    if (object.api_version.as_str(), object.kind.as_str()) != (kind.api_version, kind.kind) {
        let (found, expected) = (&object.kind, kind.kind);
        return Err(ApiError::bad_request(format!(
            "{key} cannot be a {} {found}: expected {} {expected}",
            object.api_version, kind.api_version
        )));
    }
    match (kind.namespaced, key.namespace.is_empty()) {
        (true, true) => Err(ApiError::bad_request(format!(
            "{key} has no namespace, and a {} lives in one",
            kind.kind
        ))),
        (false, false) => Err(ApiError::bad_request(format!(
            "{key} has a namespace, and a {} lives in none",
            kind.kind
        ))),
        _ => Ok(()),
    }
}

/// A pod that has a node keeps it: only a binding, which is checked, gives one.
fn check_node(key: &Key, stored: &Object, next: &Object) -> Result<(), ApiError> {
    let node = |pod: &Object| PodView::of(pod).map(|view| view.node).unwrap_or_default();
    let (is, would_be) = (node(stored), node(next));
    if is.is_empty() || is == would_be {
        return Ok(());
    }
    let cause = Cause {
        field: "spec.nodeName".to_owned(),
        message: format!("it is \"{is}\" and stays so"),
    };
    Err(ApiError::invalid(
        format!("spec.nodeName of {key} cannot be changed"),
        vec![cause],
    ))
}

/// The object with a merge patch on it. Only the fields that the patch names are read; status is not among them.
fn merged(key: &Key, stored: &Object, patch: &Value) -> Result<Object, ApiError> {
    let Value::Object(patch) = patch else {
        return Err(ApiError::bad_request(format!("the patch of {key} is no JSON object")));
    };
    let mut next = stored.clone();
    for (name, patch) in patch {
        match name.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                let mut value = serde_json::to_value(&stored.metadata).unwrap_or_default();
                merge_patch(&mut value, patch);
                next.metadata = serde_json::from_value::<Meta>(value).map_err(|error| {
                    ApiError::bad_request(format!("the patch leaves {key} with no valid metadata: {error}"))
                })?;
            }
            _ => {
                let mut value = field(key, stored, name)?;
                merge_patch(&mut value, patch);
                set_or_remove(&mut next, name, &value);
            }
        }
    }
    Ok(next)
}

/// A field as a tree. What is nested too deeply for one is refused, rather than taken for nothing.
fn field(key: &Key, object: &Object, name: &str) -> Result<Value, ApiError> {
    let Some(raw) = object.fields.get(name) else {
        return Ok(Value::Null);
    };
    serde_json::from_str(raw.get())
        .map_err(|error| ApiError::bad_request(format!("{name} of {key} cannot be merged: {error}")))
}

fn set_or_remove(object: &mut Object, name: &str, value: &Value) {
    if value.is_null() {
        object.fields.remove(name);
    } else {
        object.set_field(name, value);
    }
}
