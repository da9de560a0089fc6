//! The network plugin `network-policy`: who may speak with the pods of this node, and with whom they may.
//!
//! What is documented for NetworkPolicy holds: <https://kubernetes.io/docs/concepts/services-networking/network-policies/>.
//! What rules name as peers are sets of addresses of their own, so that a pod that comes or goes elsewhere changes a set
//! and no rule.
mod peers;
mod rules;

use peers::Direction;
use sampan_sdk::network::{
    Change, Description, Entry, Name, Namespace, Network, NetworkPolicy as Object, Pair, Pod, PodKey, PodRules, Table,
    View, description,
};
use std::collections::BTreeSet;

#[derive(Default)]
pub struct NetworkPolicy;

/// What is decided about as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The peers of a policy's rules.
    Peers(Name),
    /// The rules of a pod of this node.
    Pod(Name),
}

impl Network for NetworkPolicy {
    type Key = Key;

    fn describe() -> Description {
        let summary = "Who may speak with whom, by Kubernetes' NetworkPolicies.";
        description("network-policy", env!("CARGO_PKG_VERSION"), summary)
    }

    fn watches() -> &'static [&'static str] {
        &["networkpolicies.networking.k8s.io", "namespaces", "pods"]
    }

    fn tables() -> &'static [Table] {
        &[Table::Policies]
    }

    fn touched(&self, change: &Change<'_>, view: &View, keys: &mut BTreeSet<Key>) {
        match change {
            Change::NetworkPolicy(pair) => {
                keys.insert(Key::Peers(pair.name.clone()));
                let pods = local_pods(view, &pair.name.namespace);
                keys.extend(pods.map(|(pod, _)| Key::Pod(pod.clone())));
            }
            Change::Pod(pair) => by_pod(pair, view, keys),
            Change::Namespace(pair) => by_namespace(pair, view, keys),
            _ => {}
        }
    }

    fn desired(&self, key: &Key, view: &View) -> Vec<Entry> {
        match key {
            Key::Peers(name) => match view.policies.get(name) {
                Some(policy) if selected(view, name, policy).next().is_some() => peers::sets(name, policy, view),
                _ => Vec::new(),
            },
            Key::Pod(name) => match view.pods.get(name) {
                Some(pod) if is_subject(view, pod) => of_pod(name, pod, view).into_iter().collect(),
                _ => Vec::new(),
            },
        }
    }
}

fn by_pod(pair: &Pair<'_, Pod>, view: &View, keys: &mut BTreeSet<Key>) {
    if pair.both().any(|pod| view.is_local(pod)) {
        keys.insert(Key::Pod(pair.name.clone()));
        // It may be the first or the last here that a policy takes.
        let policies = view.policies_within(&pair.name.namespace);
        keys.extend(policies.map(|(policy, _)| Key::Peers(policy.clone())));
    }
    for (name, policy) in &view.policies {
        if pair
            .both()
            .any(|pod| peers::may_be_named(name, policy, pair.name, pod, view))
        {
            named_by(name, policy, view, keys);
        }
    }
}

fn by_namespace(pair: &Pair<'_, Namespace>, view: &View, keys: &mut BTreeSet<Key>) {
    let labels = |namespace: Option<&Namespace>| namespace.map(|namespace| namespace.metadata.labels.clone());
    if labels(pair.before) == labels(pair.after) {
        return;
    }
    for (name, policy) in &view.policies {
        let mut peers = policy
            .spec
            .ingress
            .iter()
            .chain(&policy.spec.egress)
            .flat_map(|rule| &rule.peers);
        if peers.any(|peer| peer.namespace_selector.is_some()) {
            named_by(name, policy, view, keys);
        }
    }
}

/// The keys for which other peers of a policy make a difference: its sets, and the pods it takes where the numbers in their
/// rules are those that the peers give to ports.
fn named_by(name: &Name, policy: &Object, view: &View, keys: &mut BTreeSet<Key>) {
    keys.insert(Key::Peers(name.clone()));
    if policy
        .spec
        .egress
        .iter()
        .any(|rule| rules::named(rule).next().is_some())
    {
        keys.extend(selected(view, name, policy).map(|pod| Key::Pod(pod.clone())));
    }
}

/// Whether a pod runs here and is subject to policies.
fn is_subject(view: &View, pod: &Pod) -> bool {
    view.is_local(pod) && pod.is_networked()
}

fn local_pods<'a>(view: &'a View, namespace: &'a str) -> impl Iterator<Item = (&'a Name, &'a Pod)> {
    view.pods_within(namespace).filter(|(_, pod)| is_subject(view, pod))
}

/// The pods of this node that a policy takes.
fn selected<'a>(view: &'a View, name: &'a Name, policy: &'a Object) -> impl Iterator<Item = &'a Name> {
    let pods = local_pods(view, &name.namespace);
    pods.filter(|(_, pod)| policy.spec.pod_selector.matches(&pod.metadata.labels))
        .map(|(pod, _)| pod)
}

/// Whether a policy isolates for a direction. Where it does not say: for ingress always, for egress if it has rules for it.
fn isolates(policy: &Object, direction: Direction) -> bool {
    let types = &policy.spec.policy_types;
    match direction {
        Direction::Ingress => types.is_empty() || types.iter().any(|name| name == "Ingress"),
        Direction::Egress if types.is_empty() => !policy.spec.egress.is_empty(),
        Direction::Egress => types.iter().any(|name| name == "Egress"),
    }
}

/// The rules of a pod, if a policy takes it.
fn of_pod(name: &Name, pod: &Pod, view: &View) -> Option<Entry> {
    let policies = view.policies_within(&name.namespace);
    let taking = policies.filter(|(_, policy)| policy.spec.pod_selector.matches(&pod.metadata.labels));
    let taking: Vec<(&Name, &Object)> = taking.collect();
    let rules = |direction: Direction| {
        let mut isolating = taking
            .iter()
            .filter(|(_, policy)| isolates(policy, direction))
            .peekable();
        isolating.peek()?;
        Some(
            isolating
                .flat_map(|(policy, object)| rules::of(policy, object, direction, pod, view))
                .collect(),
        )
    };
    let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
    (ingress.is_some() || egress.is_some()).then(|| {
        Entry::Rules(PodRules {
            pod: PodKey {
                namespace: name.namespace.clone(),
                name: name.name.clone(),
            },
            ingress,
            egress,
        })
    })
}

sampan_sdk::export_network!(NetworkPolicy);
