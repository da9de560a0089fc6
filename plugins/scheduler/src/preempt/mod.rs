//! Who has to go so that a pod of higher priority gets a place: the fewest and cheapest, as Kubernetes chooses them.
mod ranking;
mod victims;

pub use ranking::Ranking;
pub use victims::{Cost, victims};

use crate::{cluster::Cluster, rules::Rules};

/// The node where room is cheapest to make, and its victims, most important first.
pub fn cheapest(cluster: &Cluster, rules: &Rules, ranking: &mut Option<Ranking>) -> Option<(u32, Vec<u32>)> {
    if rules.are_alone() {
        let node = ranking.get_or_insert_with(Ranking::default).best(cluster, rules)?;
        let (_, victims) = victims(cluster, rules, cluster.mirror.node(node)?)?;
        return Some((node, victims));
    }
    let all = cluster.mirror.nodes().filter_map(|node| {
        let (cost, victims) = victims(cluster, rules, node)?;
        Some((cost, node.id, victims))
    });
    let cheapest = all.min_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
    cheapest.map(|(_, node, victims)| (node, victims))
}
