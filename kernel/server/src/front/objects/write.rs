//! Create, replace, patch and delete.
use super::{
    super::{
        access::{self, Verb},
        merge::{Lists, json_patch, strategic},
    },
    ATTEMPTS, Front, admit, key_of, scheduling, services,
};
use crate::pki::Identity;
use sampan_api::{
    ApiError, Key, Object, Operation, Plan, Reason, Revision, Write,
    plan::Deletion,
    rpc::{self, PatchType, write_response::Outcome},
};
use sampan_state::{Committed, merge_patch, would_admit};
use serde_json::Value;
use std::sync::Arc;

/// The answer to a write: the object as it is now.
pub fn response(key: &Key, object: Option<&Object>, outcome: Outcome, warnings: Vec<String>) -> rpc::WriteResponse {
    let object = object.map(|object| rpc::Object::new(key, object));
    rpc::WriteResponse {
        object,
        outcome: outcome.into(),
        warnings,
    }
}

/// What one write wrote.
fn written(committed: &Committed) -> Option<(&Key, Option<&Arc<Object>>)> {
    let key = committed.keys.first()?;
    Some((key, committed.objects.first().and_then(Option::as_ref)))
}

impl Front {
    pub(super) async fn create(
        &self,
        who: &Identity,
        request: &rpc::CreateRequest,
    ) -> Result<rpc::WriteResponse, ApiError> {
        let mut manifest = admit::read(&request.json, &request.default_namespace, request.field_validation())?;
        access::check(who, Verb::Create, &manifest.key, &self.replica.snapshot())?;
        admit::as_new(&mut manifest.object);
        self.create_object(manifest, request.dry_run).await
    }

    /// Completes, checks and writes a new object; again if what it was given was taken meanwhile.
    pub(super) async fn create_object(
        &self,
        manifest: admit::Manifest,
        dry_run: bool,
    ) -> Result<rpc::WriteResponse, ApiError> {
        let admit::Manifest { key, object, warnings } = manifest;
        let mut attempt = 0;
        let committed = loop {
            attempt += 1;
            let mut object = object.clone();
            admit::check(&key, None, &mut object, &self.replica.snapshot())?;
            self.try_policy(&key, None, &object).await?;
            if dry_run {
                self.would_create(&key, &mut object)?;
                return Ok(response(&key, Some(&object), Outcome::Created, warnings));
            }
            let write = Write::new(key.clone(), Operation::Create(object));
            match self.replica.commit_one(Plan::from(write)).await {
                Err(error) if services::was_taken(&error) && attempt < ATTEMPTS => {}
                committed => break committed?,
            }
        };
        match written(&committed) {
            Some((key, object)) => Ok(response(
                key,
                object.map(|object| &**object),
                Outcome::Created,
                warnings,
            )),
            None => Err(ApiError::internal(format!("nothing is known of what became of {key}"))),
        }
    }

    /// What the state would refuse.
    fn would_create(&self, key: &Key, object: &mut Object) -> Result<(), ApiError> {
        let state = self.replica.snapshot();
        if !key.name.is_empty() && state.get(key).is_some() {
            return Err(ApiError::already_exists(key));
        }
        let namespace = Key::new("namespaces", "", &key.namespace);
        if !key.namespace.is_empty() && state.get(&namespace).is_none() {
            return Err(ApiError::not_found(&namespace));
        }
        would_admit(&state, key, object, self.replica.now_millis())
    }

    pub(super) async fn replace(
        &self,
        who: &Identity,
        request: &rpc::ReplaceRequest,
    ) -> Result<rpc::WriteResponse, ApiError> {
        let manifest = admit::read(&request.json, &request.default_namespace, request.field_validation())?;
        let verb = if request.status {
            Verb::UpdateStatus
        } else {
            Verb::Update
        };
        let expect = manifest.object.metadata.resource_version;
        let change = Change {
            key: manifest.key,
            verb,
            expect,
            dry_run: request.dry_run,
            warnings: manifest.warnings,
        };
        self.change(who, change, |stored| match request.status {
            false => Ok(manifest.object.clone()),
            true => {
                let mut next = stored.clone();
                next.fields.take_from(&manifest.object.fields, "status");
                Ok(next)
            }
        })
        .await
    }

    pub(super) async fn patch(
        &self,
        who: &Identity,
        request: &rpc::PatchRequest,
    ) -> Result<rpc::WriteResponse, ApiError> {
        let key = key_of(request.key.as_ref())?;
        admit::check_depth(&request.patch)?;
        let verb = if request.status {
            Verb::UpdateStatus
        } else {
            Verb::Patch
        };
        let patch = Patch::read(request)?;
        let change = Change {
            key,
            verb,
            expect: request.expect,
            dry_run: request.dry_run,
            warnings: Vec::new(),
        };
        self.change(who, change, |stored| patch.on(stored)).await
    }

