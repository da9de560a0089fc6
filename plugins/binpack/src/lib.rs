//! The policy `binpack`: pods go where least is free and they still fit (Kubernetes' MostAllocated), so that whole nodes
//! stay empty.
use sampan_sdk::scheduler_01::{Description, Node, Pod, Scheduler, description, filters};

/// Most allocated first.
#[derive(Default)]
pub struct Binpack;

impl Scheduler for Binpack {
    fn describe() -> Description {
        description("binpack", env!("CARGO_PKG_VERSION"), "Fills one node before the next.")
    }

    fn score(&self, pod: &Pod, node: &Node) -> i64 {
        filters::used_share(pod, node) - filters::WHOLE * filters::untolerated_preferences(pod, node)
    }
}

sampan_sdk::export_scheduler_01!(Binpack);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::scheduler_01::testing::{Cluster, node, pod};

    #[test]
    fn one_node_is_filled_before_the_next() {
        let mut cluster = Cluster::<Binpack>::new((1..=3).map(|id| node(id, 1000, 8 << 30)).collect());
        let placed = cluster.place(&vec![pod(250, 1 << 20); 9]);
        let expected: Vec<_> = [1, 1, 1, 1, 2, 2, 2, 2, 3].into_iter().map(Some).collect();
        assert_eq!(placed, expected);
    }
}
