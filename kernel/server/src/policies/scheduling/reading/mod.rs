//! What the scheduling loop reads of a pod. Pods of one ReplicaSet have one text as their spec, which is read once.
pub mod amounts;
mod class;
pub mod facts;
mod select;

pub use facts::Facts;
pub use select::{Selector, labels as select_labels, selector};

use super::mirror::{
    classes::{ClassEntry, Classes},
    symbols::Symbols,
};
use k8s_openapi::api::core::v1::PodSpec;
use sampan_api::{Object, plugin::DEFAULT_SCHEDULER};
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

/// The labels that name a pod's group and how many of it are needed, as Kubernetes' scheduler plugins know them.
const GROUP: [&str; 2] = ["scheduling.x-k8s.io/pod-group", "pod-group.scheduling.sigs.k8s.io/name"];
const LEAST: [&str; 2] = [
    "scheduling.x-k8s.io/min-member",
    "pod-group.scheduling.sigs.k8s.io/min-available",
];

/// More than the contract has room for, or nothing that has a meaning; for people.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct TooMuch(pub String);

fn check(what: &str, count: usize, most: usize) -> Result<(), TooMuch> {
    match count > most {
        true => Err(TooMuch(format!(
            "{count} {what}, and schedulers are told of {most} at the most"
        ))),
        false => Ok(()),
    }
}

/// All that a pod's spec and labels say to the scheduling loop.
#[derive(Debug, PartialEq)]
pub struct Shape {
    /// 0 where it has none, for the reason `refused`.
    pub class: u32,
    pub scheduler: Arc<str>,
    pub gated: bool,
    pub priority: i32,
    pub may_preempt: bool,
    /// The only node that will do.
    pub pinned: Option<Arc<str>>,
    pub group: Option<Group>,
    pub refused: Option<TooMuch>,
}

/// The group that a pod is placed with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// How many of it are placed, or none, as the labels say.
    pub least: u32,
}

/// What was read before.
#[derive(Debug, Default)]
pub struct Readings {
    hashers: [RandomState; 2],
    shapes: HashMap<u128, Arc<Shape>>,
}

impl Readings {
    /// Reads a pod; whether it is of a class that is new. One that is over the contract's bounds has none.
    pub fn read(&mut self, object: &Object, symbols: &mut Symbols, classes: &mut Classes) -> (Arc<Shape>, Option<u32>) {
        let text = object.fields.get("spec").map_or("{}", |raw| raw.get());
        let digest = self.digest(object, facts::without_node(text));
        if let Some(shape) = self.shapes.get(&digest) {
            return (shape.clone(), None);
        }
        let (shape, new) = shape(object, symbols, classes);
        let shape = Arc::new(shape);
        if shape.class != 0 {
            if let Some(forgotten) = classes.remember(shape.class, digest) {
                self.shapes.remove(&forgotten);
            }
            self.shapes.insert(digest, shape.clone());
        }
        (shape, new)
    }

    /// A class is gone.
    pub fn forget(&mut self, class: &ClassEntry) {
        for digest in &class.readings {
            self.shapes.remove(digest);
        }
    }

    /// Of all that a shape is read from. Keyed by chance, so that nobody can make two pods look alike.
    fn digest(&self, object: &Object, (before, after): (&str, &str)) -> u128 {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            let meta = &object.metadata;
            let labels = meta.labels.iter().flat_map(|(key, value)| [key.as_str(), value]);
            for text in [before, after, &meta.namespace, owner(object).unwrap_or_default()]
                .into_iter()
                .chain(labels)
            {
                hasher.write(text.as_bytes());
                hasher.write_u8(0xff);
            }
            hasher.finish()
        };
        let [high, low] = &self.hashers;
        (u128::from(half(high)) << 64) | u128::from(half(low))
    }
}

/// The uid of what a pod is one of many of.
fn owner(object: &Object) -> Option<&str> {
    let owner = object.metadata.controller()?;
    let counts = matches!(&*owner.kind, "ReplicaSet" | "ReplicationController" | "StatefulSet");
    counts.then_some(owner.uid.as_str())
}

fn shape(object: &Object, symbols: &mut Symbols, classes: &mut Classes) -> (Shape, Option<u32>) {
    let meta = &object.metadata;
    let (spec, unreadable) = match object.field::<PodSpec>("spec") {
        Ok(spec) => (spec, None),
        Err(error) => (PodSpec::default(), Some(TooMuch(error.to_string()))),
    };
    let read = match unreadable {
        Some(error) => Err(error),
        None => class::read(&spec, &meta.namespace, &meta.labels, owner(object), symbols),
    };
    let (class, pinned, new, refused) = match read {
        Ok((class, pinned)) => {
            let entry = |class| {
                let owner = owner(object).map(Arc::from);
                ClassEntry::new(
                    class,
                    meta.namespace.as_str().into(),
                    Arc::new(meta.labels.clone()),
                    owner,
                )
            };
            match classes.number(class, entry) {
                Some((id, new)) => (id, pinned, new.then_some(id), None),
                None => (
                    0,
                    None,
                    None,
                    Some(TooMuch("too many kinds of pods in this cluster".to_owned())),
                ),
            }
        }
        Err(error) => (0, None, None, Some(error)),
    };
    let shape = Shape {
        class,
        gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
        priority: class::priority(&spec),
        may_preempt: spec.preemption_policy.as_deref() != Some("Never"),
        scheduler: spec
            .scheduler_name
            .as_deref()
            .filter(|name| !name.is_empty())
            .unwrap_or(DEFAULT_SCHEDULER)
            .into(),
        pinned: pinned.map(Arc::from),
        group: group(object),
        refused,
    };
    (shape, new)
}

fn group(object: &Object) -> Option<Group> {
    let meta = &object.metadata;
    let said = |names: [&str; 2]| names.into_iter().find_map(|name| meta.labels.get(name));
    Some(Group {
        namespace: meta.namespace.as_str().into(),
        name: said(GROUP)?.as_str().into(),
        least: said(LEAST).and_then(|least| least.parse().ok()).unwrap_or(1),
    })
}
