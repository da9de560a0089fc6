//! Who is woken by which change: each listener names the resources it is about, and sleeps through all others.
use parking_lot::Mutex;
use sampan_api::Revision;
use sampan_state::Event;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;

/// Stands for all resources.
pub const EVERY: &str = "*";

/// One who listens.
#[derive(Default)]
pub struct Listener {
    /// The first change that it has not looked at.
    unseen: Mutex<Option<Revision>>,
    woken: Notify,
}

impl Listener {
    /// One who has not looked at anything since a revision.
    pub fn since(first: Option<Revision>) -> Arc<Self> {
        Arc::new(Listener {
            unseen: Mutex::new(first),
            woken: Notify::new(),
        })
    }

    /// The first change that it has not looked at; now it has.
    pub fn take(&self) -> Option<Revision> {
        self.unseen.lock().take()
    }

    pub fn has_seen_all(&self) -> bool {
        self.unseen.lock().is_none()
    }

    /// Waits until there is something to look at, or may be.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    pub fn wake(&self) {
        self.woken.notify_one();
    }
}

/// All who listen, by resource. Those who are gone are forgotten when there is something to tell them.
#[derive(Default)]
pub struct Listeners {
    by_resource: HashMap<String, Vec<Weak<Listener>>>,
}

impl Listeners {
    pub fn add(&mut self, resources: &[String], listener: &Arc<Listener>) {
        for resource in resources {
            let listeners = self.by_resource.entry(resource.clone()).or_default();
            listeners.push(Arc::downgrade(listener));
        }
    }

    /// Notes changes with those they concern; whom to wake.
    pub fn note(&mut self, events: &[Arc<Event>]) -> Vec<Arc<Listener>> {
        let mut woken = Vec::new();
        let Some(first) = events.first() else { return woken };
        self.tell(EVERY, first.revision, &mut woken);
        let mut told: Vec<&str> = Vec::new();
        for event in events {
            let resource = &*event.key.resource;
            // Few resources change together.
            if !told.contains(&resource) {
                told.push(resource);
                self.tell(resource, event.revision, &mut woken);
            }
        }
        woken
    }

    /// Everybody may have missed something since a revision; whom to wake.
    pub fn note_gap(&mut self, first: Revision) -> Vec<Arc<Listener>> {
        let mut woken = Vec::new();
        let resources: Vec<String> = self.by_resource.keys().cloned().collect();
        for resource in resources {
            self.tell(&resource, first, &mut woken);
        }
        woken
    }

    fn tell(&mut self, resource: &str, first: Revision, woken: &mut Vec<Arc<Listener>>) {
        let Some(listeners) = self.by_resource.get_mut(resource) else {
            return;
        };
        listeners.retain(|listener| {
            let Some(listener) = listener.upgrade() else {
                return false;
            };
            // Who has not looked yet was woken already.
            let mut unseen = listener.unseen.lock();
            if unseen.is_none() {
                *unseen = Some(first);
                drop(unseen);
                woken.push(listener);
            }
            true
        });
        if listeners.is_empty() {
            self.by_resource.remove(resource);
        }
    }

    /// Everybody, at the end.
    pub fn all(&self) -> impl Iterator<Item = Arc<Listener>> {
        self.by_resource.values().flatten().filter_map(Weak::upgrade)
    }
}