    /// Changes an object that is there; decided again if it was changed meanwhile and the caller does not mind.
    pub(super) async fn change(
        &self,
        who: &Identity,
        change: Change,
        next: impl Fn(&Object) -> Result<Object, ApiError>,
    ) -> Result<rpc::WriteResponse, ApiError> {
        let Change {
            key,
            verb,
            expect,
            dry_run,
            warnings,
        } = change;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let state = self.replica.snapshot();
            access::check(who, verb, &key, &state)?;
            let stored = state.get(&key).ok_or_else(|| ApiError::not_found(&key))?;
            let mut next = next(&stored)?;
            let named = next.metadata.resource_version;
            let expect = if expect == 0 { named } else { expect };
            if ![0, stored.metadata.resource_version].contains(&expect) {
                return Err(ApiError::conflict(&key, expect, stored.metadata.resource_version));
            }
            if next.metadata.namespace.is_empty() {
                next.metadata.namespace.clone_from(&stored.metadata.namespace);
            }
            scheduling::keep_priority(&stored, &mut next);
            admit::check(&key, Some(&stored), &mut next, &state)?;
            self.try_policy(&key, Some(&stored), &next).await?;
            if dry_run {
                let same = *stored == next;
                let outcome = if same { Outcome::Unchanged } else { Outcome::Configured };
                return Ok(response(&key, Some(&next), outcome, warnings));
            }
            let operation = match verb {
                Verb::UpdateStatus => Operation::ReplaceStatus(next),
                _ => Operation::Replace(next),
            };
            let write = Write::new(key.clone(), operation).expecting(stored.metadata.resource_version);
            match self.replica.commit_one(Plan::from(write)).await {
                // Decided again on what is there now; who named a revision is told so by then.
                Err(error) if error.reason == Reason::Conflict && attempt < ATTEMPTS => {}
                Err(error) if services::was_taken(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
                Ok(committed) => {
                    let object = written(&committed).and_then(|(_, object)| object);
                    let unchanged = object
                        .is_some_and(|object| object.metadata.resource_version == stored.metadata.resource_version);
                    let outcome = match object {
                        Some(_) if unchanged => Outcome::Unchanged,
                        Some(_) => Outcome::Configured,
                        None => Outcome::Deleted,
                    };
                    let object = object.map_or(&*stored, |object| &**object);
                    return Ok(response(&key, Some(object), outcome, warnings));
                }
            }
        }
    }

    pub(super) async fn delete(
        &self,
        who: &Identity,
        request: &rpc::DeleteRequest,
    ) -> Result<rpc::WriteResponse, ApiError> {
        let key = key_of(request.key.as_ref())?;
        let state = self.replica.snapshot();
        access::check(who, Verb::Delete, &key, &state)?;
        admit::deletion(&key)?;
        let stored = state.get(&key).ok_or_else(|| ApiError::not_found(&key))?;
        let found = stored.metadata.resource_version;
        if request.expect != 0 && request.expect != found {
            return Err(ApiError::conflict(&key, request.expect, found));
        }
        if request.evict && &*key.resource == "pods" {
            return self.evict(&key, request).await;
        }
        if request.dry_run {
            return Ok(response(&key, Some(&stored), Outcome::Deleted, Vec::new()));
        }
        let deletion = Deletion {
            uid: request.uid.clone(),
            grace_period_seconds: request.grace_period_seconds,
            final_: false,
            propagation: request.propagation().into(),
        };
        let write = Write::new(key.clone(), Operation::Delete(deletion)).expecting(request.expect);
        let committed = self.replica.commit_one(Plan::from(write)).await?;
        Ok(deleted(
            &key,
            &stored,
            written(&committed).and_then(|(_, object)| object),
        ))
    }
}

/// The answer to a deletion: what is left of the object, or as it was.
pub fn deleted(key: &Key, stored: &Object, left: Option<&Arc<Object>>) -> rpc::WriteResponse {
    match left {
        Some(object) => response(key, Some(object), Outcome::Deleting, Vec::new()),
        None => response(key, Some(stored), Outcome::Deleted, Vec::new()),
    }
}

/// A change that is asked for.
pub struct Change {
    pub key: Key,
    pub verb: Verb,
    /// The revision it was decided on; 0 is any.
    pub expect: Revision,
    pub dry_run: bool,
    pub warnings: Vec<String>,
}

enum Patch {
    Merge(Value),
    Strategic(Value),
    Json(Vec<u8>),
}

impl Patch {
    fn read(request: &rpc::PatchRequest) -> Result<Self, ApiError> {
        let value = || -> Result<Value, ApiError> {
            let wrong = |error| ApiError::bad_request(format!("the patch is not valid JSON: {error}"));
            let value: Value = serde_json::from_slice(&request.patch).map_err(wrong)?;
            match value {
                Value::Object(_) => Ok(value),
                _ => Err(ApiError::bad_request("the patch must be a JSON object")),
            }
        };
        match request.r#type() {
            PatchType::Unspecified | PatchType::Merge => value().map(Patch::Merge),
            PatchType::Strategic => value().map(Patch::Strategic),
            PatchType::Json => Ok(Patch::Json(request.patch.to_vec())),
        }
    }

    fn on(&self, stored: &Object) -> Result<Object, ApiError> {
        let mut value = stored.to_value();
        let value = match self {
            Patch::Merge(patch) => {
                merge_patch(&mut value, patch);
                value
            }
            Patch::Strategic(patch) => strategic::patch(Lists::of(stored.kind_info()?), &value, patch)?,
            Patch::Json(patch) => json_patch::patch(&value, patch)?,
        };
        admit::object_of(&value)
    }
}
