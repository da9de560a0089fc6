//! The cluster as the kernel tells plugins of it: numbered, in symbols, and with what changed since they were told.
pub mod classes;
mod news;
pub mod nodes;
mod numbers;
mod places;
pub mod pods;
mod surroundings;
pub mod symbols;
#[cfg(test)]
mod tests;
pub mod touched;

pub use news::News;

use super::reading::{Readings, Shape};
use classes::Classes;
use nodes::Nodes;
use pods::{Place, Pods};
use sampan_api::{Key, Object};
use std::{collections::BTreeSet, sync::Arc};
use surroundings::{Budgets, Namespaces, PodGroups, Siblings};
use symbols::Symbols;
use touched::Touched;

/// All that is known.
#[derive(Debug, Default)]
pub struct Mirror {
    pub symbols: Symbols,
    pub nodes: Nodes,
    pub classes: Classes,
    pub pods: Pods,
    pub namespaces: Namespaces,
    pub budgets: Budgets,
    pub groups: PodGroups,
    siblings: Siblings,
    readings: Readings,
    touched: Touched,
    pub news: News,
}

impl Mirror {
    /// What changed since it was asked last.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Everything, for a plugin that knows nothing.
    pub fn everything(&self) -> Touched {
        let nominated = |id: &u32| self.pods.get(*id).is_some_and(|pod| pod.nominated.is_some());
        let bound = |id: &u32| self.pods.get(*id).is_some_and(|pod| pod.place != Place::Waiting);
        Touched {
            namespaces: self.namespaces.names().collect(),
            budgets: self.budgets.numbers().collect(),
            classes: self.classes.numbers().collect(),
            nodes: self.nodes.numbers().collect(),
            pods: self.pods.numbers().filter(bound).collect(),
            nominations: self.pods.numbers().filter(nominated).collect(),
        }
    }

    /// All plugins were told everything: what is free by now may be used again.
    pub fn told(&mut self) {
        self.nodes.told();
        self.classes.told();
        self.pods.told();
        self.budgets.told();
    }

    /// Drops classes that nobody has been of for long.
    pub fn sweep(&mut self) {
        for (id, class) in self.classes.sweep() {
            self.readings.forget(&class);
            self.touched.classes.insert(id);
        }
    }

    /// What a plugin is to be told again that may believe something else of these pods; where it may have made room for
    /// somebody, of nominations and budgets, too.
    pub fn doubts(&self, pods: &BTreeSet<u32>, rooms: bool) -> Touched {
        let mut doubts = Touched {
            pods: pods.clone(),
            ..Touched::default()
        };
        if rooms {
            doubts.nominations.clone_from(pods);
            doubts.budgets.extend(self.budgets.numbers());
        }
        doubts
    }

    /// All plugins are to be told that again.
    pub fn doubt(&mut self, pods: &BTreeSet<u32>, rooms: bool) {
        let doubts = self.doubts(pods, rooms);
        self.touched.add(&doubts);
    }

    /// Whether room is made for a pod.
    pub fn is_awaited(&self, pod: u32) -> bool {
        self.pods.get(pod).is_some_and(|pod| pod.nominated.is_some())
    }

    /// Takes in what is followed beside pods, as it is now or was at its end.
    pub fn object(&mut self, key: &Key, object: &Object, gone: bool) {
        let there = (!gone).then_some(object);
        match &*key.resource {
            "nodes" => self.node(object, gone),
            "namespaces" => self.namespace(object, gone),
            "services" => self.service(key, there),
            super::POD_GROUPS => drop(self.groups.put(key, there)),
            "poddisruptionbudgets.policy" => self.budget(key, there),
            _ => self.owner(object, gone),
        }
    }

    /// Takes in a node as it is now, or that it is gone.
    pub fn node(&mut self, object: &Object, gone: bool) {
        if gone {
            let pods: Vec<u32> = self.pods.awaited_on(&object.metadata.name).collect();
            if let Some(id) = self.nodes.remove(&object.metadata.name) {
                self.touched.nodes.insert(id);
                self.touched.nominations.extend(pods);
                self.news = self.news.and(News::DEPARTURE);
            }
            return;
        }
        for text in [nodes::CORDON, nodes::NOT_READY] {
            self.symbols.number(text);
        }
        let (id, change) = self.nodes.put(object, &mut self.symbols);
        if change == nodes::Change::None {
            return;
        }
        self.touched.nodes.insert(id);
        let name = &object.metadata.name;
        if change == nodes::Change::New {
            // Pods may have been there before it, as far as is known here.
            let pods: Vec<u32> = self.pods.on(name).collect();
            for pod in &pods {
                self.count(*pod, true);
            }
            self.touched.pods.extend(pods);
            self.touched.nominations.extend(self.pods.awaited_on(name));
        }
        self.news = self.news.and(match change {
            nodes::Change::New => News::NODE,
            nodes::Change::Roomier => News::ROOM.and(News::SHAPE),
            nodes::Change::Shape => News::SHAPE,
            nodes::Change::Less | nodes::Change::None => News::NONE,
        });
    }

    pub fn namespace(&mut self, object: &Object, gone: bool) {
        let changed = match gone {
            true => self.namespaces.remove(&object.metadata.name, &mut self.symbols),
            false => self.namespaces.put(object, &mut self.symbols),
        };
        if let Some(name) = changed {
            self.touched.namespaces.insert(name);
            self.news = self.news.and(News::COMPANY).and(News::DEPARTURE);
        }
    }

    pub fn budget(&mut self, key: &Key, object: Option<&Object>) {
        let changed = match object {
            Some(object) => self.budgets.put(key, object, &mut self.symbols),
            None => self.budgets.remove(key),
        };
        self.touched.budgets.extend(changed);
    }

    /// A Service changed: classes in its namespace may have other siblings.
    pub fn service(&mut self, key: &Key, object: Option<&Object>) {
        if self.siblings.service(key, object) {
            let namespace = key.namespace.clone();
            self.relate(|class| class.namespace == namespace);
        }
    }

    /// So did an owner of pods.
    pub fn owner(&mut self, object: &Object, gone: bool) {
        if self.siblings.owner(object, gone) {
            let uid = object.metadata.uid.as_str();
            self.relate(|class| class.owner.as_deref() == Some(uid));
        }
    }

    fn relate(&mut self, concerns: impl Fn(&classes::ClassEntry) -> bool) {
        let (siblings, symbols) = (&self.siblings, &mut self.symbols);
        for (id, class) in self.classes.entries_mut().filter(|(_, class)| concerns(class)) {
            let found = siblings.of(&class.namespace, &class.labels, class.owner.as_deref(), symbols);
            if class.wire.siblings != found {
                class.wire.siblings = found;
                self.touched.classes.insert(id);
            }
        }
    }

    /// What a pod's spec and labels say; its class is known to the mirror from then on.
    pub fn read(&mut self, object: &Object) -> Arc<Shape> {
        let (shape, new) = self.readings.read(object, &mut self.symbols, &mut self.classes);
        if let Some(id) = new {
            self.touched.classes.insert(id);
            let (siblings, symbols) = (&self.siblings, &mut self.symbols);
            if let Some(class) = self.classes.get_mut(id) {
                class.wire.siblings = siblings.of(&class.namespace, &class.labels, class.owner.as_deref(), symbols);
            }
        }
        shape
    }
}
