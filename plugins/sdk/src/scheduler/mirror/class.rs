//! A class of pods as the plugin keeps it.
use super::Demand;
use crate::scheduler::types::{Label, Operator, PodClass, PodTerm, Requirement, SpreadConstraint};
use crate::scheduler::{
    mirror::Mirror,
    select::{selects, value},
};

/// A class, and its pods.
#[derive(Debug)]
pub struct Class {
    pub said: PodClass,
    /// By key.
    pub labels: Vec<Label>,
    pub demand: Demand,
    /// Its pods that count on nodes.
    pub pods: Vec<u32>,
}

/// Which pods are meant: those of some namespaces that a selector chooses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who {
    /// Sorted.
    pub namespaces: Vec<u32>,
    /// And those whose labels this chooses.
    pub chosen: Option<Vec<Requirement>>,
    /// Without one, nobody.
    pub selector: Option<Vec<Requirement>>,
}

/// Who, and over which topology.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    pub key: u32,
    pub who: Who,
}

impl Who {
    pub fn means(&self, class: &Class, mirror: &Mirror) -> bool {
        let Some(selector) = &self.selector else { return false };
        let namespace = class.said.namespace;
        let chosen = |selector: &Vec<Requirement>| selects(selector, mirror.namespace(namespace), &mirror.names);
        (self.namespaces.binary_search(&namespace).is_ok() || self.chosen.as_ref().is_some_and(chosen))
            && selects(selector, &class.labels, &mirror.names)
    }

    /// The one namespace that it is about, if it is one.
    pub fn one_namespace(&self) -> Option<u32> {
        match (&*self.namespaces, &self.chosen) {
            (&[one], None) => Some(one),
            _ => None,
        }
    }
}

impl Class {
    pub fn new(said: PodClass) -> Self {
        let mut labels = said.labels.clone();
        labels.sort_unstable();
        labels.dedup_by_key(|label| label.key);
        Class {
            labels,
            demand: Demand::of(&said),
            said,
            pods: Vec::new(),
        }
    }

    /// The class without its pods.
    pub fn clone_said(&self) -> Self {
        Class {
            said: self.said.clone(),
            labels: self.labels.clone(),
            demand: self.demand.clone(),
            pods: Vec::new(),
        }
    }

    /// What one of its pod terms means.
    pub fn term(&self, term: &PodTerm) -> Term {
        let mut namespaces = term.namespaces.clone();
        let mut chosen = term.namespace_selector.clone();
        if let Some(chosen) = &mut chosen {
            chosen.sort_unstable();
        } else if namespaces.is_empty() {
            namespaces.push(self.said.namespace);
        }
        namespaces.sort_unstable();
        namespaces.dedup();
        let (same, other) = (&term.match_label_keys, &term.mismatch_label_keys);
        Term {
            key: term.topology_key,
            who: Who {
                namespaces,
                chosen,
                selector: self.merged(term.selector.as_ref(), same, other),
            },
        }
    }

    /// Whom one of its spread constraints counts.
    pub fn spread_over(&self, constraint: &SpreadConstraint) -> Who {
        self.alike(self.merged(constraint.selector.as_ref(), &constraint.match_label_keys, &[]))
    }

    /// Those of its own namespace that a selector chooses.
    pub fn alike(&self, selector: Option<Vec<Requirement>>) -> Who {
        Who {
            namespaces: vec![self.said.namespace],
            chosen: None,
            selector,
        }
    }

    /// A selector with what it takes over from the pod's own labels.
    fn merged(&self, selector: Option<&Vec<Requirement>>, same: &[u32], other: &[u32]) -> Option<Vec<Requirement>> {
        let mut merged = selector?.clone();
        for (keys, operator) in [(same, Operator::IsIn), (other, Operator::NotIn)] {
            let own = keys.iter().filter_map(|key| Some((*key, value(&self.labels, *key)?)));
            merged.extend(own.map(|(key, value)| Requirement {
                key,
                operator,
                values: vec![value],
            }));
        }
        merged.sort_unstable();
        merged.dedup();
        Some(merged)
    }
}
