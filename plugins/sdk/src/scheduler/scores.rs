//! What scores are made of, in whole numbers: they are the same natively and in Wasm.
use super::{Node, Pod, select};

/// A node in full use, as [`used_share`] says it: fine enough that one small pod on a large node counts.
pub const WHOLE: i64 = 1_000_000;

/// The share of CPU and memory in use with the pod on the node, in parts of [`WHOLE`], the mean of both.
pub fn used_share(pod: &Pod<'_>, node: &Node<'_>) -> i64 {
    let (asked, used, all) = (pod.requests(), node.requested(), node.allocatable());
    let cpu = share(asked.milli_cpu, used.milli_cpu, all.milli_cpu);
    // In KiB: the sums must not saturate.
    let kib = |bytes: u64| bytes >> 10;
    let memory = share(kib(asked.memory), kib(used.memory), kib(all.memory));
    i64::try_from(cpu.midpoint(memory)).unwrap_or(WHOLE)
}

/// The share in use of something, with what is asked, in parts of [`WHOLE`].
pub fn share(asked: u64, used: u64, all: u64) -> u64 {
    let whole = WHOLE.unsigned_abs();
    // In 64 bits, since wider division is slow in Wasm.
    let sum = used.saturating_add(asked).saturating_mul(whole);
    sum.checked_div(all).unwrap_or(whole).min(whole)
}

/// The weights of preferred node affinity that the node fulfils, together.
pub fn preferred_nodes(pod: &Pod<'_>, node: &Node<'_>) -> i64 {
    select::liked(&pod.said().preferred_nodes, node.node, pod.names)
}

/// How many `PreferNoSchedule` taints are not tolerated: a reason to score lower, not to refuse.
pub fn untolerated_preferences(pod: &Pod<'_>, node: &Node<'_>) -> i64 {
    select::disliked(&pod.said().tolerations, node.node)
}
