//! Who has to go so that a pod of higher priority gets a place: the fewest and cheapest, as Kubernetes chooses them.
mod ranking;
mod victims;

pub use ranking::Ranking;
pub use victims::{Cost, victims};

use crate::{Cluster, rules::Rules};

/// What thinking away the pods of a node costs, in looks at a node.
const DEAR: usize = 6;

/// The node where room is cheapest to make, and its victims, most important first. Adds to `work` what was looked at.
pub fn cheapest(
    cluster: &Cluster,
    rules: &Rules,
    ranking: &mut Option<Ranking>,
    work: &mut usize,
) -> Option<(u32, Vec<u32>)> {
    if rules.are_alone() {
        let ranking = ranking.get_or_insert_with(Ranking::default);
        *work += DEAR * ranking.catch_up(cluster, rules);
        let node = ranking.best()?;
        let (_, victims) = victims(cluster, rules, cluster.mirror.node(node)?)?;
        return Some((node, victims));
    }
    *work += DEAR * cluster.mirror.node_count();
    let all = cluster.mirror.nodes().filter_map(|node| {
        let (cost, victims) = victims(cluster, rules, node)?;
        Some((cost, node.id, victims))
    });
    let cheapest = all.min_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
    cheapest.map(|(_, node, victims)| (node, victims))
}
