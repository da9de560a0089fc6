//! Which plugin decides: each change is one plan over all the plugins whose mode it changes, decided again if somebody
//! else was faster.
use super::{Plugins, found};
use crate::policies::mode_write;
use sampan_api::{
    ApiError, Key, Object, Operation, Plan, Reason, Selection, Write,
    plan::Deletion,
    plugin::{self, Mode, PluginSpec, World},
    rpc,
};
use sampan_state::Snapshot;
use serde_json::json;
use std::sync::Arc;

/// How often a change is decided again.
pub const ATTEMPTS: usize = 8;

/// A plugin of a slot.
struct Seat {
    key: Key,
    object: Arc<Object>,
    spec: PluginSpec,
}

impl Seat {
    fn write(&self, mode: Mode) -> Write {
        mode_write(&self.key, &self.object, mode)
    }
}

/// All plugins of the slot and the world that one of them fills, and which of them it is.
fn slot_of(state: &Snapshot, name: &str) -> Result<(Vec<Seat>, usize), ApiError> {
    let (key, object) = found(state, name)?;
    let spec: PluginSpec = object.field("spec")?;
    let (world, slot) = (spec.world, spec.slot.clone());
    let mut seats = vec![Seat { key, object, spec }];
    for (key, object) in state.list(&Selection::of(plugin::RESOURCE)) {
        let spec: PluginSpec = object.field("spec").unwrap_or_default();
        if *key.name != *name && spec.slot == slot && spec.world == world {
            seats.push(Seat { key, object, spec });
        }
    }
    Ok((seats, 0))
}

/// A change of modes, and what to say of it.
struct Change {
    writes: Vec<Write>,
    /// The plugin to answer with.
    answer: Key,
    reason: &'static str,
    message: String,
}

impl Plugins {
    async fn change(&self, decide: impl Fn(&Snapshot) -> Result<Change, ApiError>) -> Result<rpc::Object, ApiError> {
        for _ in 0..ATTEMPTS {
            let change = decide(&self.front.replica.snapshot())?;
            if !change.writes.is_empty() {
                match self.commit(Plan { writes: change.writes }).await {
                    Err(error) if error.reason == Reason::Conflict => continue,
                    Err(error) => return Err(error),
                    Ok(_) => self
                        .front
                        .narrator
                        .normal(&change.answer, change.reason, &change.message),
                }
            }
            let object = self.front.replica.snapshot().get(&change.answer);
            let object = object.ok_or_else(|| ApiError::not_found(&change.answer))?;
            return Ok(rpc::Object::new(&change.answer, &object));
        }
        Err(ApiError::new(
            Reason::Conflict,
            "the plugins of the slot change all the time: try again",
        ))
    }

    /// The plugin decides; the one before is the last good one, and the one before that stands by.
    pub(super) async fn activate_named(&self, name: &str) -> Result<rpc::Object, ApiError> {
        self.change(|state| {
            let (seats, this) = slot_of(state, name)?;
            let this = &seats[this];
            let answer = this.key.clone();
            if this.spec.mode == Mode::Active {
                return Ok(Change {
                    writes: Vec::new(),
                    answer,
                    reason: "",
                    message: String::new(),
                });
            }
            let before = seats.iter().find(|seat| seat.spec.mode == Mode::Active);
            let mut writes = vec![this.write(Mode::Active), ready(&this.key)];
            if let Some(before) = before {
                let older = seats
                    .iter()
                    .filter(|seat| seat.spec.mode == Mode::LastGood && seat.key != this.key);
                writes.extend(older.map(|seat| seat.write(Mode::Standby)));
                writes.push(before.write(Mode::LastGood));
            }
            let instead = before.map_or(String::new(), |before| format!(" instead of \"{}\"", before.key.name));
            let message = format!("it decides in the slot \"{}\" now{instead}", this.spec.slot);
            Ok(Change {
                writes,
                answer,
                reason: "PluginActivated",
                message,
            })
        })
        .await
    }

