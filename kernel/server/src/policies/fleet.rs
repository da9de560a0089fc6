//! The plugins as they are wanted: loaded, lined up by slot, and taken out when they fail.
//!
//! Plugin objects say what is wanted. One thread compiles and tries out what is new, aside from the loops that decide,
//! and then publishes each slot's line-up; a loop takes a new line-up between two decisions. A failure is reported to
//! the fleet, whose breaker says whether to try again or to go back to the last good plugin, which the leader makes part
//! of the state.
use super::{comparing::Comparison, narrate::Narrator};
use crate::replica::ReplicaHandle;
use parking_lot::Mutex;
use sampan_api::{
    ApiError, Key, Object, Operation, Plan, Selection, Write,
    plugin::{self, DEFAULT_SCHEDULER, Mode, PluginSpec},
    rpc::PluginFigures,
};
use sampan_sandbox::{Breaker, CallError, Figures, Limits, Loaded, PluginEngine};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};
use tokio::sync::watch;

/// A loaded plugin and its figures.
#[derive(Clone)]
pub struct Member {
    pub name: String,
    pub digest: String,
    pub loaded: Arc<Loaded>,
    figures: Arc<Mutex<Figures>>,
    /// What it said as a shadow.
    pub comparison: Arc<Mutex<Comparison>>,
}

/// The same name, bytes and configuration.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.loaded, &other.loaded)
    }
}

/// Who decides in a slot, who decides beside, and who comes after.
#[derive(Clone, Default, PartialEq)]
pub struct LineUp {
    pub active: Option<Member>,
    pub shadow: Option<Member>,
    pub last_good: Option<Member>,
    /// The term whose state wants it so.
    pub term: Option<u64>,
}

/// What to do after a failure.
pub enum Verdict {
    /// With a fresh instance of the same plugin.
    TryAgain,
    /// With the one that was good before, or without any.
    RolledBack(Option<Member>),
}

/// A plugin that is wanted and cannot be loaded.
pub struct Unfit {
    pub name: String,
    pub why: String,
    /// It may go well another time, so it is not taken out for it.
    pub passes: bool,
}

/// All plugins of this replica.
pub struct Fleet {
    replica: ReplicaHandle,
    engine: Arc<PluginEngine>,
    narrator: Narrator,
    slots: Mutex<BTreeMap<String, watch::Sender<LineUp>>>,
    /// What was loaded, by name; a new digest or config takes the place of the old.
    loaded: Mutex<HashMap<String, (PluginSpec, Member)>>,
    breakers: Mutex<HashMap<(String, String), Breaker>>,
}

impl Member {
    /// Keeps an instance's newest figures.
    pub fn record(&self, figures: Figures) {
        *self.figures.lock() = figures;
    }
}

impl Fleet {
    pub fn new(replica: ReplicaHandle, engine: Arc<PluginEngine>, narrator: Narrator) -> Self {
        Fleet {
            replica,
            engine,
            narrator,
            slots: Mutex::default(),
            loaded: Mutex::default(),
            breakers: Mutex::default(),
        }
    }

    /// The line-up of a slot, now and whenever it changes.
    pub fn line_up(&self, slot: &str) -> watch::Receiver<LineUp> {
        self.slots
            .lock()
            .entry(slot.to_owned())
            .or_insert_with(|| watch::channel(LineUp::default()).0)
            .subscribe()
    }

    /// The slots that plugins of a world fill, by the state.
    pub fn wanted_slots(&self, world: plugin::World) -> Vec<String> {
        let specs = self.specs().into_iter().filter(|(_, spec)| spec.world == world);
        let mut slots: Vec<String> = specs.map(|(_, spec)| spec.slot).collect();
        slots.sort();
        slots.dedup();
        slots
    }

    /// Those that servers run.
    fn specs(&self) -> Vec<(Arc<Object>, PluginSpec)> {
        let snapshot = self.replica.snapshot();
        let plugins = Selection::of(plugin::RESOURCE);
        let objects = snapshot.list(&plugins).map(|(_, object)| object);
        objects
            .filter_map(|object| object.field("spec").ok().map(|spec| (object, spec)))
            .filter(|(_, spec): &(_, PluginSpec)| !spec.world.runs_on_nodes())
            .collect()
    }

