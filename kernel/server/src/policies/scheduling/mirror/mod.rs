//! The cluster as the kernel tells plugins of it: numbered, in symbols, and with what changed since they were told.
pub mod classes;
pub mod nodes;
mod numbers;
pub mod pods;
mod surroundings;
pub mod symbols;
#[cfg(test)]
mod tests;
pub mod touched;

use super::reading::{Facts, Readings, Shape};
use classes::Classes;
use nodes::Nodes;
use pods::{Place, PodEntry, Pods};
use sampan_api::{Key, Object, Revision};
use sampan_sandbox::scheduler as wire;
use std::{collections::BTreeSet, sync::Arc};
use surroundings::{Budgets, Namespaces, Siblings};
use symbols::Symbols;
use touched::Touched;

/// What changed that a pod which found no place may have waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct News(pub u8);

impl News {
    pub const NONE: News = News(0);
    /// A node is new: that may help against everything.
    pub const NODE: News = News(1);
    /// Labels, taints, readiness or a cordon of a node.
    pub const SHAPE: News = News(2);
    /// There is more room somewhere.
    pub const ROOM: News = News(4);
    /// A pod got a node, or other labels.
    pub const COMPANY: News = News(8);
    /// A pod left, or begins to.
    pub const DEPARTURE: News = News(16);
    /// Another policy decides.
    pub const POLICY: News = News(32);

    pub fn and(self, other: News) -> News {
        News(self.0 | other.0)
    }

