//! Why no node will do, from an index: rows are counted, not nodes.
use super::{Judge, Pair, Question, Weighing};
use sampan_sdk::scheduler::{
    batch::refusal,
    types::{Refusal, Rule},
};

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
        refusal(judge.cluster.mirror.node_count(), all)
    }
}
