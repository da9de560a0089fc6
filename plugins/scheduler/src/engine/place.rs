//! Placing pods, one after the other, each counted at once.
use super::Engine;
use crate::{
    cluster::{PODS, covers},
    hashing::Map,
    index::refusal,
    preempt::cheapest,
    probe,
    survey::{Survey, survey},
};
use world_scheduler_02::sampan::scheduler::types::{Nomination, Placement, Pod, PodGroup, Refusal, Rule, Unplaced};

/// How much is looked at in one call before the rest of its pods is left for the next: nodes, mostly, at some tenths of a
/// microsecond each. The kernel ends calls after 200 ms.
const ENOUGH: usize = 150_000;

/// Why a pod gets no place, and who makes room for it.
pub(super) struct Refused {
    pub refusal: Refusal,
    nominated: u32,
    victims: Vec<u32>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused {
            refusal,
            nominated: 0,
            victims: Vec::new(),
        }
    }
}

/// What is said of a pod.
type Said = Result<u32, Refused>;

/// Answers as they are put together.
struct Answers {
    placement: Placement,
    known: Map<Refusal, u32>,
}

impl Answers {
    fn say(&mut self, said: Said) {
        let placement = &mut self.placement;
        match said {
            Ok(node) => placement.nodes.push(node),
            Err(refused) => {
                let next = placement.refusals.len() as u32;
                let number = *self.known.entry(refused.refusal.clone()).or_insert(next);
                if number == next {
                    placement.refusals.push(refused.refusal);
                }
                placement.unplaced.push(Unplaced {
                    pod: placement.nodes.len() as u32,
                    refusal: number,
                    nominated: refused.nominated,
                    victims: refused.victims,
                });
                placement.nodes.push(0);
            }
        }
    }
}

impl Engine {
    /// Places pods in their order; those of a group together or not at all.
    pub fn place(&mut self, pods: &[Pod], groups: &[PodGroup]) -> Placement {
        let mut answers = Answers {
            placement: Placement {
                nodes: Vec::with_capacity(pods.len()),
                unplaced: Vec::new(),
                refusals: Vec::new(),
            },
            known: Map::default(),
        };
        let mut groups: Vec<&PodGroup> = groups.iter().collect();
        groups.sort_unstable_by_key(|group| group.first);
        let mut groups = groups.into_iter().peekable();
        let mut place = 0;
        self.start_work();
        while place < pods.len() && (place == 0 || self.work() < ENOUGH) {
            let group = groups.next_if(|group| group.first as usize <= place);
            let size = group.map_or(0, |group| group.count as usize);
            match group {
                Some(group) if group.first as usize == place && size > 0 => {
                    let members = &pods[place..pods.len().min(place.saturating_add(size))];
                    self.place_group(members, group.least)
                        .into_iter()
                        .for_each(|said| answers.say(said));
                    place += members.len();
                }
                Some(_) => {}
                None => {
                    answers.say(self.place_one(&pods[place], true));
                    place += 1;
                }
            }
        }
        answers.placement
    }

    fn start_work(&mut self) {
        self.weighing.work = 0;
        self.cluster.counts.work = 0;
    }

    fn work(&self) -> usize {
        self.weighing.work + self.cluster.counts.work
    }

    /// Places pods together: at least so many, or none.
    fn place_group(&mut self, pods: &[Pod], least: u32) -> Vec<Said> {
        let nomination = |pod: &Pod| self.cluster.mirror.nominations.get(&pod.id).cloned();
        let nominations: Vec<Nomination> = pods.iter().filter_map(nomination).collect();
        let mut said: Vec<Said> = pods.iter().map(|pod| self.place_one(pod, false)).collect();
        if said.iter().filter(|said| said.is_ok()).count() >= least as usize {
            return said;
        }
        for (pod, said) in pods.iter().zip(&mut said) {
            if said.is_ok() {
                self.cluster.release(pod.id);
                let alone = Refusal {
                    for_its_group: true,
                    ..refusal(self.cluster.mirror.len(), Vec::new())
                };
                *said = Err(alone.into());
            }
        }
        nominations
            .into_iter()
            .for_each(|nomination| self.cluster.mirror.nominate(nomination));
        said
    }

    fn place_one(&mut self, pod: &Pod, may_preempt: bool) -> Said {
        if self.cluster.mirror.pod(pod.id).is_some() {
            self.cluster.release(pod.id);
        }
        let nominated = match self.cluster.mirror.nominations.is_empty() {
            true => None,
            false => self.cluster.mirror.drop_nomination(pod.id),
        };
        let Some(rules) = self.rules_of(pod.class).filter(|_| pod.id != 0 && pod.id < PODS) else {
            return Err(refusal(self.cluster.mirror.len(), Vec::new()).into());
        };
        let nominated = nominated.map_or(0, |nomination| nomination.node);
        match self.choose(pod, rules, nominated) {
            Some(node) => {
                self.cluster.bind(pod.id, node, pod.class, 0);
                Ok(node)
            }
            None => Err(self.refuse(pod, rules, may_preempt)),
        }
    }

    /// The best node, if any will do. One that victims make room on is taken if it will do by now.
    pub(super) fn choose(&mut self, pod: &Pod, rules: u32, nominated: u32) -> Option<u32> {
        if pod.pinned != 0 {
            return self.will_do(rules, pod.pinned).then_some(pod.pinned);
        }
        if nominated != 0 && self.will_do(rules, nominated) {
            return Some(nominated);
        }
        if self.needs_survey(rules) {
            self.weighing.work += 2 * self.cluster.mirror.len();
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
            self.weighing.work += 2 * self.cluster.mirror.len();
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
        refusal(self.cluster.mirror.len(), all.collect())
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
