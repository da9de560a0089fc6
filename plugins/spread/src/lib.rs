//! The policy `spread`: pods go where most is free (Kubernetes' LeastAllocated), so that load and failures spread.
use sampan_sdk::scheduler_01::{Description, Node, Pod, Scheduler, description, filters};

/// Least allocated first.
#[derive(Default)]
pub struct Spread;

impl Scheduler for Spread {
    fn describe() -> Description {
        description("spread", env!("CARGO_PKG_VERSION"), "Places pods where most is free.")
    }

    fn score(&self, pod: &Pod, node: &Node) -> i64 {
        filters::WHOLE - filters::used_share(pod, node) - filters::WHOLE * filters::untolerated_preferences(pod, node)
    }
}

sampan_sdk::export_scheduler_01!(Spread);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::scheduler_01::testing::{Cluster, node, pod};

    #[test]
    fn pods_spread_evenly() {
        let mut cluster = Cluster::<Spread>::new((1..=10).map(|id| node(id, 4000, 32 << 30)).collect());
        let placed = cluster.place(&vec![pod(100, 500 << 20); 50]);
        let on = |id| placed.iter().filter(|node| **node == Some(id)).count();
        assert!((1..=10).all(|id| on(id) == 5), "{placed:?}");
    }

    #[test]
    fn preferences_against_a_node_are_heeded_while_there_is_another() {
        let mut tainted = node(1, 4000, 32 << 30);
        tainted.taints = vec![sampan_sdk::scheduler_01::testing::taint(
            7,
            sampan_sdk::scheduler_01::Effect::PreferNoSchedule,
        )];
        let mut cluster = Cluster::<Spread>::new(vec![tainted, node(2, 200, 32 << 30)]);
        assert_eq!(cluster.place(&vec![pod(100, 1 << 20); 3]), [Some(2), Some(2), Some(1)]);
    }
}