    /// Brings the line-ups to what the state wants. Compiles what is new: may take long. Says who cannot be loaded.
    pub fn muster(&self, term: Option<u64>) -> Vec<Unfit> {
        let mut specs = self.specs();
        self.loaded
            .lock()
            .retain(|name, _| specs.iter().any(|(object, _)| object.metadata.name == *name));
        // In a new term nobody decides whom an earlier one has taken out, however long the others take to load. But pods that
        // name a scheduler which is new wait until it is loaded; by the default name they are placed from the first moment.
        let slots: Vec<String> = self.slots.lock().keys().cloned().collect();
        let is_old = |slot: &&String| {
            let line_up = self.line_up(slot);
            let before = line_up.borrow();
            before.term != term && (*before != LineUp::default() || *slot == DEFAULT_SCHEDULER)
        };
        slots
            .iter()
            .filter(is_old)
            .for_each(|slot| self.publish(slot, &specs, term));
        // Schedulers first, and of each slot who decides: what waits is waited for least.
        specs.sort_by_key(|(_, spec)| (spec.mode != Mode::Active, spec.world != plugin::World::Scheduler));
        let mut unfit = Vec::new();
        for (object, spec) in specs.iter().filter(|(_, spec)| spec.mode != Mode::Standby) {
            unfit.extend(self.load(object, spec).err());
            self.publish(&spec.slot, &specs, term);
        }
        slots.iter().for_each(|slot| self.publish(slot, &specs, term));
        // Who stands by is compiled last, so that its activation finds it warm.
        for (object, spec) in specs.iter().filter(|(_, spec)| spec.mode == Mode::Standby) {
            unfit.extend(self.load(object, spec).err());
        }
        if term.is_some() && !self.engine.is_closed() {
            for waits in unfit.iter().filter(|unfit: &&Unfit| unfit.passes) {
                let key = Key::new(plugin::RESOURCE, "", &waits.name);
                self.narrator.warning(&key, "PluginNotCompiled", &waits.why);
            }
        }
        unfit
    }

    /// Makes the line-up of a slot what the state wants, of those who are loaded.
    fn publish(&self, slot: &str, specs: &[(Arc<Object>, PluginSpec)], term: Option<u64>) {
        let seat = |mode: Mode| {
            let mut of_slot = specs.iter().filter(|(_, spec)| spec.slot == slot && spec.mode == mode);
            of_slot.find_map(|(object, spec)| self.loaded(&object.metadata.name, spec))
        };
        let line_up = LineUp {
            active: seat(Mode::Active),
            shadow: seat(Mode::Shadow),
            last_good: seat(Mode::LastGood),
            term,
        };
        let mut slots = self.slots.lock();
        let sender = slots
            .entry(slot.to_owned())
            .or_insert_with(|| watch::channel(LineUp::default()).0);
        sender.send_if_modified(|current| {
            let changed = *current != line_up;
            *current = line_up;
            changed
        });
    }

    /// The plugin as it is wanted, if it is loaded.
    fn loaded(&self, name: &str, spec: &PluginSpec) -> Option<Member> {
        let same = |old: &PluginSpec| old.digest == spec.digest && old.config == spec.config && old.world == spec.world;
        let loaded = self.loaded.lock();
        let (_, member) = loaded.get(name).filter(|(old, _)| same(old))?;
        Some(member.clone())
    }

    fn load(&self, object: &Object, spec: &PluginSpec) -> Result<(), Unfit> {
        let name = &object.metadata.name;
        if self.loaded(name, spec).is_some() || self.engine.is_closed() {
            return Ok(());
        }
        let unfit = |why: String, passes: bool| {
            tracing::warn!(plugin = name, digest = spec.digest, why, "a plugin cannot be loaded");
            Unfit {
                name: name.clone(),
                why,
                passes,
            }
        };
        let bytes = self.replica.snapshot().blob(&spec.digest);
        let bytes = bytes.ok_or_else(|| unfit(format!("its bytes ({}) are not in the state", spec.digest), false))?;
        let started = Instant::now();
        let loaded = self
            .engine
            .load(spec.world, &bytes, &spec.config, Limits::for_world(spec.world));
        let loaded = match loaded {
            Err(_) if self.engine.is_closed() => return Ok(()),
            loaded => loaded.map_err(|error| unfit(error.to_string(), error.passes()))?,
        };
        tracing::info!(plugin = name, digest = spec.digest, elapsed = ?started.elapsed(), "loaded a plugin");
        let member = Member {
            name: name.clone(),
            digest: spec.digest.clone(),
            loaded: Arc::new(loaded),
            figures: Arc::default(),
            comparison: Arc::default(),
        };
        self.loaded.lock().insert(name.clone(), (spec.clone(), member));
        Ok(())
    }

