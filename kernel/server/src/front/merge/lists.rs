//! Which lists are sets of named things, and by which field: Kubernetes' merge keys.
use sampan_api::KindInfo;
use serde_json::{Map, Value};

/// How the lists of a kind merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// As Kubernetes' kinds do.
    Keyed,
    /// Every list is one value: the kind's fields are the user's own.
    Atomic,
}

/// How one list merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// By a field of its items.
    By(&'static str),
    /// As a set of plain values.
    Set,
    Atomic,
}

impl Lists {
    /// How the lists of a kind merge.
    pub fn of(kind: &KindInfo) -> Self {
        if kind.resource == sampan_api::plugin::RESOURCE {
            Lists::Atomic
        } else {
            Lists::Keyed
        }
    }

    /// How the list `field` of an object found under `parent` merges.
    pub fn merge(self, parent: &str, field: &str) -> Merge {
        if self == Lists::Atomic {
            return Merge::Atomic;
        }
        match (parent, field) {
            ("metadata", "finalizers") => Merge::Set,
            ("metadata", "ownerReferences") => Merge::By("uid"),
            (_, "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" | "imagePullSecrets") => {
                Merge::By("name")
            }
            // Of containers (list items have no name of their own: the parent is the list) and of services.
            ("containers" | "initContainers" | "ephemeralContainers", "ports") => Merge::By("containerPort"),
            ("spec", "ports") => Merge::By("port"),
            (_, "volumeMounts") => Merge::By("mountPath"),
            (_, "volumeDevices") => Merge::By("devicePath"),
            (_, "hostAliases") => Merge::By("ip"),
            (_, "topologySpreadConstraints") => Merge::By("topologyKey"),
            ("status", "conditions" | "addresses") => Merge::By("type"),
            _ => Merge::Atomic,
        }
    }
}

/// The items of a list by a field, if each has it and no two have the same.
pub fn keyed<'a>(list: &'a [Value], by: &str) -> Option<Vec<(&'a Value, &'a Map<String, Value>)>> {
    let mut items: Vec<(&Value, &Map<String, Value>)> = Vec::with_capacity(list.len());
    let mut seen = std::collections::HashSet::new();
    for item in list {
        let map = item.as_object()?;
        let key = map.get(by).filter(|key| key.is_string() || key.is_number())?;
        if !seen.insert(key.to_string()) {
            return None;
        }
        items.push((key, map));
    }
    Some(items)
}
