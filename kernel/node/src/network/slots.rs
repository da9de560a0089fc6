//! All slots of a world, as the Plugin objects name them.
use super::{
    failures::Failure,
    fleet::Fleet,
    objects::{News, Objects},
    planner::Planner,
    slot::Slot,
};
use sampan_sandbox::network::Identity;
use std::{collections::BTreeMap, time::Instant};

/// The slots, by name.
pub struct Slots<P: Planner>(BTreeMap<String, Slot<P>>);

impl<P: Planner> Default for Slots<P> {
    fn default() -> Self {
        Slots(BTreeMap::new())
    }
}

impl<P: Planner> Slots<P> {
    /// Those that begin with what was wanted before.
    pub fn resuming(sums: impl IntoIterator<Item = (String, P::Sum)>) -> Self {
        let slots = sums.into_iter().map(|(name, sum)| (name, Slot::resuming(sum)));
        Slots(slots.collect())
    }

    /// What each wants.
    pub fn sums(&self) -> impl Iterator<Item = (&String, &P::Sum)> {
        self.0.iter().map(|(name, slot)| (name, &slot.sum))
    }

    /// The resources that plugins want to be told of.
    pub fn watches(&self) -> impl Iterator<Item = &String> {
        self.0.values().flat_map(Slot::watches)
    }

    /// Whether somebody is still to take a place, or has not been told all.
    pub fn are_behind(&self) -> bool {
        self.0.values().any(Slot::is_behind)
    }

    /// When one is to be asked again after a failure.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(Slot::due).min()
    }

    pub fn take(&mut self, news: &News) {
        self.0.values_mut().for_each(|slot| slot.take(news));
    }

    /// Brings in whom the line-ups name; what nobody is wanted for any more goes.
    pub fn seat(&mut self, fleet: &mut Fleet, objects: &Objects, me: &Identity) -> (Vec<P::Op>, Vec<Failure>) {
        let line_ups = fleet.line_ups(P::WORLD, objects);
        let (mut ops, mut failures) = (Vec::new(), Vec::new());
        self.0.retain(|name, slot| {
            let stays = line_ups.contains_key(name);
            if !stays {
                ops.extend(P::changes(&slot.sum, &P::Sum::default()));
            }
            stays
        });
        for (name, line_up) in line_ups {
            let taken = self.taken(&name);
            let slot = self.0.entry(name).or_default();
            let seated = slot.seat(&line_up, me, &taken);
            failures.extend(seated.err());
        }
        (ops, failures)
    }

    pub fn get(&self, name: &str) -> Option<&Slot<P>> {
        self.0.get(name)
    }

    /// The tables that others than a slot fill.
    pub fn taken(&self, name: &str) -> Vec<P::Table> {
        let others = self.0.iter().filter(|(other, _)| *other != name);
        others.flat_map(|(_, slot)| slot.tables()).copied().collect()
    }

    /// Asks everybody who was told something.
    pub fn ask(&mut self, objects: &Objects, bounds: &P::Bounds) -> (Vec<P::Op>, Vec<Failure>) {
        let (mut ops, mut failures) = (Vec::new(), Vec::new());
        for slot in self.0.values_mut() {
            match slot.ask(objects, bounds) {
                Ok(more) => ops.extend(more),
                Err(failure) => failures.push(failure),
            }
        }
        (ops, failures)
    }
}
