//! The built-in placing, for when no plugin can: the same hard rules, the least loaded node, nothing clever.
use super::mirror::{Mirror, kernel_resources};
use sampan_sandbox::scheduler::{Assignment, Effect, Node, Outcome, Pod, Refusal, Taint, Toleration};
use std::collections::HashMap;

/// Why a node will not do; the order in which the rules are asked.
#[derive(Clone, Copy)]
enum Reason {
    Cordoned,
    NotReady,
    Tainted,
    Selector,
    Cpu,
    Memory,
    EphemeralStorage,
    Pods,
}

/// Places pods in their order, each on the node with the greatest free share of CPU and memory.
pub fn place(mirror: &Mirror, pods: &[Pod]) -> Vec<Assignment> {
    let mut requested: HashMap<u32, _> = mirror.nodes().map(|n| (n.id, kernel_resources(n.requested))).collect();
    let mut assign = |pod: &Pod| {
        let asked = kernel_resources(pod.requests);
        let mut refusal = no_refusal();
        let mut best: Option<(u64, u32)> = None;
        for node in mirror.nodes() {
            let used = requested.get(&node.id).copied().unwrap_or_default();
            match refuses(pod, node, used) {
                Some(reason) => *count(&mut refusal, reason) += 1,
                None => {
                    let all = kernel_resources(node.allocatable);
                    let free = |used: u64, all: u64| {
                        all.saturating_sub(used)
                            .saturating_mul(1000)
                            .checked_div(all)
                            .unwrap_or(0)
                    };
                    let after = used.plus(asked);
                    let score = free(after.milli_cpu, all.milli_cpu) + free(after.memory, all.memory);
                    // The first of equals: nodes come in a fixed order, so the choice repeats.
                    if best.is_none_or(|(found, _)| score > found) {
                        best = Some((score, node.id));
                    }
                }
            }
        }
        let outcome = match best {
            Some((_, node)) => {
                let used = requested.entry(node).or_default();
                *used = used.plus(asked);
                Outcome::Bind(node)
            }
            None => Outcome::Unschedulable(refusal),
        };
        Assignment { pod: pod.id, outcome }
    };
    pods.iter().map(&mut assign).collect()
}

fn refuses(pod: &Pod, node: &Node, used: sampan_api::quantity::Resources) -> Option<Reason> {
    let free = kernel_resources(node.allocatable).minus(used);
    let asked = kernel_resources(pod.requests);
    let short = |asked: u64, free: u64| asked > 0 && asked > free;
    let bars = |taint: &&Taint| taint.effect != Effect::PreferNoSchedule;
    if node.unschedulable {
        Some(Reason::Cordoned)
    } else if !node.ready {
        Some(Reason::NotReady)
    } else if node
        .taints
        .iter()
        .filter(bars)
        .any(|taint| !pod.tolerations.iter().any(|t| tolerates(t, taint)))
    {
        Some(Reason::Tainted)
    } else if pod
        .node_selector
        .iter()
        .any(|w| !node.labels.iter().any(|l| l.key == w.key && l.value == w.value))
    {
        Some(Reason::Selector)
    } else if short(asked.milli_cpu, free.milli_cpu) {
        Some(Reason::Cpu)
    } else if short(asked.memory, free.memory) {
        Some(Reason::Memory)
    } else if short(asked.ephemeral_storage, free.ephemeral_storage) {
        Some(Reason::EphemeralStorage)
    } else if short(asked.pods.into(), free.pods.into()) {
        Some(Reason::Pods)
    } else {
        None
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    toleration.key.is_none_or(|key| key == taint.key)
        && toleration.value.is_none_or(|value| value == taint.value)
        && toleration.effect.is_none_or(|effect| effect == taint.effect)
}

fn no_refusal() -> Refusal {
    Refusal {
        cordoned: 0,
        not_ready: 0,
        tainted: 0,
        selector: 0,
        cpu: 0,
        memory: 0,
        ephemeral_storage: 0,
        pods: 0,
    }
}

fn count(refusal: &mut Refusal, reason: Reason) -> &mut u32 {
    match reason {
        Reason::Cordoned => &mut refusal.cordoned,
        Reason::NotReady => &mut refusal.not_ready,
        Reason::Tainted => &mut refusal.tainted,
        Reason::Selector => &mut refusal.selector,
        Reason::Cpu => &mut refusal.cpu,
        Reason::Memory => &mut refusal.memory,
        Reason::EphemeralStorage => &mut refusal.ephemeral_storage,
        Reason::Pods => &mut refusal.pods,
    }
}

/// As Kubernetes says it: `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) were unschedulable.`
pub fn explain(refusal: &Refusal, nodes: usize) -> String {
    let reasons = [
        (refusal.cordoned, "node(s) were unschedulable"),
        (refusal.not_ready, "node(s) were not ready"),
        (refusal.tainted, "node(s) had untolerated taint(s)"),
        (refusal.selector, "node(s) didn't match Pod's node affinity/selector"),
        (refusal.cpu, "Insufficient cpu"),
        (refusal.memory, "Insufficient memory"),
        (refusal.ephemeral_storage, "Insufficient ephemeral-storage"),
        (refusal.pods, "Too many pods"),
    ];
    let told: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    match told.is_empty() {
        true => format!("0/{nodes} nodes are available."),
        false => format!("0/{nodes} nodes are available: {}.", told.join(", ")),
    }
}
