//! The mirror of the nodes inside the guest, and placing on it.
use super::{
    Assignment, Delta, Node, Outcome, Placement, Pod, PodClass, Reason, Refusal, Resources, Scheduler, Waiting,
};
use crate::index::{Index, Judge, Worth};
use std::cmp::Reverse;

/// Classes with an index at the most; beyond, the least recently used goes.
const CLASSES: usize = 64;

/// The state of a scheduler plugin: what `export_scheduler_01!` calls.
pub struct Engine<S> {
    policy: S,
    synced: u64,
    mirror: Mirror,
    /// In no order; pods of one class follow each other, so the one asked last comes first to mind.
    indexes: Vec<Indexed>,
    last: usize,
    clock: u64,
}

/// The index of a class.
struct Indexed {
    /// The pod it was built for: a class number is not trusted alone.
    model: Pod,
    index: Index<Reason>,
}

/// What a policy says of the nodes for a pod.
struct Judging<'a, S> {
    policy: &'a S,
    mirror: &'a Mirror,
    pod: &'a Pod,
}

impl<S: Scheduler> Judge for Judging<'_, S> {
    type Reason = Reason;

    fn nodes(&self) -> impl Iterator<Item = u32> {
        self.mirror.nodes().map(|node| node.id)
    }

    fn count(&self) -> usize {
        self.mirror.len()
    }

    fn end(&self) -> usize {
        self.mirror.changes()
    }

    fn since(&self, position: usize) -> Option<impl ExactSizeIterator<Item = u32>> {
        Some(self.mirror.changed_since(position)?.iter().copied())
    }

    fn judge(&self, node: u32) -> Option<Result<Worth, Reason>> {
        let node = self.mirror.get(node)?;
        let fits = self.policy.filter(self.pod, node);
        Some(fits.map(|()| (self.policy.score(self.pod, node), Reverse(0))))
    }
}

/// The nodes by number, and which of them changed, in order.
#[derive(Default)]
pub(super) struct Mirror {
    nodes: Vec<Option<Node>>,
    /// Numbers of nodes that changed, oldest first, from change `forgotten` on.
    journal: Vec<u32>,
    forgotten: usize,
    count: usize,
}

impl Mirror {
    pub fn get(&self, id: u32) -> Option<&Node> {
        self.nodes.get(id as usize).and_then(Option::as_ref)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The number of the next change.
    pub fn changes(&self) -> usize {
        self.forgotten + self.journal.len()
    }

    /// The nodes that changed from a change on; `None` if that is forgotten.
    pub fn changed_since(&self, change: usize) -> Option<&[u32]> {
        self.journal.get(change.checked_sub(self.forgotten)?..)
    }

    fn touch(&mut self, id: u32) {
        self.journal.push(id);
        // An index that is so far behind is cheaper built anew.
        if self.journal.len() > 4 * self.count + 1024 {
            let half = self.journal.len() / 2;
            self.journal.drain(..half);
            self.forgotten += half;
        }
    }

    fn put(&mut self, node: Node) {
        let id = node.id;
        let place = id as usize;
        if self.nodes.len() <= place {
            self.nodes.resize_with(place + 1, || None);
        }
        self.count += usize::from(self.nodes[place].is_none());
        self.nodes[place] = Some(node);
        self.touch(id);
    }

    fn remove(&mut self, id: u32) {
        if self.nodes.get_mut(id as usize).and_then(Option::take).is_some() {
            self.count -= 1;
            self.touch(id);
        }
    }

    /// Adds to (or takes from) what is requested of a node.
    pub fn usage(&mut self, id: u32, amount: &Resources, add: bool) {
        let Some(Some(node)) = self.nodes.get_mut(id as usize) else {
            return;
        };
        let requested = &mut node.requested;
        let change = |field: &mut u64, amount: u64| {
            *field = if add {
                field.saturating_add(amount)
            } else {
                field.saturating_sub(amount)
            };
        };
        change(&mut requested.milli_cpu, amount.milli_cpu);
        change(&mut requested.memory, amount.memory);
        change(&mut requested.ephemeral_storage, amount.ephemeral_storage);
        requested.pods = if add {
            requested.pods.saturating_add(amount.pods)
        } else {
            requested.pods.saturating_sub(amount.pods)
        };
        self.touch(id);
    }
}

impl<S: Scheduler> Default for Engine<S> {
    fn default() -> Self {
        Engine {
            policy: S::default(),
            synced: 0,
            mirror: Mirror::default(),
            indexes: Vec::new(),
            last: 0,
            clock: 0,
        }
    }
}

impl<S: Scheduler> Engine<S> {
    /// Hands the policy its config.
    ///
    /// # Errors
    /// If it is not JSON, or the policy refuses it.
    pub fn configure(&mut self, config: &str) -> Result<(), String> {
        let config = serde_json::from_str(config).map_err(|error| format!("the config is not JSON: {error}"))?;
        self.policy.configure(&config)
    }

