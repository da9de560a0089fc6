//! What else rules look at: namespaces with their labels, disruption budgets, groups of pods, and whom Services and owners select.
use super::{numbers::Numbers, pods::Pods, symbols::Symbols};
use crate::policies::scheduling::reading::{Group, Selector, select_labels, selector};
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use sampan_api::{Key, Object};
use sampan_sandbox::scheduler::{self as wire, MOST_LABELS};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// The namespaces, by their names' symbols.
#[derive(Debug, Default)]
pub struct Namespaces(BTreeMap<u32, wire::Namespace>);

impl Namespaces {
    pub fn get(&self, name: u32) -> Option<&wire::Namespace> {
        self.0.get(&name)
    }

    pub fn names(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// A namespace as it is now; its number if its labels changed. Of too many labels the first count.
    pub fn put(&mut self, object: &Object, symbols: &mut Symbols) -> Option<u32> {
        let name = symbols.number(&object.metadata.name);
        let label = |(key, value): (&String, &String)| wire::Label {
            key: symbols.number(key),
            value: symbols.number(value),
        };
        let labels = object.metadata.labels.iter().take(MOST_LABELS).map(label).collect();
        let namespace = wire::Namespace { name, labels };
        let same = self.0.get(&name) == Some(&namespace);
        self.0.insert(name, namespace);
        (!same).then_some(name)
    }

    pub fn remove(&mut self, name: &str, symbols: &mut Symbols) -> Option<u32> {
        let name = symbols.number(name);
        self.0.remove(&name).map(|_| name)
    }
}

/// A PodDisruptionBudget; whom it counts as disrupted is known by name.
#[derive(Debug, PartialEq)]
struct BudgetEntry {
    namespace: String,
    wire: wire::Budget,
    disrupted: Vec<String>,
}

/// The disruption budgets.
#[derive(Debug)]
pub struct Budgets {
    numbers: Numbers,
    by_key: HashMap<Key, u32>,
    entries: BTreeMap<u32, BudgetEntry>,
}

impl Default for Budgets {
    fn default() -> Self {
        Budgets {
            numbers: Numbers::below(u32::MAX),
            by_key: HashMap::new(),
            entries: BTreeMap::new(),
        }
    }
}

impl Budgets {
    pub fn get(&self, id: u32, pods: &Pods) -> Option<wire::Budget> {
        let entry = self.entries.get(&id)?;
        let pod = |name: &String| pods.number(&Key::new("pods", &entry.namespace, name));
        let mut budget = entry.wire.clone();
        budget.disrupted = entry.disrupted.iter().filter_map(pod).collect();
        Some(budget)
    }

    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.entries.keys().copied()
    }

    pub fn told(&mut self) {
        self.numbers.told();
    }

    /// A budget as it is now; its number. One whose selector cannot be read is about nobody.
    pub fn put(&mut self, key: &Key, object: &Object, symbols: &mut Symbols) -> Option<u32> {
        let spec: PodDisruptionBudgetSpec = object.field("spec").unwrap_or_default();
        let status: PodDisruptionBudgetStatus = object.field("status").unwrap_or_default();
        let known = self.by_key.get(key).copied();
        let id = known.or_else(|| self.numbers.give())?;
        let selected = spec.selector.as_ref().and_then(|given| selector(given, symbols).ok());
        let entry = BudgetEntry {
            namespace: key.namespace.to_string(),
            wire: wire::Budget {
                id,
                namespace: symbols.number(&key.namespace),
                selector: selected,
                allowed: status.disruptions_allowed.unwrap_or_default(),
                disrupted: Vec::new(),
            },
            disrupted: status
                .disrupted_pods
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
                .collect(),
        };
        self.by_key.insert(key.clone(), id);
        self.entries.insert(id, entry);
        Some(id)
    }

    pub fn remove(&mut self, key: &Key) -> Option<u32> {
        let id = self.by_key.remove(key)?;
        self.entries.remove(&id);
        self.numbers.take_back(id);
        Some(id)
    }
}

/// What PodGroups say of their pods, by namespace and name.
#[derive(Debug, Default)]
pub struct PodGroups(HashMap<String, BTreeMap<String, Said>>);

