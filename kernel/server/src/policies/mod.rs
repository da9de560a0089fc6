//! The policies: plugins that decide, and the loops that ask them and carry out what they say.
//!
//! Plugins never run inside the state machine: the leader asks them and replicates what was decided.
mod asking;
mod comparing;
mod controllers;
mod fleet;
mod follow;
mod narrate;
pub mod replay;
mod scheduling;
mod seats;
#[cfg(test)]
mod tests;

pub use comparing::{Differing, MOST as MOST_DIFFERING, Report as ComparisonReport, Side};
pub use fleet::mode_write;
pub use narrate::Narrator;
pub use scheduling::Recorded;

use crate::replica::{Batch, ReplicaHandle};
use asking::Desks;
use controllers::Controlling;
use fleet::{Fleet, Unfit};
use follow::{Follower, Work};
use sampan_api::{
    ApiError, Key,
    plugin::{DEFAULT_SCHEDULER, RESOURCE, World},
    rpc::{self, PluginFigures},
};
use sampan_sandbox::PluginEngine;
use sampan_state::Snapshot;
use scheduling::Scheduling;
use std::{
    collections::BTreeSet,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Before a plugin is loaded again that could not be compiled.
const AGAIN: Duration = Duration::from_secs(10);

/// The running policies of this replica.
pub struct Policies {
    fleet: Arc<Fleet>,
    desks: Arc<Desks>,
    stop: CancellationToken,
    thread: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Policies {
    /// Starts the fleet and the loops of all slots that plugins fill, now and later. Returns at once: until a plugin is
    /// compiled the built-in placing serves the default scheduler's name; pods of other names, and controllers, wait.
    pub fn start(replica: ReplicaHandle, engine: Arc<PluginEngine>, narrator: &Narrator) -> Self {
        let leadership = replica.leadership();
        Self::start_led(replica, leadership, engine, narrator)
    }

    fn start_led(
        replica: ReplicaHandle,
        leadership: watch::Receiver<Option<u64>>,
        engine: Arc<PluginEngine>,
        narrator: &Narrator,
    ) -> Self {
        let stop = CancellationToken::new();
        let fleet = Arc::new(Fleet::new(replica.clone(), engine, narrator.of("plugins")));
        let desks = Arc::new(Desks::default());
        let mut recruiter = Recruiter {
            desks: desks.clone(),
            replica,
            leadership,
            fleet: fleet.clone(),
            narrator: narrator.clone(),
            stop: stop.clone(),
            slots: BTreeSet::new(),
            loops: Vec::new(),
            term: None,
            stale: true,
            unfit: Vec::new(),
            again: None,
        };
        let thread = spawn("plugins", move || recruiter.run());
        Policies {
            fleet,
            desks,
            stop,
            thread: parking_lot::Mutex::new(thread),
        }
    }

    /// What is known of a plugin that is loaded here.
    pub fn figures(&self, name: &str) -> Option<PluginFigures> {
        self.fleet.figures(name)
    }

    /// What the policy of a scheduler's name says of a pod now, with so many verdicts at the most.
    ///
    /// # Errors
    /// If no policy there explains this pod.
    pub async fn explain(&self, scheduler: &str, pod: Key, most: u32) -> Result<rpc::SchedulingExplanation, ApiError> {
        self.desks.explain(scheduler, pod, most).await
    }

    /// What the policy of a scheduler's name is told and answers from now on, for so many decisions; 0: until nobody listens.
    /// Only where this member leads.
    ///
    /// # Errors
    /// If no policy decides there, or is being recorded.
    pub async fn record(
        &self,
        scheduler: &str,
        cluster: &str,
        decisions: u64,
    ) -> Result<mpsc::UnboundedReceiver<Recorded>, ApiError> {
        self.desks.record(scheduler, cluster.to_owned(), decisions).await
    }

    /// What a shadow said, held against what was done; with so many decisions that differed at the most.
    pub fn compared(&self, name: &str, most: usize) -> Option<ComparisonReport> {
        let member = self.fleet.member(name)?;
        let comparison = member.comparison.lock();
        Some(comparison.report(most))
    }

    /// Places the pods of a scene anew by a plugin that is loaded here, by a fresh instance. Blocks.
    ///
    /// # Errors
    /// If there is none, or how it failed.
    pub fn place_anew(&self, name: &str, scene: &replay::Scene) -> Result<replay::Outcome, String> {
        let member = self.fleet.member(name).ok_or("it is not loaded on this server yet")?;
        let plugin = member.loaded.scheduler().map_err(|error| error.to_string())?;
        replay::place_anew(scene, plugin).map_err(|error| error.to_string())
    }

    /// Stops all loops and waits for them. Blocks for as long as a policy may take to decide.
    pub fn shutdown(&self) {
        self.stop.cancel();
        self.fleet.close();
        self.thread.lock().take().into_iter().for_each(join);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let thread = std::thread::Builder::new()
        .name(name.chars().take(15).collect())
        .spawn(run);
    thread
        .map_err(|error| tracing::error!(name, %error, "a policy loop cannot start"))
        .ok()
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a policy loop had panicked");
    }
}

/// Keeps the fleet as the state wants it, and a loop for each slot.
struct Recruiter {
    desks: Arc<Desks>,
    replica: ReplicaHandle,
    leadership: watch::Receiver<Option<u64>>,
    fleet: Arc<Fleet>,
    narrator: Narrator,
    stop: CancellationToken,
    slots: BTreeSet<String>,
    loops: Vec<JoinHandle<()>>,
    /// The term of the line-ups, and whether the state may want others by now.
    term: Option<u64>,
    stale: bool,
    /// Who is wanted and cannot be loaded.
    unfit: Vec<Unfit>,
    /// When those are loaded again that could not be compiled, for want of memory or time.
    again: Option<Instant>,
}

impl Recruiter {
    fn run(&mut self) {
        self.follower("plugins").run(self);
        self.loops.drain(..).for_each(join);
    }

    fn follower(&self, name: &str) -> Follower {
        Follower {
            name: name.to_owned(),
            replica: self.replica.clone(),
            leadership: self.leadership.clone(),
            stop: self.stop.clone(),
        }
    }

    fn muster(&mut self) {
        // Network plugins run on the nodes.
        for world in [World::Scheduler, World::Controller] {
            let mut slots = self.fleet.wanted_slots(world);
            if world == World::Scheduler {
                slots.push(DEFAULT_SCHEDULER.to_owned());
            }
            for slot in slots {
                if self.slots.insert(slot.clone()) {
                    let thread = self.start_loop(world, &slot);
                    self.loops.extend(thread);
                }
            }
        }
        let unfit = self.fleet.muster(self.term).into_iter();
        let (passing, unfit) = unfit.partition::<Vec<_>, _>(|unfit| unfit.passes);
        self.unfit = unfit;
        self.again = (!passing.is_empty()).then(|| Instant::now() + AGAIN);
    }

    fn start_loop(&self, world: World, slot: &str) -> Option<JoinHandle<()>> {
        let (follower, replica, fleet) = (self.follower(slot), self.replica.clone(), self.fleet.clone());
        match world {
            World::Scheduler => {
                let mut scheduling =
                    Scheduling::new(slot, replica, fleet, self.narrator.of(slot), self.desks.open(slot));
                spawn(slot, move || follower.run(&mut scheduling))
            }
            World::Controller => {
                let narrator = self.narrator.of(&format!("{slot}-controller"));
                let mut controlling = Controlling::new(slot, replica, fleet, narrator);
                spawn(slot, move || follower.run(&mut controlling))
            }
            World::Network | World::Ingress | World::Filter | World::Ipam => None,
        }
    }
}

impl Work for Recruiter {
    fn interest(&self) -> impl Iterator<Item = &str> {
        [RESOURCE].into_iter()
    }

    fn start_over(&mut self, _: &Snapshot) {
        self.stale = true;
    }

    fn take_in(&mut self, changes: &Batch) {
        self.stale |= !changes.events.is_empty();
    }

    fn keep_ready(&mut self, term: Option<u64>) {
        self.stale |= self.again.is_some_and(|again| again <= Instant::now());
        if std::mem::replace(&mut self.term, term) != term || std::mem::take(&mut self.stale) {
            self.stale = false;
            self.muster();
        }
    }

    fn due(&self) -> Option<Instant> {
        (!self.unfit.is_empty()).then(Instant::now)
    }

    fn decide(&mut self, term: u64) {
        for unfit in self.unfit.drain(..) {
            self.fleet.give_up(term, &unfit.name, &unfit.why);
        }
    }

    async fn stirred(&mut self) {
        match self.again {
            Some(again) => tokio::time::sleep_until(again.into()).await,
            None => std::future::pending().await,
        }
    }
}
