//! From a class to its rules: terms become counters.
use super::{Hard, Near, Pull, Rules, Soft};
use crate::{
    Cluster,
    config::{DefaultConstraint, WhenUnsatisfiable},
    counts::{NODE_KEY, Reachable, Seen, Spec, Subject},
    hashing::Map,
    index::MOST_KEYS,
    mirror::{Class, Term, Who},
    names::UNKNOWN,
};
use sampan_sdk::scheduler::types::{Inclusion, PreferredPod, SpreadConstraint, Unsatisfiable};

/// Makes rules, and the counters that they need.
pub struct Compiler<'a> {
    pub cluster: &'a mut Cluster,
    /// The constraints of pods that have none of their own.
    pub defaults: &'a [DefaultConstraint],
    /// Whether those are Kubernetes' own.
    pub system: bool,
}

impl Compiler<'_> {
    /// How far a look at all that pods carry goes now.
    pub fn carried_until(&self, class: &Class) -> (Seen, usize) {
        let carried = &self.cluster.counts.carried;
        (carried.end(class.said.namespace), carried.len())
    }

    /// Whether anything that pods carry has come since, and is about the class.
    pub fn concerned(&self, class: &Class, seen: Seen) -> bool {
        let cluster = &self.cluster;
        cluster
            .counts
            .carried
            .about(class, &cluster.mirror, seen)
            .next()
            .is_some()
    }

    pub fn compile(&mut self, class: &Class) -> Rules {
        let said = &class.said;
        let mut preferred = said.preferred_nodes.clone();
        preferred.retain(|preferred| preferred.weight != 0);
        let (hard, soft, all_labels) = self.spread(class);
        let wanted: Vec<Term> = said.affinity.iter().map(|term| class.term(term)).collect();
        let unwanted: Vec<Term> = said.anti_affinity.iter().map(|term| class.term(term)).collect();
        let means_itself = |term: &Term| term.who.means(class, &self.cluster.mirror);
        let affinity_own = !wanted.is_empty() && wanted.iter().all(means_itself);
        // A pod counts for an affinity if all terms mean it, wherever each of them looks.
        let all: Vec<Who> = wanted.iter().map(|term| term.who.clone()).collect();
        let affinity = wanted
            .iter()
            .map(|term| self.near(Subject::Pods(all.clone()), term.key))
            .collect();
        let anti_affinity = unwanted.iter().map(|term| self.near_to(term)).collect();
        let (existing, pulls) = self.pulls(class);
        let rules = Rules {
            priority: said.priority,
            demand: class.demand.clone(),
            node_selector: said.node_selector.clone(),
            required: said.required_nodes.clone(),
            preferred,
            tolerations: said.tolerations.clone(),
            images: said.images.clone(),
            hard,
            soft,
            all_labels,
            affinity,
            affinity_own,
            anti_affinity,
            existing,
            pulls,
            many_keys: false,
        };
        let many_keys = rules.keys().len() > MOST_KEYS;
        Rules { many_keys, ..rules }
    }

    fn counter(&mut self, subject: Subject, key: u32, filter: u32, ending_too: bool) -> u32 {
        let spec = Spec {
            subject,
            key,
            filter,
            ending_too,
        };
        self.cluster.counts.counter(&self.cluster.mirror, spec)
    }

    fn key(&mut self, symbol: u32) -> u32 {
        self.cluster.counts.topology.key(&self.cluster.mirror, symbol)
    }

    fn near(&mut self, subject: Subject, symbol: u32) -> Near {
        let key = self.key(symbol);
        let counter = self.counter(subject, key, 0, true);
        Near { counter, key }
    }

    fn near_to(&mut self, term: &Term) -> Near {
        self.near(Subject::Pods(vec![term.who.clone()]), term.key)
    }

    /// What the pods that are there carry about this class, and whom the class itself prefers.
    fn pulls(&mut self, class: &Class) -> (Vec<Near>, Vec<Pull>) {
        let (mut existing, mut pulls) = (Vec::new(), Vec::new());
        let carried = &self.cluster.counts.carried;
        let about = carried.about(class, &self.cluster.mirror, Seen::default());
        let about: Vec<(u32, bool, u32)> = about
            .map(|id| (id, carried.get(id).forbids, carried.get(id).term.key))
            .collect();
        for (id, forbids, symbol) in about {
            let near = self.near(Subject::Carried(id), symbol);
            if forbids {
                existing.push(near);
            } else {
                pulls.push(Pull { near, weight: 1 });
            }
        }
        let (liked, disliked) = (&class.said.preferred_affinity, &class.said.preferred_anti_affinity);
        let mut weighted = |preferred: &PreferredPod, sign: i32| Pull {
            near: self.near_to(&class.term(&preferred.term)),
            weight: sign * preferred.weight,
        };
        pulls.extend(liked.iter().map(|preferred| weighted(preferred, 1)));
        pulls.extend(disliked.iter().map(|preferred| weighted(preferred, -1)));
        let mut merged: Map<u32, usize> = Map::default();
        let mut all: Vec<Pull> = Vec::new();
        for pull in pulls {
            match merged.get(&pull.near.counter) {
                Some(place) => all[*place].weight += pull.weight,
                None => {
                    merged.insert(pull.near.counter, all.len());
                    all.push(pull);
                }
            }
        }
        all.retain(|pull| pull.weight != 0);
        existing.sort_by_key(|near| near.counter);
        (existing, all)
    }

    /// Required and preferred constraints, and whether a node needs the labels of all the preferred ones.
    fn spread(&mut self, class: &Class) -> (Vec<Hard>, Vec<Soft>, bool) {
        let own = !class.said.spread.is_empty();
        let constraints: Vec<(SpreadConstraint, Subject)> = if own {
            let who = |constraint: &SpreadConstraint| Subject::Pods(vec![class.spread_over(constraint)]);
            let all = class.said.spread.iter();
            all.map(|constraint| (constraint.clone(), who(constraint))).collect()
        } else {
            self.default_spread(class)
        };
        let all_labels = own || !self.system;
        let of = |kind: Unsatisfiable| {
            constraints
                .iter()
                .filter(move |(constraint, _)| constraint.when_unsatisfiable == kind)
        };
        let hard_keys: Vec<u32> = of(Unsatisfiable::DoNotSchedule)
            .map(|(constraint, _)| constraint.topology_key)
            .collect();
        let soft_keys: Vec<u32> = of(Unsatisfiable::ScheduleAnyway)
            .map(|(constraint, _)| constraint.topology_key)
            .collect();
        let soft_keys = if all_labels { soft_keys } else { Vec::new() };
        let hard = of(Unsatisfiable::DoNotSchedule)
            .map(|(constraint, subject)| self.hard(class, constraint, subject, &hard_keys))
            .collect();
        let soft: Vec<Soft> = of(Unsatisfiable::ScheduleAnyway)
            .map(|(constraint, subject)| self.soft(class, constraint, subject, &soft_keys))
            .collect();
        let all_labels = all_labels && !soft.is_empty();
        (hard, soft, all_labels)
    }

    fn default_spread(&self, class: &Class) -> Vec<(SpreadConstraint, Subject)> {
        let said = &class.said;
        let subject = match (&said.siblings, said.owner) {
            (Some(selector), _) => {
                let mut selector = selector.clone();
                selector.sort_unstable();
                Subject::Pods(vec![class.alike(Some(selector))])
            }
            (None, 0) => return Vec::new(),
            (None, owner) => Subject::Owner {
                namespace: said.namespace,
                owner,
            },
        };
        let constraint = |default: &DefaultConstraint| SpreadConstraint {
            max_skew: default.max_skew,
            topology_key: self.cluster.mirror.names.symbol(&default.topology_key),
            when_unsatisfiable: match default.when_unsatisfiable {
                WhenUnsatisfiable::DoNotSchedule => Unsatisfiable::DoNotSchedule,
                WhenUnsatisfiable::ScheduleAnyway => Unsatisfiable::ScheduleAnyway,
            },
            selector: None,
            match_label_keys: Vec::new(),
            min_domains: 1,
            node_affinity_policy: Inclusion::Honor,
            node_taints_policy: Inclusion::Ignore,
        };
        self.defaults
            .iter()
            .map(|default| (constraint(default), subject.clone()))
            .collect()
    }

    fn filter(&mut self, class: &Class, constraint: &SpreadConstraint, keys: &[u32]) -> u32 {
        let said = &class.said;
        let affinity = constraint.node_affinity_policy == Inclusion::Honor;
        let taints = constraint.node_taints_policy == Inclusion::Honor;
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let who = Reachable {
            selector: if affinity {
                said.node_selector.clone()
            } else {
                Vec::new()
            },
            required: said.required_nodes.clone().filter(|_| affinity),
            tolerations: taints.then(|| said.tolerations.clone()),
            keys,
        };
        self.cluster.counts.topology.filter(&self.cluster.mirror, who)
    }

    fn hard(&mut self, class: &Class, constraint: &SpreadConstraint, subject: &Subject, keys: &[u32]) -> Hard {
        let (key, filter) = (self.key(constraint.topology_key), self.filter(class, constraint, keys));
        let counter = self.counter(subject.clone(), key, filter, false);
        self.cluster.counts.order(&self.cluster.mirror, counter);
        Hard {
            counter,
            key,
            max_skew: i32::try_from(constraint.max_skew).unwrap_or(i32::MAX),
            min_domains: constraint.min_domains as usize,
            own: i32::from(subject.means(class, &self.cluster.mirror)),
        }
    }

    fn soft(&mut self, class: &Class, constraint: &SpreadConstraint, subject: &Subject, keys: &[u32]) -> Soft {
        let symbol = constraint.topology_key;
        let by_host = symbol == self.cluster.mirror.names.hostname() && symbol != UNKNOWN;
        let key = self.key(symbol);
        let counter = if by_host {
            self.counter(subject.clone(), NODE_KEY, 0, false)
        } else {
            let filter = self.filter(class, constraint, keys);
            self.counter(subject.clone(), key, filter, false)
        };
        Soft {
            counter,
            key,
            max_skew: i32::try_from(constraint.max_skew).unwrap_or(i32::MAX),
            by_host,
        }
    }
}