/// What a PodGroup says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    /// How many pods are placed, or none.
    least: u32,
    /// For how long they are tried at a time.
    patience: Duration,
}

/// Of a PodGroup that does not say; the number of Kubernetes' coscheduling plugin.
const PATIENCE: Duration = Duration::from_secs(60);

impl Said {
    fn of(object: &Object) -> Self {
        let spec = object.field_value("spec");
        let number = |field: &str| spec[field].as_u64().and_then(|number| u32::try_from(number).ok());
        let patience = number("scheduleTimeoutSeconds").filter(|seconds| *seconds > 0);
        Said {
            least: number("minMember").unwrap_or(1),
            patience: patience.map_or(PATIENCE, |seconds| Duration::from_secs(seconds.into())),
        }
    }
}

impl PodGroups {
    /// A group as it is now, or gone; whether it says something else.
    pub fn put(&mut self, key: &Key, object: Option<&Object>) -> bool {
        let said = object.map(Said::of);
        let known = self.0.entry(key.namespace.to_string()).or_default();
        let before = match said {
            Some(said) => known.insert(key.name.to_string(), said),
            None => known.remove(&*key.name),
        };
        if known.is_empty() {
            self.0.remove(&*key.namespace);
        }
        before != said
    }

    fn said(&self, group: &Group) -> Option<&Said> {
        self.0.get(&*group.namespace)?.get(&*group.name)
    }

    /// How many of a group are placed, or none: as its object says, or where there is none the labels of its pods.
    pub fn least(&self, group: &Group) -> u32 {
        self.said(group).map_or(group.least, |said| said.least)
    }

    /// For how long a group is tried at a time. One without an object is tried for as long as it is there.
    pub fn patience(&self, group: &Group) -> Option<Duration> {
        self.said(group).map(|said| said.patience)
    }
}

/// Whom Services and the owners of pods select: the cluster's default spread constraints count those.
#[derive(Debug, Default)]
pub struct Siblings {
    /// By namespace and name.
    services: HashMap<String, BTreeMap<String, BTreeMap<String, String>>>,
    owners: HashMap<String, LabelSelector>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    selector: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnerSpec {
    selector: Option<LabelSelector>,
}

impl Siblings {
    /// A Service as it is now, or gone; whether its selector is another.
    pub fn service(&mut self, key: &Key, object: Option<&Object>) -> bool {
        let spec = object.map(|object| object.field::<ServiceSpec>("spec").unwrap_or_default());
        let selector = spec
            .and_then(|spec| spec.selector)
            .filter(|selector| !selector.is_empty());
        let known = self.services.entry(key.namespace.to_string()).or_default();
        let before = match selector.clone() {
            Some(selector) => known.insert(key.name.to_string(), selector),
            None => known.remove(&*key.name),
        };
        if known.is_empty() {
            self.services.remove(&*key.namespace);
        }
        before != selector
    }

    /// A ReplicaSet or StatefulSet as it is now, or gone; its uid if it is new. What it selects never changes.
    pub fn owner(&mut self, object: &Object, gone: bool) -> bool {
        let uid = &object.metadata.uid;
        if gone {
            return self.owners.remove(uid).is_some();
        }
        if self.owners.contains_key(uid) {
            return false;
        }
        let spec: OwnerSpec = object.field("spec").unwrap_or_default();
        self.owners.insert(uid.clone(), spec.selector.unwrap_or_default());
        true
    }

    /// What selects pods like these: all that Services that select them and their owner ask for.
    pub fn of(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        owner: Option<&str>,
        symbols: &mut Symbols,
    ) -> Option<Selector> {
        let services = self.services.get(namespace).into_iter().flat_map(BTreeMap::values);
        let selects =
            |service: &&BTreeMap<String, String>| service.iter().all(|(key, value)| labels.get(key) == Some(value));
        let mut all = Vec::new();
        for service in services.filter(selects) {
            all.extend(select_labels(service, symbols));
        }
        if let Some(owner) = owner.and_then(|owner| self.owners.get(owner)) {
            all.extend(selector(owner, symbols).unwrap_or_default());
        }
        all.sort();
        all.dedup();
        all.truncate(MOST_LABELS);
        (!all.is_empty()).then_some(all)
    }
}
