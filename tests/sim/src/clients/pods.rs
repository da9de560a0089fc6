//! Makers of pods, and schedulers that compete for them.
use super::Book;
use crate::{
    ask::{Ask, Freshness},
    objects,
};
use sampan_api::{
    Key, Object, Plan, Selection, Write,
    plan::{Binding, Deletion, Operation},
    plugin,
};
use sampan_state::Snapshot;
use std::sync::Arc;

/// Bindings in one entry at the most.
const TOGETHER: usize = 4;

/// Pods that a scheduler lets be; it removes some where there are more.
const PODS: usize = 12;

/// Pods to be made.
pub fn make(book: &mut Book) -> Ask {
    let count = book.random.between(1, 3);
    let writes: Vec<Write> = (0..count)
        .map(|_| objects::pod_create(&format!("o{}", book.next())))
        .collect();
    let key = if book.random.chance(3, 4) {
        book.key()
    } else {
        String::new()
    };
    Ask::Commit {
        plans: vec![writes.into()],
        key,
    }
}

/// Schedulers decide on whatever they have.
pub fn look(book: &mut Book) -> Freshness {
    if book.random.chance(2, 3) {
        Freshness::Stale
    } else {
        book.freshness()
    }
}

/// Bindings for pods without a node, each a plan of its own; or the end of some pods.
pub fn bind(state: &Snapshot, book: &mut Book) -> Option<Ask> {
    let pods = Selection::of("pods");
    let pods: Vec<(Key, Arc<Object>)> = state.list(&pods).collect();
    let plugins = Selection::of(plugin::RESOURCE);
    let active = state.list(&plugins).find_map(|(_, plugin)| {
        let spec: plugin::PluginSpec = plugin.field("spec").ok()?;
        (spec.mode == plugin::Mode::Active).then_some(spec.digest)
    });
    let mut plans: Vec<Plan> = Vec::new();
    for (key, pod) in &pods {
        let write = if objects::node_of(pod).is_empty() {
            let node = objects::node_name(book.random.below(objects::NODES));
            let policy = active.clone().unwrap_or_default();
            Operation::Bind(Binding { node, policy })
        } else if pods.len() > PODS && book.random.chance(1, 2) {
            Operation::Delete(Deletion {
                uid: pod.metadata.uid.clone(),
                final_: book.random.chance(3, 4),
                ..Deletion::default()
            })
        } else {
            continue;
        };
        let expect = if book.random.chance(1, 2) {
            pod.metadata.resource_version
        } else {
            0
        };
        plans.push(Write::new(key.clone(), write).expecting(expect).into());
        if plans.len() == TOGETHER {
            break;
        }
    }
    let key = String::new();
    (!plans.is_empty()).then_some(Ask::Commit { plans, key })
}
