//! History put through a policy without a cluster: what it would have said, and how pods would lie then.
//!
//! A [`Scene`] is nodes, pods that stay and pods that are placed anew ([`place_anew`]); it comes from a state ([`scene_of`])
//! or from the end of a [`Recording`], which is what the scheduling loop told a policy and what that answered. A recording is
//! also asked step by step ([`compare`]): the same policy gives the same answers, byte for byte. A policy is told of all that
//! by the code that tells it in a cluster (`scheduling::mirror`), so it is told the same.
mod anew;
mod committer;
mod compare;
mod figures;
mod recording;
mod saying;
mod state;
mod telling;
#[cfg(test)]
mod tests;
mod world;

pub use anew::{Outcome, place_anew};
pub use compare::{Compared, Difference, compare};
pub use figures::{Figures, Large, Spread};
pub use recording::{End, Header, MOST_BYTES, Place, Recording, RecordingError, Writer};
pub(in crate::policies) use recording::{Line, line};
pub use state::{SceneError, Source, read, scene_of};
pub use telling::told;

use sampan_sandbox::{CallError, scheduler::Pod};
use std::time::Duration;
use world::{Counted, World};

/// A pod that is placed anew.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// `NAMESPACE/NAME`
    pub name: String,
    /// In which order pods come.
    pub pod: Pod,
    pub start: u32,
    /// Its group by namespace and name, and how many of it are needed.
    pub group: Option<(String, u32)>,
    /// The node that it is on; empty where it waits.
    pub on: String,
}

/// A cluster before pods are placed anew, and these in the order in which they come.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    pub pods: Vec<Candidate>,
    pub revision: u64,
    world: World,
}

/// Where a pod is in the end: on a node, or nowhere for a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Empty where it has none.
    pub node: String,
    pub why: String,
}

/// A sum of times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds(pub f64);

/// What a policy failed with, and where.
#[derive(Clone, Debug, thiserror::Error)]
#[error("it fails {place}: {error}")]
pub struct PlaceError {
    pub error: CallError,
    pub place: String,
}

impl PlaceError {
    fn new(error: CallError, place: &str) -> Self {
        PlaceError {
            error,
            place: place.to_owned(),
        }
    }

    fn rubbish(what: String, pod: &str) -> Self {
        Self::new(CallError::Rubbish(what), &format!("over pod {pod}"))
    }
}

impl Answer {
    fn on(node: &str) -> Self {
        Answer {
            node: node.to_owned(),
            why: String::new(),
        }
    }

    fn without(why: &str) -> Self {
        Answer {
            node: String::new(),
            why: why.to_owned(),
        }
    }
}

impl Seconds {
    fn add(&mut self, more: Duration) {
        self.0 += more.as_secs_f64();
    }

    /// Microseconds for each of so many.
    pub fn micros_each(self, count: u64) -> f64 {
        self.0 * 1e6 / count.max(1) as f64
    }
}

impl Scene {
    /// What a large pod of this scene asks for; the same for whoever places it.
    pub fn large(&self) -> Large {
        let class = |one: &Candidate| self.world.class(one.pod.class);
        let asked = self.pods.iter().filter_map(class);
        Large::of(asked.map(|class| (class.requests.milli_cpu, class.requests.memory)))
    }

    /// Figures of the pods where they are now.
    pub fn now(&self) -> Figures {
        let (mut world, nodes) = (self.world.clone(), self.world.by_name());
        for one in &self.pods {
            if let Some(node) = nodes.get(one.on.as_str()) {
                let counted = Counted {
                    node: *node,
                    class: one.pod.class,
                    start: one.start,
                    ending: false,
                };
                world.bind(one.pod.id, counted);
            }
        }
        Figures::of(&world, self.large())
    }

    /// Figures of the pods where a policy placed them.
    pub fn figures(&self, outcome: &Outcome) -> Figures {
        Figures::of(&outcome.world, self.large())
    }

    /// How many pods stay where they are, whatever a policy says.
    pub fn staying(&self) -> usize {
        self.world.count_bound()
    }
}
