//! All that is wanted, as it is in the kernel. A copy costs nothing, so a change is made to a copy, which takes the place of
//! the first once the kernel has it.
use super::{
    DatapathError, PodLink,
    changes::{Census, Changes},
    frontends::Frontends,
    intervals::{self, Intervals},
    layout,
    pods::{self, Pods},
    policies::{Policies, Unfit},
    row::{FAMILIES, named},
    settings::Settings,
};
use imbl::OrdSet;
use sampan_sandbox::network::{Entry, EntryKey, Family, PodKey, Range};
use std::collections::BTreeMap;

/// What entries become; nothing where they go.
pub(super) type Changed<'a> = BTreeMap<EntryKey, Option<&'a Entry>>;

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) routes: OrdSet<Range>,
    pub(super) frontends: Frontends,
    policies: Policies,
    pods: Pods,
    pub(super) census: Census,
}

fn unfit((key, why): Unfit) -> DatapathError {
    DatapathError::Unfit {
        what: key.to_string(),
        why,
    }
}

impl State {
    /// Where pods of the cluster are.
    fn cluster(&self, settings: &Settings, family: Family) -> Intervals {
        let known = settings.pod_ranges.iter().chain(&settings.cluster_ranges);
        intervals::joined(known.chain(&self.routes), family)
    }

    /// The table as it is before anything is wanted.
    pub(super) fn begin(settings: &Settings) -> Result<(State, Changes), DatapathError> {
        let (state, mut changes) = (State::default(), Changes::default());
        changes.left.any = true;
        layout::begin(settings, &mut changes).map_err(DatapathError::Settings)?;
        for family in FAMILIES {
            let (_, elements) = intervals::changes(&Vec::new(), &state.cluster(settings, family), family);
            changes.add_all(&named("cluster", family), elements);
        }
        Ok((state, changes))
    }

    /// The same, from nothing.
    pub(super) fn anew(&self, settings: &Settings) -> Result<(State, Changes), DatapathError> {
        let (mut state, mut changes) = State::begin(settings)?;
        state.change_routes(self.routes.clone(), settings, &mut changes);
        state.frontends.take_over(&self.frontends, settings, &mut changes);
        state.policies.take_over(&self.policies, &mut changes).map_err(unfit)?;
        state.set_pods(self.pods.clone(), &Policies::default(), &mut changes)?;
        Ok((state, changes))
    }

    fn change_routes(&mut self, routes: OrdSet<Range>, settings: &Settings, changes: &mut Changes) {
        let before = FAMILIES.map(|family| self.cluster(settings, family));
        self.routes = routes;
        changes.comes_from_nowhere();
        for (family, before) in FAMILIES.into_iter().zip(before) {
            let set = named("cluster", family);
            let (gone, fresh) = intervals::changes(&before, &self.cluster(settings, family), family);
            changes.remove_all(&set, gone);
            changes.add_all(&set, fresh);
        }
    }

    /// Takes in changed entries, and says what differs in the table.
    pub(super) fn change(
        &mut self,
        changed: &Changed<'_>,
        settings: &Settings,
        changes: &mut Changes,
    ) -> Result<(), DatapathError> {
        let mut routes = self.routes.clone();
        let (mut frontends, mut peers, mut rules) = (Vec::new(), Vec::new(), Vec::new());
        for (key, entry) in changed {
            match (key, entry) {
                (EntryKey::Route(range), Some(_)) => drop(routes.insert(*range)),
                (EntryKey::Route(range), None) => drop(routes.remove(range)),
                (EntryKey::Frontend(key), Some(Entry::Frontend(frontend))) => frontends.push((key, Some(frontend))),
                (EntryKey::Frontend(key), _) => frontends.push((key, None)),
                (EntryKey::Peers(name), Some(Entry::Peers(set))) => peers.push((name, Some(set))),
                (EntryKey::Peers(name), _) => peers.push((name, None)),
                (EntryKey::Rules(pod), Some(Entry::Rules(of_pod))) => rules.push((pod, Some(of_pod))),
                (EntryKey::Rules(pod), _) => rules.push((pod, None)),
            }
        }
        if routes != self.routes {
            self.change_routes(routes, settings, changes);
        }
        self.frontends.change(frontends, settings, changes);
        self.policies.change_peers(peers, changes);
        if !rules.is_empty() {
            let before = self.policies.clone();
            self.policies.change_rules(rules, changes).map_err(unfit)?;
            self.set_pods(self.pods.clone(), &before, changes)?;
        }
        Ok(())
    }

    /// Other pods, or the same with other rules than before.
    fn set_pods(&mut self, pods: Pods, rules_before: &Policies, changes: &mut Changes) -> Result<(), DatapathError> {
        let before = std::mem::replace(&mut self.pods, pods);
        let (old, new) = ((&before, rules_before), (&self.pods, &self.policies));
        pods::change(old, new, changes).map_err(|(pod, why)| unfit((EntryKey::Rules(pod), why)))
    }

    pub(super) fn change_pods(
        &mut self,
        pods: &BTreeMap<PodKey, PodLink>,
        changes: &mut Changes,
    ) -> Result<(), DatapathError> {
        let pods = pods.iter().map(|(key, link)| (key.clone(), link.clone())).collect();
        self.set_pods(pods, &self.policies.clone(), changes)
    }
}
