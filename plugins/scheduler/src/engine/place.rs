//! Placing pods, one after the other, each counted at once.
use super::Engine;
use crate::{
    Cluster,
    counts::Counts,
    preempt::cheapest,
    probe,
    survey::{Survey, survey},
};
use sampan_sdk::scheduler::{
    batch::{self, Places, Refused, Said, refusal},
    cluster::covers,
    types::{Nomination, Placement, Pod, PodGroup, Refusal, Rule},
};

/// How much is looked at in one call before the rest of its pods is left for the next: nodes, mostly, at some tenths of a
/// microsecond each. The kernel ends calls after 200 ms.
const ENOUGH: usize = 150_000;

impl Places for Engine {
    type Counts = Counts;

    fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    fn choose(&mut self, pod: &Pod, nominated: u32, may_preempt: bool) -> Said {
        let Some(rules) = self.rules_of(pod.class) else {
            return Err(refusal(self.cluster.mirror.node_count(), Vec::new()).into());
        };
        match self.best(pod, rules, nominated) {
            Some(node) => Ok(node),
            None => Err(self.refuse(pod, rules, may_preempt)),
        }
    }

    fn has_enough(&self) -> bool {
        self.work() >= ENOUGH
    }
}

impl Engine {
    /// Places pods in their order; those of a group together or not at all.
    pub fn place(&mut self, pods: &[Pod], groups: &[PodGroup]) -> Placement {
        self.start_work();
        batch::place(self, pods, groups)
    }

    fn start_work(&mut self) {
        self.weighing.work = 0;
        self.cluster.counts.work = 0;
    }

    fn work(&self) -> usize {
        self.weighing.work + self.cluster.counts.work
    }

    /// The best node, if any will do. One that victims make room on is taken if it will do by now.
    pub(super) fn best(&mut self, pod: &Pod, rules: u32, nominated: u32) -> Option<u32> {
        if pod.pinned != 0 {
            return self.will_do(rules, pod.pinned).then_some(pod.pinned);
        }
        if nominated != 0 && self.will_do(rules, nominated) {
            return Some(nominated);
        }
        if self.needs_survey(rules) {
            self.weighing.work += 2 * self.cluster.mirror.node_count();
            return self.survey(pod, rules).best();
        }
        self.with_index(rules, |pair, judge, question, weighing| {
            pair.best(judge, question, weighing)
        })
    }

    fn will_do(&self, rules: u32, node: u32) -> bool {
        let node = self.cluster.mirror.node(node);
        node.is_some_and(|node| probe::against(&self.cluster, &self.book.get(rules), node).is_empty())
    }

    /// Whether an index cannot tell: pods that wait for room have a say, as other pods have, in where this one may go, and
    /// counters do not know them; or the rules look at very many topology keys.
    fn needs_survey(&self, rules: u32) -> bool {
        let (mirror, counts) = (&self.cluster.mirror, &self.cluster.counts);
        let rules = self.book.get(rules);
        if rules.many_keys {
            return true;
        }
        if mirror.nominations.is_empty() {
            return false;
        }
        let filters = rules.filters();
        let counts_for = |nomination: &Nomination| {
            let class = mirror.class(nomination.class);
            class.is_some_and(|class| class.said.priority >= rules.priority)
                && counts.adds_to_any(nomination.class, &filters)
        };
        !filters.is_empty() && mirror.nominations.values().any(counts_for)
    }

    pub(super) fn survey(&self, pod: &Pod, rules: u32) -> Survey {
        let rules = self.book.get(rules);
        survey(&self.cluster, &self.scores, &self.weights, &rules, pod.pinned)
    }

    fn refuse(&mut self, pod: &Pod, rules: u32, may_preempt: bool) -> Refused {
        let mut refused: Refused = if pod.pinned != 0 || self.needs_survey(rules) {
            self.weighing.work += 2 * self.cluster.mirror.node_count();
            let refused = self.survey(pod, rules).refused;
            self.counted(refused).into()
        } else {
            self.with_index(rules, |pair, judge, question, weighing| {
                pair.refusal(judge, question, weighing)
            })
            .into()
        };
        let said = self
            .cluster
            .mirror
            .class(pod.class)
            .map(|class| (class.said.may_preempt, class.said.priority));
        let Some((true, priority)) = said.filter(|_| may_preempt) else {
            return refused;
        };
        if self.cluster.mirror.any_below(priority)
            && let Some((node, victims)) = self.make_room(pod, rules)
        {
            self.preempt(pod, node, priority, &victims);
            (refused.nominated, refused.victims) = (node, victims);
        }
        refused
    }

    pub(super) fn counted(&self, refused: Vec<(u32, Vec<Rule>)>) -> Refusal {
        let all = refused.into_iter().flat_map(|(_, rules)| rules).map(|rule| (rule, 1));
        refusal(self.cluster.mirror.node_count(), all.collect())
    }

    /// Where room is cheapest to make, and who has to go for it.
    fn make_room(&mut self, pod: &Pod, rules: u32) -> Option<(u32, Vec<u32>)> {
        let asked = self.book.get(rules);
        if pod.pinned != 0 {
            let node = self.cluster.mirror.node(pod.pinned)?;
            let (_, victims) = crate::preempt::victims(&self.cluster, &asked, node)?;
            return Some((pod.pinned, victims));
        }
        self.with_index(rules, |pair, judge, _, weighing| {
            cheapest(judge.cluster, &asked, &mut pair.ground.ranking, &mut weighing.work)
        })
    }

    /// Takes in that these victims go, and that the pod waits for their room.
    fn preempt(&mut self, pod: &Pod, node: u32, priority: i32, victims: &[u32]) {
        for victim in victims {
            self.use_budgets(*victim);
            self.cluster.set_ending(*victim, true);
        }
        let mirror = &mut self.cluster.mirror;
        let lower = |pod: &&u32| {
            let class = mirror
                .nominations
                .get(pod)
                .and_then(|nomination| mirror.class(nomination.class));
            class.is_some_and(|class| class.said.priority < priority)
        };
        let lower: Vec<u32> = mirror
            .node(node)
            .map_or(&[][..], |node| &node.nominated)
            .iter()
            .filter(lower)
            .copied()
            .collect();
        for other in lower {
            mirror.drop_nomination(other);
        }
        mirror.nominate(Nomination {
            pod: pod.id,
            node,
            class: pod.class,
        });
    }

    /// A disruption more for the budgets of a victim.
    fn use_budgets(&mut self, victim: u32) {
        let mirror = &self.cluster.mirror;
        let Some(class) = mirror.class_of(victim).filter(|class| !class.labels.is_empty()) else {
            return;
        };
        let its = mirror
            .budgets_in(class.said.namespace)
            .filter(|budget| covers(budget, class, &mirror.names) && budget.disrupted.binary_search(&victim).is_err());
        let used: Vec<_> = its.cloned().collect();
        for mut budget in used {
            budget.allowed = budget.allowed.saturating_sub(1);
            budget.disrupted.push(victim);
            self.cluster.put_budget(budget);
        }
    }
}