    /// Brings the mirror from `base` to `next`.
    ///
    /// # Errors
    /// If it is not at `base`.
    pub fn sync(&mut self, base: u64, next: u64, deltas: Vec<Delta>) -> Result<(), String> {
        if base == 0 {
            (self.mirror, self.indexes) = Default::default();
        } else if base != self.synced {
            return Err(format!("the mirror is at {}, not at {base}", self.synced));
        }
        for delta in deltas {
            match delta {
                // Symbols compare by number; the texts are for policies that read them.
                Delta::Symbol(_) => {}
                Delta::Node(node) => self.mirror.put(node),
                Delta::NodeGone(id) => self.mirror.remove(id),
                Delta::Bound(usage) => self.mirror.usage(usage.node, &usage.resources, true),
                Delta::Released(usage) => self.mirror.usage(usage.node, &usage.resources, false),
            }
        }
        self.synced = next;
        Ok(())
    }

    /// Places pods in their order, counting each at once.
    pub fn place(&mut self, pods: &[Pod]) -> Vec<Assignment> {
        pods.iter()
            .map(|pod| Assignment {
                pod: pod.id,
                outcome: self.place_one(pod),
            })
            .collect()
    }

    /// As [`Engine::place`], of pods as the kernel names them: what those of a class ask for is said once.
    pub fn place_by_class(&mut self, classes: Vec<PodClass>, pods: &[Waiting]) -> Placement {
        let models: Vec<Pod> = classes.into_iter().map(Pod::from).collect();
        let mut placement = Placement {
            nodes: Vec::with_capacity(pods.len()),
            refusals: Vec::new(),
        };
        for pod in pods {
            // The kernel names no class that it has not described.
            let outcome = models.get(pod.class as usize).map(|model| self.place_one(model));
            match outcome {
                Some(Outcome::Bind(node)) => placement.nodes.push(node),
                Some(Outcome::Unschedulable(refusal)) => {
                    placement.nodes.push(0);
                    placement.refusals.push(refusal);
                }
                None => {}
            }
        }
        placement
    }

    fn place_one(&mut self, pod: &Pod) -> Outcome {
        self.clock += 1;
        let judging = Judging {
            policy: &self.policy,
            mirror: &self.mirror,
            pod,
        };
        let is_it = |indexed: &Indexed| indexed.model.class == pod.class;
        if !self.indexes.get(self.last).is_some_and(is_it) {
            self.last = self.indexes.iter().position(is_it).unwrap_or_else(|| {
                if self.indexes.len() >= CLASSES {
                    let oldest = (0..self.indexes.len()).min_by_key(|place| self.indexes[*place].index.used);
                    if let Some(place) = oldest {
                        self.indexes.swap_remove(place);
                    }
                }
                self.indexes.push(Indexed::build(&judging));
                self.indexes.len() - 1
            });
        }
        let indexed = &mut self.indexes[self.last];
        if !indexed.serves(pod) {
            *indexed = Indexed::build(&judging);
        }
        let index = &mut indexed.index;
        index.used = self.clock;
        match index.best(&judging, &mut 0) {
            Some(id) => {
                self.mirror.usage(id, &pod.requests, true);
                Outcome::Bind(id)
            }
            None => Outcome::Unschedulable(refusal(index.turned_down(&judging, &mut 0))),
        }
    }
}

impl Indexed {
    fn build<S: Scheduler>(judging: &Judging<'_, S>) -> Self {
        Indexed {
            model: judging.pod.clone(),
            index: Index::build(judging),
        }
    }

    fn serves(&self, pod: &Pod) -> bool {
        self.model.requests == pod.requests
            && self.model.node_selector == pod.node_selector
            && self.model.tolerations == pod.tolerations
    }
}

/// How many nodes were turned down, by the reason.
fn refusal<'a>(turned_down: impl Iterator<Item = (&'a Reason, u32)>) -> Refusal {
    let mut refusal = Refusal {
        cordoned: 0,
        not_ready: 0,
        tainted: 0,
        selector: 0,
        cpu: 0,
        memory: 0,
        ephemeral_storage: 0,
        pods: 0,
    };
    for (reason, nodes) in turned_down {
        *match reason {
            Reason::Cordoned => &mut refusal.cordoned,
            Reason::NotReady => &mut refusal.not_ready,
            Reason::Tainted => &mut refusal.tainted,
            Reason::Selector => &mut refusal.selector,
            Reason::Cpu => &mut refusal.cpu,
            Reason::Memory => &mut refusal.memory,
            Reason::EphemeralStorage => &mut refusal.ephemeral_storage,
            Reason::Pods => &mut refusal.pods,
        } += nodes;
    }
    refusal
}
