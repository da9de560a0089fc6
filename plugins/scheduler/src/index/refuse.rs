//! Why no node will do, from an index: cells are counted, not nodes.
use super::{Index, Judge, Weighing};
use world_scheduler_02::sampan::scheduler::types::{Refusal, Rule, TurnedDown};

impl Index {
    /// How many nodes each rule turns down.
    pub fn refusal(&mut self, judge: &Judge<'_>, weighing: &mut Weighing) -> Refusal {
        weighing.work += 1 + self.catch_up(judge);
        let counts = &judge.cluster.counts;
        weighing.prepare(&self.rules, counts);
        let mut all: Vec<(Rule, u32)> = Vec::new();
        for cell in self.cells.iter().filter(|cell| cell.live > 0) {
            match cell.against.is_empty() {
                true => all.extend(self.pods_against(cell, weighing, counts).map(|rule| (rule, cell.live))),
                false => all.extend(cell.against.iter().map(|rule| (*rule, cell.live))),
            }
        }
        refusal(judge.cluster.mirror.len(), all)
    }
}

/// A refusal of rules and how many nodes they turned down, in any order.
pub fn refusal(nodes: usize, mut all: Vec<(Rule, u32)>) -> Refusal {
    all.sort_unstable();
    let mut turned_down: Vec<TurnedDown> = Vec::new();
    for (rule, nodes) in all {
        match turned_down.last_mut() {
            Some(last) if last.rule == rule => last.nodes += nodes,
            _ => turned_down.push(TurnedDown { rule, nodes }),
        }
    }
    Refusal {
        nodes: nodes as u32,
        turned_down,
        for_its_group: false,
    }
}
