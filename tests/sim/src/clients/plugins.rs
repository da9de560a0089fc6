//! Operators that swap the plugin in force: one plan for the modes of two, on the revisions that were seen.
use super::Book;
use crate::{
    ask::{Ask, Freshness},
    objects,
};
use sampan_api::plugin::{Mode, PluginSpec};
use sampan_state::Snapshot;

pub fn look(book: &mut Book) -> Freshness {
    if book.random.chance(1, 2) {
        Freshness::Stale
    } else {
        book.freshness()
    }
}

/// The plan of a swap.
pub fn swap(state: &Snapshot, book: &mut Book) -> Option<Ask> {
    let revision = |number| {
        state
            .get(&objects::plugin_key(number))
            .map(|plugin| plugin.metadata.resource_version)
    };
    let is_active = |number: &u64| {
        let plugin = state.get(&objects::plugin_key(*number));
        let spec: Option<PluginSpec> = plugin.and_then(|plugin| plugin.field("spec").ok());
        spec.is_some_and(|spec| spec.mode == Mode::Active)
    };
    let active = (0..objects::PLUGINS).find(is_active)?;
    let next = (active + book.random.between(1, objects::PLUGINS - 1)) % objects::PLUGINS;
    let writes = vec![
        objects::plugin_mode(active, Mode::Standby).expecting(revision(active)?),
        objects::plugin_mode(next, Mode::Active).expecting(revision(next)?),
    ];
    Some(Ask::Commit {
        plans: vec![writes.into()],
        key: String::new(),
    })
}
