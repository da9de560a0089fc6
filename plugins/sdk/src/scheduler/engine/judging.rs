//! Asking a policy about one node.
use crate::{
    index::{Judge, Worth},
    scheduler::{
        Node, Pod, Rule, Scheduler,
        mirror::{self, Class, Mirror},
    },
};
use std::cmp::Reverse;

/// What a policy says of the nodes for pods of a class.
pub struct Judging<'a, S> {
    pub policy: &'a S,
    pub mirror: &'a Mirror,
    pub class: &'a Class,
}

impl<S: Scheduler> Judging<'_, S> {
    /// What is said of a node.
    pub fn about(&self, node: &mirror::Node) -> Result<Worth, Vec<Rule>> {
        let names = &self.mirror.names;
        let pod = Pod {
            class: self.class,
            names,
        };
        if !node.nominated.is_empty() {
            self.with_awaited(&pod, node)?;
        }
        let view = Node {
            node,
            mirror: self.mirror,
            room: &node.room,
            awaited: &[],
        };
        self.filter(&pod, &view)?;
        Ok((self.policy.score(&pod, &view), Reverse(node.room.pods)))
    }

    /// Asks the filter with the pods counted that wait for room there and are no less important. They may yet go elsewhere
    /// and must not be relied on either, so the node has to do in both cases.
    fn with_awaited(&self, pod: &Pod<'_>, node: &mirror::Node) -> Result<(), Vec<Rule>> {
        let mut room = node.room.clone();
        let mut awaited = Vec::new();
        for class in self.mirror.awaited(node, pod.priority()) {
            room.take(&class.demand);
            awaited.push(class.said.id);
        }
        let view = Node {
            node,
            mirror: self.mirror,
            room: &room,
            awaited: &awaited,
        };
        match awaited.is_empty() {
            true => Ok(()),
            false => self.filter(pod, &view),
        }
    }

    fn filter(&self, pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Vec<Rule>> {
        self.policy.filter(pod, node).map_err(|rule| match rule {
            // A node is counted for all resources that it is short of.
            Rule::Pods | Rule::Cpu | Rule::Memory | Rule::EphemeralStorage | Rule::Extended(_) => {
                let short = node.room.against(&self.class.demand);
                if short.contains(&rule) { short } else { vec![rule] }
            }
            rule => vec![rule],
        })
    }
}

impl<S: Scheduler> Judge for Judging<'_, S> {
    type Reason = Vec<Rule>;

    fn nodes(&self) -> impl Iterator<Item = u32> {
        self.mirror.nodes().map(|node| node.id)
    }

    fn count(&self) -> usize {
        self.mirror.node_count()
    }

    fn end(&self) -> usize {
        self.mirror.journal.end()
    }

    fn since(&self, position: usize) -> Option<impl ExactSizeIterator<Item = u32>> {
        Some(self.mirror.journal.since(position)?.map(|touched| touched.node))
    }

    fn judge(&self, node: u32) -> Option<Result<Worth, Vec<Rule>>> {
        Some(self.about(self.mirror.node(node)?))
    }
}
