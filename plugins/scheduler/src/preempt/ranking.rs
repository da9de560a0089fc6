//! What room costs on every node, for rules in which other pods have no say: then it is each node's own matter, and only
//! nodes that changed are asked again.
use super::{Cost, victims};
use crate::{Cluster, rules::Rules};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Nodes by what room costs there.
#[derive(Default)]
pub struct Ranking {
    costs: Vec<Option<Cost>>,
    /// An entry counts if it says what `costs` says.
    heap: BinaryHeap<Reverse<(Cost, u32)>>,
    /// Changes of the mirror up to here are in it.
    seen: usize,
}

impl Ranking {
    /// The cheapest node, of equals the one with the lowest number.
    pub fn best(&mut self) -> Option<u32> {
        while let Some(Reverse((cost, node))) = self.heap.peek().copied() {
            if self.costs[node as usize] == Some(cost) {
                return Some(node);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes in what has changed since; how many nodes were asked.
    pub fn catch_up(&mut self, cluster: &Cluster, rules: &Rules) -> usize {
        let mirror = &cluster.mirror;
        let chaff = self.heap.len() > 4 * mirror.node_count() + 64;
        let touched = mirror.journal.since(self.seen);
        let touched =
            touched.filter(|touched| touched.len() <= mirror.node_count() && !chaff && !self.costs.is_empty());
        self.seen = mirror.journal.end();
        let Some(touched) = touched else {
            self.heap.clear();
            self.costs.clear();
            self.costs.resize(mirror.node_numbers(), None);
            for node in mirror.nodes() {
                self.ask(cluster, rules, node.id);
            }
            return mirror.node_count();
        };
        let asked = touched.len();
        self.costs.resize(mirror.node_numbers(), None);
        for touched in touched {
            self.ask(cluster, rules, touched.node);
        }
        asked
    }

    fn ask(&mut self, cluster: &Cluster, rules: &Rules, id: u32) {
        let node = cluster.mirror.node(id);
        let cost = node
            .and_then(|node| victims(cluster, rules, node))
            .map(|(cost, _)| cost);
        if self.costs[id as usize] != cost {
            self.costs[id as usize] = cost;
            self.heap.extend(cost.map(|cost| Reverse((cost, id))));
        }
    }
}
