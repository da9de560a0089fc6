//! A small cluster for tests of single cases.
use super::{Kernel, Native, NodeShape, PodShape, Subject, check, run::in_words};
use crate::scheduler::{Engine, Policy, Scheduler, types::PodGroup};

/// A policy and what it was told.
pub struct Cluster<P> {
    subject: Native<P>,
    kernel: Kernel,
    came: u32,
}

/// A cluster of some nodes, scheduled by filter and score.
pub fn cluster<S: Scheduler>(nodes: impl IntoIterator<Item = NodeShape>) -> Cluster<Engine<S>> {
    Cluster::new(nodes)
}

impl<P: Policy> Cluster<P> {
    pub fn new(nodes: impl IntoIterator<Item = NodeShape>) -> Self {
        Cluster::configured(nodes, &crate::Value::Null)
    }

    /// With a config for the policy.
    ///
    /// # Panics
    /// If the policy refuses it.
    pub fn configured(nodes: impl IntoIterator<Item = NodeShape>, config: &crate::Value) -> Self {
        let subject = Native::new(&config.to_string());
        let mut cluster = Cluster {
            subject: subject.unwrap_or_else(|error| panic!("the policy refuses its config: {error}")),
            kernel: Kernel::default(),
            came: 0,
        };
        nodes.into_iter().for_each(|node| cluster.node(&node));
        cluster
    }

    /// A node comes, or is another from now on.
    pub fn node(&mut self, shape: &NodeShape) {
        self.kernel.put_node(shape);
    }

    pub fn node_gone(&mut self, name: &str) {
        self.kernel.remove_node(name);
    }

    /// Where a pod goes, or why nowhere. It counts there.
    ///
    /// # Errors
    /// `0/2 nodes will do: 1 cpu, 1 taint dedicated=gpu`.
    ///
    /// # Panics
    /// If the answer cannot be carried out.
    pub fn place(&mut self, shape: &PodShape) -> Result<String, String> {
        self.place_some(shape, 1, 0).swap_remove(0)
    }

    /// Where each of some alike pods goes, asked for in one call.
    ///
    /// # Panics
    /// If an answer cannot be carried out.
    pub fn place_all(&mut self, shape: &PodShape, count: u32) -> Vec<Result<String, String>> {
        self.place_some(shape, count, 0)
    }

    /// As [`Cluster::place_all`], but at least so many of them, or none.
    ///
    /// # Panics
    /// If an answer cannot be carried out.
    pub fn place_group(&mut self, shape: &PodShape, count: u32, least: u32) -> Vec<Result<String, String>> {
        self.place_some(shape, count, least)
    }

    fn place_some(&mut self, shape: &PodShape, count: u32, least: u32) -> Vec<Result<String, String>> {
        let ids = self.came + 1..=self.came + count;
        self.came += count;
        let pods: Vec<_> = ids.map(|id| self.kernel.waiting(id, shape)).collect();
        if self.kernel.has_news() {
            let told = self.kernel.tell(&mut self.subject);
            told.unwrap_or_else(|error| panic!("the policy does not follow: {error}"));
        }
        let group = PodGroup { first: 0, count, least };
        let groups: &[PodGroup] = if least > 0 { &[group] } else { &[] };
        let mut said = Vec::new();
        while said.len() < pods.len() {
            let asked = &pods[said.len()..];
            let placement = self
                .subject
                .place(asked, groups)
                .unwrap_or_else(|error| panic!("{error}"));
            let wrong = check::form(asked, &placement);
            assert!(wrong.is_empty(), "{wrong:?}");
            let answered = &asked[..placement.nodes.len()];
            let wrong = self.kernel.take_in(answered, &placement, 1);
            assert!(wrong.is_empty(), "this cannot be carried out: {wrong:?}");
            for (place, node) in (0..).zip(&placement.nodes) {
                let unplaced = placement.unplaced.iter().find(|unplaced| unplaced.pod == place);
                said.push(match (self.kernel.name_of(*node), unplaced) {
                    (None, Some(unplaced)) => {
                        Err(in_words(&self.kernel, &placement.refusals[unplaced.refusal as usize]))
                    }
                    (name, _) => Ok(name.unwrap_or_default().to_owned()),
                });
            }
        }
        said
    }

    /// How many pods count on a node.
    pub fn pods_on(&self, name: &str) -> usize {
        let node = self.kernel.node_number(name);
        node.map_or(0, |node| self.kernel.pods_on(node).count())
    }

    /// The pod that came so many-th (from 1 on) ends.
    pub fn end(&mut self, pod: u32) {
        self.kernel.release(pod);
    }
}
