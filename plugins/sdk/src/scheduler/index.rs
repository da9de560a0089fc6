//! The best node for a class of pods without asking all nodes: a heap of scores, mended by what changed.
//!
//! An entry counts only while its node is in the version it was scored in; a change leaves the old entry as chaff and
//! pushes a new one. Placing a pod is then a pop, a score and a push.
use super::{Pod, Scheduler, mirror::Mirror};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Score, lowest number first among equals, and the version it was scored in.
type Entry = (i64, Reverse<u32>, u32);

/// The nodes that will do for one class, by score.
pub(super) struct Index {
    /// The pod it was built for: a class number is not trusted alone.
    model: Pod,
    heap: BinaryHeap<Entry>,
    /// Changes of the mirror up to here are in it.
    seen: usize,
    /// When it was asked last.
    pub used: u64,
}

impl Index {
    /// Asks every node.
    pub fn build(policy: &impl Scheduler, mirror: &Mirror, pod: &Pod) -> Self {
        let fits = mirror.nodes().filter(|slot| policy.filter(pod, &slot.node).is_ok());
        let entries = fits.map(|slot| (policy.score(pod, &slot.node), Reverse(slot.node.id), slot.version));
        Index {
            model: pod.clone(),
            heap: entries.collect(),
            seen: mirror.changes(),
            used: 0,
        }
    }

    /// The class of pods that it serves.
    pub fn class(&self) -> u32 {
        self.model.class
    }

    /// The best node as the mirror is now.
    pub fn best(&mut self, policy: &impl Scheduler, mirror: &Mirror, pod: &Pod) -> Option<u32> {
        self.catch_up(policy, mirror, pod);
        while let Some((_, Reverse(id), version)) = self.heap.peek() {
            if mirror.get(*id).is_some_and(|slot| slot.version == *version) {
                return Some(*id);
            }
            self.heap.pop();
        }
        None
    }

    fn catch_up(&mut self, policy: &impl Scheduler, mirror: &Mirror, pod: &Pod) {
        let same = self.model.requests == pod.requests
            && self.model.node_selector == pod.node_selector
            && self.model.tolerations == pod.tolerations;
        let behind = mirror
            .changed_since(self.seen)
            .filter(|changed| same && changed.len() <= mirror.len());
        let chaff = self.heap.len() > 4 * mirror.len() + 64;
        let Some(changed) = behind.filter(|_| !chaff) else {
            let used = self.used;
            *self = Index {
                used,
                ..Index::build(policy, mirror, pod)
            };
            return;
        };
        for id in changed {
            if let Some(slot) = mirror.get(*id)
                && policy.filter(pod, &slot.node).is_ok()
            {
                self.heap
                    .push((policy.score(pod, &slot.node), Reverse(*id), slot.version));
            }
        }
        self.seen = mirror.changes();
    }
}
