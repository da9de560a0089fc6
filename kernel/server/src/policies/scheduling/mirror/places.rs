//! Where pods are: what is taken in of each, and what it means to others.
use super::{
    Mirror, News,
    pods::{Place, PodEntry},
};
use crate::policies::scheduling::reading::{Facts, Shape};
use sampan_api::{Key, Object, Revision};
use sampan_sandbox::scheduler as wire;
use std::sync::Arc;

impl Mirror {
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
            self.pods.note(id, shape, at);
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
    pub(super) fn count(&mut self, id: u32, more: bool) {
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
