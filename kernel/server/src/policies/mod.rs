//! The policies: plugins that decide, and the loops that ask them and carry out what they say.
//!
//! Plugins never run inside the state machine: the leader asks them and replicates what was decided.
mod controllers;
mod fleet;
mod narrate;
mod scheduling;

pub use fleet::mode_write;
pub use narrate::Narrator;

use crate::replica::ReplicaHandle;
use controllers::Controlling;
use fleet::Fleet;
use sampan_api::{
    plugin::{DEFAULT_SCHEDULER, RESOURCE, World},
    rpc::PluginFigures,
};
use sampan_sandbox::PluginEngine;
use scheduling::Scheduling;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// The running policies of this replica.
pub struct Policies {
    fleet: Arc<Fleet>,
    stop: Arc<AtomicBool>,
    threads: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

impl Policies {
    /// Starts the fleet and the loops of all slots that plugins fill, now and later. Returns at once: until a plugin is
    /// compiled the built-in scheduler places, and controllers wait.
    pub fn start(replica: ReplicaHandle, engine: Arc<PluginEngine>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let fleet = Arc::new(Fleet::new(replica.clone(), engine));
        let recruiter = Recruiter {
            replica,
            fleet: fleet.clone(),
            stop: stop.clone(),
            slots: BTreeSet::new(),
        };
        let thread = spawn("plugins", move || recruiter.run());
        Policies {
            fleet,
            stop,
            threads: parking_lot::Mutex::new(thread.into_iter().collect()),
        }
    }

    /// What is known of a plugin that is loaded here.
    pub fn figures(&self, name: &str) -> Option<PluginFigures> {
        self.fleet.figures(name)
    }

    /// Stops all loops and waits for them. Blocks for as long as a policy may take to decide.
    pub fn shutdown(&self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a policy loop had panicked");
            }
        }
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

/// Keeps the fleet as the state wants it, and a loop for each slot.
struct Recruiter {
    replica: ReplicaHandle,
    fleet: Arc<Fleet>,
    stop: Arc<AtomicBool>,
    slots: BTreeSet<String>,
}

impl Recruiter {
    fn run(mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            return;
        };
        let mut loops = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let mut changes = match self.replica.watch(self.replica.snapshot().revision()) {
                Ok(changes) => changes,
                Err(error) => {
                    tracing::info!(%error, "the policies end");
                    break;
                }
            };
            self.muster(&mut loops);
            while !self.stop.load(Ordering::Relaxed) {
                let next = async { tokio::time::timeout(Duration::from_secs(1), changes.next()).await };
                match runtime.block_on(next) {
                    Err(_) => {}
                    Ok(None) => break,
                    Ok(Some(batch)) => {
                        if batch.events.iter().any(|event| &*event.key.resource == RESOURCE) {
                            self.muster(&mut loops);
                        }
                    }
                }
            }
        }
        for thread in loops {
            let _: Result<(), _> = JoinHandle::join(thread);
        }
    }

    fn muster(&mut self, loops: &mut Vec<JoinHandle<()>>) {
        for world in World::ALL {
            let mut slots = self.fleet.wanted_slots(world);
            if world == World::Scheduler {
                slots.push(DEFAULT_SCHEDULER.to_owned());
            }
            for slot in slots {
                if self.slots.insert(slot.clone()) {
                    let (replica, fleet, stop) = (self.replica.clone(), self.fleet.clone(), self.stop.clone());
                    loops.extend(match world {
                        World::Scheduler => {
                            let scheduling = Scheduling::new(&slot, replica, fleet, stop);
                            spawn(&slot, move || scheduling.run())
                        }
                        World::Controller => {
                            let controlling = Controlling::new(&slot, replica, fleet, stop);
                            spawn(&slot, move || controlling.run())
                        }
                    });
                }
            }
        }
        self.fleet.muster();
    }
}
