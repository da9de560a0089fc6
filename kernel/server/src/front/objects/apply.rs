//! Apply: create, or merge with what is there and with what was applied last.
use super::{
    super::{
        access::{self, Verb},
        merge::{Lists, three_way},
    },
    ATTEMPTS, Front, admit,
    write::Change,
};
use crate::pki::Identity;
use sampan_api::{ApiError, Object, Reason, rpc};
use serde_json::Value;

/// Where an object keeps what was applied last; kubectl's, so that both see each other's.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Front {
    pub(super) async fn apply(
        &self,
        who: &Identity,
        request: &rpc::ApplyRequest,
    ) -> Result<rpc::WriteResponse, ApiError> {
        for _ in 0..ATTEMPTS {
            let manifest = admit::read(&request.json, &request.default_namespace, request.field_validation())?;
            if manifest.key.name.is_empty() {
                let message = "apply needs metadata.name: with generateName there is nothing to merge with; use create";
                return Err(ApiError::bad_request(message));
            }
            let stored = self.replica.snapshot().get(&manifest.key);
            let was_there = stored.is_some();
            let result = match stored {
                None => self.apply_new(who, manifest, request.dry_run).await,
                Some(stored) => self.apply_on(who, manifest, &stored, request.dry_run).await,
            };
            match result {
                // It came or went between the look and the write: look again.
                Err(error) if error.reason == Reason::AlreadyExists => {}
                Err(error) if error.reason == Reason::NotFound && was_there => {}
                other => return other,
            }
        }
        Err(ApiError::new(
            Reason::Conflict,
            "the object comes and goes all the time: try again",
        ))
    }

    async fn apply_new(
        &self,
        who: &Identity,
        mut manifest: admit::Manifest,
        dry_run: bool,
    ) -> Result<rpc::WriteResponse, ApiError> {
        access::check(who, Verb::Create, &manifest.key, &self.replica.snapshot())?;
        let wanted = wanted(&manifest.object);
        manifest.object.metadata.resource_version = 0;
        manifest
            .object
            .metadata
            .annotations
            .insert(LAST_APPLIED.to_owned(), wanted.to_string());
        admit::as_new(&mut manifest.object);
        self.create_object(manifest, dry_run).await
    }

    async fn apply_on(
        &self,
        who: &Identity,
        mut manifest: admit::Manifest,
        stored: &Object,
        dry_run: bool,
    ) -> Result<rpc::WriteResponse, ApiError> {
        let wanted = wanted(&manifest.object);
        let (uid, its) = (&manifest.object.metadata.uid, &stored.metadata.uid);
        if !uid.is_empty() && uid != its {
            let message = format!(
                "{} is another object now: its uid is {its}, and the manifest says {uid}",
                manifest.key
            );
            return Err(ApiError::new(Reason::Conflict, message));
        }
        if !stored.metadata.annotations.contains_key(LAST_APPLIED) {
            let message = format!(
                "{} was not made by apply: what the manifest does not name stays as it is; from now on apply knows what it set",
                manifest.key
            );
            manifest.warnings.push(message);
        }
        let lists = Lists::of(stored.kind_info()?);
        let expect = manifest.object.metadata.resource_version;
        let change = Change {
            key: manifest.key,
            verb: Verb::Patch,
            expect,
            dry_run,
            warnings: manifest.warnings,
        };
        self.change(who, change, |stored| merged(lists, &wanted, stored)).await
    }
}

/// What a manifest asks for, without what the cluster alone gives.
fn wanted(object: &Object) -> Value {
    let mut object = object.clone();
    object.metadata.annotations.remove(LAST_APPLIED);
    object.metadata.uid = String::new();
    object.metadata.resource_version = 0;
    object.metadata.generation = 0;
    object.metadata.creation_timestamp = None;
    object.metadata.deletion_timestamp = None;
    object.metadata.deletion_grace_period_seconds = None;
    object.fields.remove("status");
    object.to_value()
}

fn merged(lists: Lists, wanted: &Value, stored: &Object) -> Result<Object, ApiError> {
    let last = stored.metadata.annotations.get(LAST_APPLIED);
    let last: Value = last
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let merged = three_way::merge(lists, &last, wanted, &stored.to_value());
    let mut object = admit::object_of(&merged)?;
    object
        .metadata
        .annotations
        .insert(LAST_APPLIED.to_owned(), wanted.to_string());
    Ok(object)
}
