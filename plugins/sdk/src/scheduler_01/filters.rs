//! Kubernetes' hard rules, each as a question, and all of them in its order.
use crate::scheduler::scores::share;

pub use crate::scheduler::scores::WHOLE;

use super::{Effect, Label, Node, Pod, Reason, Taint, Toleration};

/// All of them: cordon, readiness, taints, node selector, resources.
///
/// # Errors
/// The first reason against the node.
pub fn default(pod: &Pod, node: &Node) -> Result<(), Reason> {
    if node.unschedulable {
        return Err(Reason::Cordoned);
    }
    if !node.ready {
        return Err(Reason::NotReady);
    }
    if !tolerates_all(&pod.tolerations, &node.taints) {
        return Err(Reason::Tainted);
    }
    if !has_labels(node, &pod.node_selector) {
        return Err(Reason::Selector);
    }
    resources(pod, node)
}

/// Whether the pod fits into what is free. Nothing asked of a resource always fits.
///
/// # Errors
/// The first resource that is short.
pub fn resources(pod: &Pod, node: &Node) -> Result<(), Reason> {
    let (asked, used, all) = (&pod.requests, &node.requested, &node.allocatable);
    let short = |asked: u64, used: u64, all: u64| asked > 0 && asked > all.saturating_sub(used);
    if short(asked.milli_cpu, used.milli_cpu, all.milli_cpu) {
        Err(Reason::Cpu)
    } else if short(asked.memory, used.memory, all.memory) {
        Err(Reason::Memory)
    } else if short(asked.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage) {
        Err(Reason::EphemeralStorage)
    } else if short(asked.pods.into(), used.pods.into(), all.pods.into()) {
        Err(Reason::Pods)
    } else {
        Ok(())
    }
}

/// Whether a node has all these labels.
pub fn has_labels(node: &Node, wanted: &[Label]) -> bool {
    wanted.iter().all(|wanted| node.labels.contains(wanted))
}

/// Whether every taint that forbids (`NoSchedule`, `NoExecute`) is tolerated.
pub fn tolerates_all(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let forbidding = taints.iter().filter(|taint| taint.effect != Effect::PreferNoSchedule);
    forbidding
        .into_iter()
        .all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// Whether one toleration covers one taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    toleration.key.is_none_or(|key| key == taint.key)
        && toleration.value.is_none_or(|value| value == taint.value)
        && toleration.effect.is_none_or(|effect| effect == taint.effect)
}

/// How many `PreferNoSchedule` taints are not tolerated: a reason to score lower, not to refuse.
pub fn untolerated_preferences(pod: &Pod, node: &Node) -> i64 {
    let preferences = node
        .taints
        .iter()
        .filter(|taint| taint.effect == Effect::PreferNoSchedule);
    let untolerated = preferences
        .filter(|taint| !pod.tolerations.iter().any(|t| tolerates(t, taint)))
        .count();
    i64::try_from(untolerated).unwrap_or(i64::MAX)
}

/// The share of CPU and memory in use with the pod on the node, in parts of [`WHOLE`], the mean of both.
pub fn used_share(pod: &Pod, node: &Node) -> i64 {
    let (asked, used, all) = (&pod.requests, &node.requested, &node.allocatable);
    let cpu = share(asked.milli_cpu, used.milli_cpu, all.milli_cpu);
    // In KiB: the sums must not saturate.
    let kib = |bytes: u64| bytes >> 10;
    let memory = share(kib(asked.memory), kib(used.memory), kib(all.memory));
    i64::try_from(cpu.midpoint(memory)).unwrap_or(WHOLE)
}