    pub fn meets(self, other: News) -> bool {
        self.0 & other.0 != 0
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Mirror {
    pub symbols: Symbols,
    pub nodes: Nodes,
    pub classes: Classes,
    pub pods: Pods,
    pub namespaces: Namespaces,
    pub budgets: Budgets,
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

    /// What a plugin is to be told again that may believe something else of these pods.
    pub fn doubts(&self, pods: &BTreeSet<u32>, budgets: bool) -> Touched {
        Touched {
            pods: pods.clone(),
            nominations: pods.clone(),
            budgets: match budgets {
                true => self.budgets.numbers().collect(),
                false => BTreeSet::new(),
            },
            ..Touched::default()
        }
    }

    /// All plugins are to be told that again.
    pub fn doubt(&mut self, pods: &BTreeSet<u32>, budgets: bool) {
        let doubts = self.doubts(pods, budgets);
        self.touched.add(&doubts);
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

    /// Takes in a pod as it is at a revision: on a node, or waiting. Its number; none where newer is known, or all are given.
    pub fn pod(&mut self, key: &Key, object: &Object, shape: &Arc<Shape>, facts: &Facts, at: Revision) -> Option<u32> {
        let nominated = facts
            .nominated
            .as_deref()
            .filter(|_| facts.node.is_empty())
            .map(Arc::from);
        let Some(id) = self.pods.number(key) else {
            let entry = PodEntry {
                key: key.clone(),
                uid: object.metadata.uid.as_str().into(),
                shape: shape.clone(),
                class: shape.class,
                place: place(facts),
                nominated,
                revision: at,
            };
            return self.add(entry);
        };
        let known = self.pods.get(id)?;
        if known.revision > at {
            return None;
        }
        let mut next = place(facts);
        // When it was bound is near enough to when it started.
        if let (
            Place::Bound { start, node, .. },
            Place::Bound {
                start: was, node: on, ..
            },
        ) = (&mut next, &known.place)
            && node == on
        {
            *start = *was;
        }
        if known.place == next && known.class == shape.class && known.nominated == nominated {
            self.pods
                .change(id, |pod| (pod.revision, pod.shape) = (at, shape.clone()));
            return Some(id);
        }
        self.change(id, shape, next, nominated, at);
        Some(id)
    }

    fn add(&mut self, entry: PodEntry) -> Option<u32> {
        let (class, waits, awaited) = (entry.class, entry.place == Place::Waiting, entry.nominated.is_some());
        let id = self.pods.add(entry)?;
        self.classes.take(class);
        if awaited {
            self.touched.nominations.insert(id);
        }
        if !waits {
            self.count(id, true);
            self.touched.pods.insert(id);
            self.news = self.news.and(News::COMPANY);
        }
        Some(id)
    }

    fn change(&mut self, id: u32, shape: &Arc<Shape>, next: Place, nominated: Option<Arc<str>>, at: Revision) {
        let Some(known) = self.pods.get(id) else { return };
        let (class, before, was_nominated) = (known.class, known.place.clone(), known.nominated.clone());
        self.count(id, false);
        self.classes.take(shape.class);
        self.classes.give_back(class);
        if was_nominated != nominated {
            self.touched.nominations.insert(id);
        }
        if before != next || class != shape.class {
            self.news = self.news.and(difference(&before, &next, class != shape.class));
            self.touched.pods.insert(id);
        }
        let shape = shape.clone();
        self.pods.change(id, |pod| {
            pod.class = shape.class;
            pod.shape = shape;
            pod.place = next;
            pod.nominated = nominated;
            pod.revision = at;
        });
        self.count(id, true);
    }

    /// A pod counts nowhere any more, and waits for nothing.
    pub fn remove(&mut self, id: u32) {
        self.count(id, false);
        let Some(pod) = self.pods.remove(id) else { return };
        self.classes.give_back(pod.class);
        if pod.nominated.is_some() {
            self.touched.nominations.insert(id);
        }
        if pod.place != Place::Waiting {
            self.touched.pods.insert(id);
            self.news = self.news.and(News::ROOM).and(News::DEPARTURE);
        } else if pod.nominated.is_some() {
            self.news = self.news.and(News::ROOM);
        }
    }

    /// The committer has bound a pod.
    pub fn bound(&mut self, id: u32, node: &str, start: u32, at: Revision) {
        let Some(shape) = self.pods.get(id).map(|pod| pod.shape.clone()) else {
            return;
        };
        let place = Place::Bound {
            node: node.into(),
            start,
            ending: false,
        };
        self.change(id, &shape, place, None, at);
    }

    /// A pod waits for room on a node, or does no more; so it was said at a revision, where that is known.
    pub fn nominate(&mut self, id: u32, node: Option<&str>, at: Revision) {
        self.pods.change(id, |pod| {
            pod.nominated = node.map(Arc::from);
            pod.revision = pod.revision.max(at);
        });
        self.touched.nominations.insert(id);
    }

    /// A pod is counted on its node, or no more.
    fn count(&mut self, id: u32, more: bool) {
        let Some(pod) = self.pods.get(id) else { return };
        let Place::Bound { node, .. } = &pod.place else { return };
        if let Some(class) = self.classes.get(pod.class) {
            self.nodes.count_pod(node, &class.wire, more);
        }
    }

    /// A waiting pod in the plugin's terms.
    pub fn waiting(&self, id: u32) -> Option<wire::Pod> {
        let pod = self.pods.get(id)?;
        let pinned = pod.shape.pinned.as_deref();
        // A name that no node has stands for a number that no node has.
        let pinned = pinned.map_or(0, |name| self.nodes.number(name).unwrap_or(wire::NODE_NUMBERS - 1));
        Some(wire::Pod {
            id,
            class: pod.class,
            pinned,
        })
    }
}

fn place(facts: &Facts) -> Place {
    match facts.node.is_empty() {
        true => Place::Waiting,
        false => Place::Bound {
            node: facts.node.as_str().into(),
            start: facts.start,
            ending: facts.deleting,
        },
    }
}

/// What it means to others that a pod is somewhere else, ending, or another.
fn difference(before: &Place, next: &Place, other: bool) -> News {
    let news = match (before, next) {
        (Place::Bound { .. }, Place::Waiting) => News::ROOM.and(News::DEPARTURE),
        (Place::Waiting, Place::Bound { .. }) => News::COMPANY,
        (Place::Bound { ending: false, .. }, Place::Bound { ending: true, .. }) => News::DEPARTURE,
        _ => News::NONE,
    };
    match other {
        true => news.and(News::ROOM).and(News::COMPANY).and(News::DEPARTURE),
        false => news,
    }
}