    /// The plugin decides beside the active one, and nothing of what it says is done.
    pub(super) async fn shadow_named(&self, name: &str) -> Result<rpc::Object, ApiError> {
        self.change(|state| {
            let (seats, this) = slot_of(state, name)?;
            let this = &seats[this];
            let answer = this.key.clone();
            let alone = match this.spec.world {
                World::Filter => "is a filter: it answers requests",
                World::Ipam => "gives pods their addresses: a pod has one",
                _ => "",
            };
            if !alone.is_empty() {
                let message = format!("{answer} {alone}, so nobody is asked beside another");
                return Err(ApiError::new(Reason::Invalid, message));
            }
            let mut writes = Vec::new();
            match this.spec.mode {
                Mode::Active => {
                    let message =
                        format!("{answer} is active: activate another one first, or it would leave its slot empty");
                    return Err(ApiError::new(Reason::Conflict, message));
                }
                Mode::Shadow => {}
                Mode::Standby | Mode::LastGood => {
                    writes.extend([this.write(Mode::Shadow), ready(&this.key)]);
                    let others = seats.iter().filter(|seat| seat.spec.mode == Mode::Shadow);
                    writes.extend(others.map(|seat| seat.write(Mode::Standby)));
                }
            }
            let message = format!("it is asked beside the active one of the slot \"{}\"", this.spec.slot);
            Ok(Change {
                writes,
                answer,
                reason: "PluginShadows",
                message,
            })
        })
        .await
    }

    /// The last good plugin of the slot decides again, and the one that did becomes the last good one.
    pub(super) async fn rollback_named(&self, name: &str) -> Result<rpc::Object, ApiError> {
        self.change(|state| {
            let (seats, this) = slot_of(state, name)?;
            let slot = &seats[this].spec.slot;
            let active = seats.iter().find(|seat| seat.spec.mode == Mode::Active);
            if let Some(active) = active.filter(|active| active.key != seats[this].key) {
                let (key, active) = (&seats[this].key, &active.key.name);
                let message = format!(
                    "{key} does not decide in the slot \"{slot}\", \"{active}\" does: `sampan plugin rollback {active}` \
                     goes back from it"
                );
                return Err(ApiError::new(Reason::Conflict, message));
            }
            let good = seats
                .iter()
                .find(|seat| seat.spec.mode == Mode::LastGood)
                .ok_or_else(|| {
                    ApiError::new(
                        Reason::Conflict,
                        format!("there is no last good plugin in the slot \"{slot}\" to go back to"),
                    )
                })?;
            let mut writes = vec![good.write(Mode::Active)];
            writes.extend(active.map(|seat| seat.write(Mode::LastGood)));
            let from = active.map_or("nothing", |seat| &*seat.key.name);
            let message = format!("rolled back from \"{from}\" in the slot \"{slot}\"");
            Ok(Change {
                writes,
                answer: good.key.clone(),
                reason: "PluginRolledBack",
                message,
            })
        })
        .await
    }

    /// The plugin goes, and its bytes unless another one has the same. `force`: also if nobody decides in its slot then.
    pub(super) async fn remove_named(&self, name: &str, force: bool) -> Result<rpc::Object, ApiError> {
        let (key, object) = found(&self.front.replica.snapshot(), name)?;
        let spec: PluginSpec = object.field("spec")?;
        if spec.mode == Mode::Active && !force {
            let message = format!(
                "{key} decides in the slot \"{}\": activate another one first, or leave the slot empty with --force",
                spec.slot
            );
            return Err(ApiError::new(Reason::Conflict, message));
        }
        let write = Write::new(key.clone(), Operation::Delete(Deletion::default()));
        self.commit(write.expecting(object.metadata.resource_version).into())
            .await?;
        self.front
            .narrator
            .normal(&key, "PluginRemoved", &format!("{} was removed", spec.digest));
        self.forget_bytes_of(&object).await;
        Ok(rpc::Object::new(&key, &object))
    }

    /// Lets go of the bytes of a plugin that is no more, unless another one has the same.
    pub(super) async fn forget_bytes_of(&self, object: &Object) {
        let digest = object.field::<PluginSpec>("spec").unwrap_or_default().digest;
        let state = self.front.replica.snapshot();
        let selection = Selection::of(plugin::RESOURCE);
        let mut others = state
            .list(&selection)
            .map(|(_, other)| other.field::<PluginSpec>("spec").unwrap_or_default());
        if others.any(|spec| spec.digest == digest) {
            return;
        }
        drop(others);
        if let Err(error) = self.front.replica.forget_blobs(vec![digest]).await {
            tracing::warn!(%error, "the bytes of a plugin that was removed are still kept");
        }
    }
}

/// What was said of a plugin that failed once no longer holds when it is tried again.
fn ready(key: &Key) -> Write {
    let status = json!({"status": {"phase": "Ready", "message": null}});
    Write::new(key.clone(), Operation::MergeStatus(status))
}
