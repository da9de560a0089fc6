//! Why no node will do, from an index: rows are counted, not nodes.
use super::{Judge, Pair, Question, Weighing};
use world_scheduler_02::sampan::scheduler::types::{Refusal, Rule, TurnedDown};

impl Pair<'_> {
    /// How many nodes each rule turns down.
    pub fn refusal(&mut self, judge: &Judge<'_>, question: &Question, weighing: &mut Weighing) -> Refusal {
        weighing.work += self.catch_up(judge);
        let counts = &judge.cluster.counts;
        weighing.prepare(&question.rules, counts);
        self.make_rows(question, weighing);
        let mut all: Vec<(Rule, u32)> = Vec::new();
        for cell in self.ground.cells.iter().filter(|cell| cell.live > 0) {
            all.extend(cell.against.iter().map(|rule| (*rule, cell.live)));
        }
        for row in &weighing.rows {
            let against = self.ground.pods_against(question, row, weighing, counts);
            all.extend(against.map(|rule| (rule, row.live)));
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
