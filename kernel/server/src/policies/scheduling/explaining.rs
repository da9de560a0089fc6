//! What the active policy of this member says of a pod now, and why: asked from outside, answered between two calls.
use super::{
    Role, Scheduling,
    mirror::pods::{NOBODY, Place},
    refusal,
};
use crate::policies::asking::{Ask, ExplainAsk};
use sampan_api::{ApiError, Key, Reason, rpc};
use sampan_sandbox::{
    CallError,
    scheduler::{Explanation, Pod, Score, Scorer, Verdict},
};

impl Scheduling {
    /// Answers those who ask. Who does not wait for the answer any more is nobody's trouble.
    pub(super) fn answer_asked(&mut self) {
        for ask in std::mem::take(&mut self.asked) {
            match ask {
                Ask::Explain(ExplainAsk { pod, most, reply }) => drop(reply.send(self.explain(&pod, most))),
                Ask::Record(mut ask) => {
                    let begun = self.begin_recording(&ask);
                    if let Some(reply) = ask.reply.take() {
                        drop(reply.send(begun));
                    }
                }
            }
        }
    }

    fn explain(&mut self, key: &Key, most: u32) -> Result<rpc::SchedulingExplanation, ApiError> {
        let (pod, bound) = self.as_if_it_came(key)?;
        self.tell();
        let mirror = &self.mirror;
        let asked = self.seats.ask_once(Role::Active, |seat| {
            let explained = seat.instance.explain(mirror, pod, most);
            let member = (seat.member.name.clone(), seat.member.digest.clone());
            match explained {
                // A policy that does not explain goes on as it is.
                Err(CallError::Refused(words)) => Ok(Err(words)),
                explained => Ok(Ok((explained?, member))),
            }
        });
        match asked {
            None => Err(unavailable(
                "no policy decides now: the built-in placing does, and it does not explain",
            )),
            Some(Ok(Err(words))) => Err(unavailable(&words)),
            Some(Ok(Ok((explained, member)))) => Ok(self.explanation(explained, member, bound)),
            Some(Err((member, error))) => {
                let words = format!("the policy {} fails over this: {error}", member.name);
                self.seats.afresh(Role::Active, member, super::make(&self.mirror));
                Err(unavailable(&words))
            }
        }
    }

    /// A pod as the policy would be asked about it, and the node that it has.
    fn as_if_it_came(&self, key: &Key) -> Result<(Pod, String), ApiError> {
        let id = self.mirror.pods.number(key);
        let known = id.and_then(|id| Some((id, self.mirror.pods.get(id)?)));
        let Some((id, pod)) = known else {
            let why = "it waits for its scheduling gates, or has ended: no policy is asked about it";
            return Err(unavailable(why));
        };
        if let Some(why) = &pod.shape.refused {
            return Err(unavailable(&format!("it cannot be scheduled: {why}")));
        }
        let mut asked = self.mirror.waiting(id).ok_or_else(|| ApiError::not_found(key))?;
        match &pod.place {
            Place::Waiting => Ok((asked, String::new())),
            Place::Bound { node, .. } => {
                asked.id = NOBODY;
                Ok((asked, node.to_string()))
            }
        }
    }

    fn explanation(
        &self,
        explained: Explanation,
        (policy, digest): (String, String),
        bound: String,
    ) -> rpc::SchedulingExplanation {
        let message = match explained.node {
            0 => refusal::text(
                &explained.refusal,
                &refusal::Preemption::default(),
                &self.mirror.symbols,
            ),
            _ => String::new(),
        };
        rpc::SchedulingExplanation {
            policy,
            digest,
            bound,
            message,
            node: self.name_of(explained.node),
            nodes: self.mirror.nodes.count() as u32,
            verdicts: explained.verdicts.iter().map(|verdict| self.verdict(verdict)).collect(),
        }
    }

    fn verdict(&self, verdict: &Verdict) -> rpc::NodeVerdict {
        let against = verdict.against.iter();
        rpc::NodeVerdict {
            node: self.name_of(verdict.node),
            against: against
                .map(|rule| refusal::reason(rule, &self.mirror.symbols))
                .collect(),
            scores: verdict.scores.iter().map(score).collect(),
            total: verdict.total,
        }
    }

    fn name_of(&self, node: u32) -> String {
        let entry = self.mirror.nodes.get(node);
        entry.map(|entry| entry.name.to_string()).unwrap_or_default()
    }
}

fn score(score: &Score) -> rpc::NodeScore {
    // Kubernetes' names of its score plugins.
    let scorer = match score.scorer {
        Scorer::Resources => "NodeResourcesFit",
        Scorer::Balance => "NodeResourcesBalancedAllocation",
        Scorer::Images => "ImageLocality",
        Scorer::NodeAffinity => "NodeAffinity",
        Scorer::Taints => "TaintToleration",
        Scorer::Affinity => "InterPodAffinity",
        Scorer::Spread => "PodTopologySpread",
    };
    rpc::NodeScore {
        scorer: scorer.to_owned(),
        raw: score.raw,
        normalized: score.normalized,
        weight: score.weight,
    }
}

fn unavailable(why: &str) -> ApiError {
    ApiError::new(Reason::Invalid, why.to_owned())
}
