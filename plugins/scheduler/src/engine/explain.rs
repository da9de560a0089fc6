//! What would be said of a pod, and why.
use super::Engine;
use crate::survey::{Judged, SCORERS};
use sampan_sdk::scheduler::{
    batch::refusal,
    types::{Explanation, Pod, Score, Verdict},
};

impl Engine {
    /// What is said of each node for a pod, and which one would be chosen.
    pub fn explain(&mut self, pod: &Pod, most: u32) -> Explanation {
        let Some(rules) = self.rules_of(pod.class) else {
            return Explanation {
                node: 0,
                refusal: refusal(self.cluster.mirror.node_count(), Vec::new()),
                verdicts: Vec::new(),
            };
        };
        // A pod does not stand in its own way.
        let nomination = self.cluster.mirror.drop_nomination(pod.id);
        let nominated = nomination.as_ref().map_or(0, |nomination| nomination.node);
        let mut survey = self.survey(pod, rules);
        let node = self.best(pod, rules, nominated).unwrap_or(0);
        if let Some(nomination) = nomination {
            self.cluster.mirror.nominate(nomination);
        }
        survey
            .judged
            .sort_unstable_by_key(|judged| (-judged.total, judged.pods, judged.node));
        let judged = survey.judged.iter().map(|judged| self.verdict(judged));
        let refused = survey.refused.iter().map(|(node, against)| Verdict {
            node: *node,
            against: against.clone(),
            scores: Vec::new(),
            total: 0,
        });
        let verdicts = judged.chain(refused).take(most as usize).collect();
        Explanation {
            node,
            refusal: self.counted(survey.refused),
            verdicts,
        }
    }

    fn verdict(&self, judged: &Judged) -> Verdict {
        let score = |place: usize| Score {
            scorer: SCORERS[place],
            raw: judged.raw[place],
            normalized: judged.normalized[place],
            weight: self.weights[place],
        };
        Verdict {
            node: judged.node,
            against: Vec::new(),
            scores: (0..SCORERS.len()).map(score).collect(),
            total: judged.total,
        }
    }
}
