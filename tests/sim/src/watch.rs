//! A watcher: follows the state by events, on one replica and then on another, and must miss and repeat nothing.
use crate::{failure::Failure, fault::Fault, oracle::Oracle, random::Random};
use sampan_api::{Key, Revision, Selection};
use sampan_state::{EventKind, Snapshot};
use std::collections::BTreeMap;

/// One watcher and what it knows by its events.
#[derive(Default)]
pub struct Watcher {
    /// Whom it watches; 0 for nobody yet.
    pub member: u64,
    after: Revision,
    objects: BTreeMap<Key, Revision>,
    /// How often it went on at another replica from where it was.
    pub resumed: u64,
    /// How often what it missed was forgotten there.
    pub expired: u64,
}

impl Watcher {
    /// Goes to another member.
    pub fn move_to(&mut self, member: u64) {
        self.resumed += u64::from(self.member != member && self.member != 0);
        self.member = member;
    }

    /// Takes in what is new at its member.
    pub fn look(
        &mut self,
        state: &Snapshot,
        oracle: &Oracle,
        fault: Fault,
        random: &mut Random,
    ) -> Result<(), Failure> {
        if state.revision() < self.after {
            // This one has not come so far yet.
            return Ok(());
        }
        let Ok(mut events) = state.since(self.after) else {
            self.expired += 1;
            self.objects = listed(state);
            self.after = state.revision();
            return Ok(());
        };
        if fault == Fault::RepeatEvents && self.after > 0 && random.chance(1, 20) {
            events.splice(0..0, oracle.events(self.after).iter().cloned());
        }
        if fault == Fault::SkipEvents && random.chance(1, 20) {
            events.pop();
        }
        let expected = (self.after + 1..=state.revision()).flat_map(|revision| oracle.events(revision));
        let said = |event: &sampan_state::Event| (event.revision, event.key.clone(), event.kind);
        if !events
            .iter()
            .map(|event| said(event))
            .eq(expected.map(|event| said(event)))
        {
            return Err(Failure::new(format!(
                "a watch of member {} after revision {} up to {} misses or repeats something",
                self.member,
                self.after,
                state.revision()
            )));
        }
        for event in events {
            match event.kind {
                EventKind::Deleted => self.objects.remove(&event.key),
                EventKind::Added | EventKind::Modified => self.objects.insert(event.key.clone(), event.revision),
            };
        }
        self.after = state.revision();
        if self.objects != listed(state) {
            let (member, after) = (self.member, self.after);
            return Err(Failure::new(format!(
                "what a watch of member {member} says is not its state at revision {after}"
            )));
        }
        Ok(())
    }
}

fn listed(state: &Snapshot) -> BTreeMap<Key, Revision> {
    let all = Selection::of("*");
    let version = |(key, object): (Key, std::sync::Arc<sampan_api::Object>)| (key, object.metadata.resource_version);
    state.list(&all).map(version).collect()
}