    /// An instance failed. Says how to go on; where this member leads, a roll-back becomes part of the state.
    pub fn failed(&self, term: Option<u64>, member: &Member, error: &CallError) -> Verdict {
        tracing::warn!(plugin = member.name, digest = member.digest, %error, "a plugin failed");
        if term.is_some() {
            let key = Key::new(plugin::RESOURCE, "", &member.name);
            self.narrator.warning(&key, "PluginFailed", &error.to_string());
        }
        let mut breakers = self.breakers.lock();
        let breaker = breakers
            .entry((member.name.clone(), member.digest.clone()))
            .or_default();
        if !breaker.failed(Instant::now()) {
            return Verdict::TryAgain;
        }
        breakers.remove(&(member.name.clone(), member.digest.clone()));
        drop(breakers);
        Verdict::RolledBack(term.and_then(|term| self.give_up(term, &member.name, &error.to_string())))
    }

    /// A plugin is beyond trying again; who comes after it.
    pub fn unfit(&self, term: Option<u64>, member: &Member, error: &CallError) -> Option<Member> {
        tracing::warn!(plugin = member.name, digest = member.digest, %error, "a plugin fails whatever it is asked");
        let breaker = (member.name.clone(), member.digest.clone());
        self.breakers.lock().remove(&breaker);
        term.and_then(|term| self.give_up(term, &member.name, &error.to_string()))
    }

    /// Takes a plugin out of the line-up, as one plan: it stands by as failed, and the last good one of its slot, if
    /// there is one, is active again.
    pub fn give_up(&self, term: u64, name: &str, why: &str) -> Option<Member> {
        let key = Key::new(plugin::RESOURCE, "", name);
        for _ in 0..3 {
            let snapshot = self.replica.snapshot();
            let object = snapshot.get(&key)?;
            let spec: PluginSpec = object.field("spec").ok()?;
            if !matches!(spec.mode, Mode::Active | Mode::Shadow) {
                return None;
            }
            let mut writes = vec![mode_write(&key, &object, Mode::Standby)];
            let last_good = (spec.mode == Mode::Active)
                .then(|| self.last_good(&spec.slot))
                .flatten();
            if let Some(next) = &last_good {
                writes.push(mode_write(
                    &Key::new(plugin::RESOURCE, "", &next.metadata.name),
                    next,
                    Mode::Active,
                ));
            }
            let failed = json!({"status": {"phase": "Failed", "message": why}});
            writes.push(Write::new(key.clone(), Operation::MergeStatus(failed)));
            match self.commit(term, Plan { writes }) {
                Ok(()) => {
                    let to = last_good.as_ref().map(|object| object.metadata.name.clone());
                    let next = to.as_deref().map_or("the built-in policy", |name| name);
                    let message = format!("rolled back to {next}: {why}");
                    tracing::warn!(plugin = name, "{message}");
                    self.narrator.warning(&key, "PluginRolledBack", &message);
                    let loaded = self.loaded.lock();
                    return to.and_then(|name| loaded.get(&name).map(|(_, member)| member.clone()));
                }
                // Somebody else changed the line-up at the same time: look again.
                Err(error) if error.reason == sampan_api::Reason::Conflict => {}
                Err(error) => {
                    tracing::error!(plugin = name, %error, "a failed plugin could not be taken out of the state");
                    return None;
                }
            }
        }
        None
    }

    fn last_good(&self, slot: &str) -> Option<Arc<Object>> {
        let specs = self.specs().into_iter();
        specs
            .filter(|(_, spec)| spec.slot == slot && spec.mode == Mode::LastGood)
            .map(|(object, _)| object)
            .next()
    }

    fn commit(&self, term: u64, plan: Plan) -> Result<(), ApiError> {
        let results = self.replica.commit_blocking_in(term, vec![plan])?;
        results.into_iter().try_for_each(|result| result.map(drop))
    }

    /// A plugin that is loaded here.
    pub fn member(&self, name: &str) -> Option<Member> {
        let loaded = self.loaded.lock();
        loaded.get(name).map(|(_, member)| member.clone())
    }

    /// Nobody is loaded any more.
    pub fn close(&self) {
        self.engine.close();
    }

    /// What is known of a plugin that is loaded here.
    pub fn figures(&self, name: &str) -> Option<PluginFigures> {
        let loaded = self.loaded.lock();
        let (_, member) = loaded.get(name)?;
        let figures = *member.figures.lock();
        let tally = member.comparison.lock().tally();
        Some(PluginFigures {
            calls: figures.calls,
            traps: figures.traps,
            memory_bytes: figures.memory_bytes,
            p50_micros: figures.p50_micros,
            p99_micros: figures.p99_micros,
            compared: tally.all(),
            differed: tally.differed(),
            ..PluginFigures::default()
        })
    }
}

/// The write that changes a plugin's mode, if it is as it was seen.
pub fn mode_write(key: &Key, object: &Object, mode: Mode) -> Write {
    let patch = json!({"spec": {"mode": mode}});
    Write::new(key.clone(), Operation::Merge(patch)).expecting(object.metadata.resource_version)
}
