//! The policy `policy-name`.
use sampan_sdk::scheduler::{Description, Node, Pod, Rule, Scheduler, description, filters, scores};

/// Keeps pods of one owner apart, and fills the nodes that are least in use first.
#[derive(Default)]
pub struct PolicyName;

impl Scheduler for PolicyName {
    fn describe() -> Description {
        let summary = "One pod of an owner to a node, least used first.";
        description("policy-name", env!("CARGO_PKG_VERSION"), summary)
    }

    /// Whether the node will do. `filters` has Kubernetes' rules; a rule that is returned is what users are told.
    fn filter(&self, pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
        filters::kubernetes(pod, node)?;
        filters::none_there(node, Rule::AntiAffinity, |there| there.shares_owner_with(pod))
    }

    /// The highest wins; of equals the node with the fewest pods.
    fn score(&self, pod: &Pod<'_>, node: &Node<'_>) -> i64 {
        scores::WHOLE - scores::used_share(pod, node)
    }
}

sampan_sdk::export_scheduler!(PolicyName);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::testing::{cluster, node, pod};

    #[test]
    fn the_least_used_node_comes_first() {
        let mut cluster = cluster::<PolicyName>([node("small").milli_cpu(1000), node("large").milli_cpu(8000)]);
        assert_eq!(cluster.place(&pod().milli_cpu(500)), Ok("large".to_owned()));
    }

    #[test]
    fn pods_of_one_owner_are_kept_apart() {
        let mut cluster = cluster::<PolicyName>([node("a"), node("b")]);
        let web = pod().owner("web");
        assert_eq!(cluster.place(&web), Ok("a".to_owned()));
        assert_eq!(cluster.place(&web), Ok("b".to_owned()));
        assert_eq!(cluster.place(&web), Err("0/2 nodes will do: 2 anti-affinity".to_owned()));
    }
}
