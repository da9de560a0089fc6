//! Looking at every node, without an index: for explanations, and where nominations make nodes unlike what counters say.
//! What the index says must be what this says.
use crate::{
    Cluster,
    config::Weights,
    counts::{NODE_KEY, NOWHERE},
    hashing::Map,
    mirror::Node,
    probe,
    rules::{Rules, Soft},
    score::{Scores, between, downwards, images, ln, spread_norm, upwards},
};
use sampan_sdk::scheduler::types::{Rule, Scorer};

/// In the order of [`Judged::raw`].
pub const SCORERS: [Scorer; 7] = [
    Scorer::Resources,
    Scorer::Balance,
    Scorer::Images,
    Scorer::NodeAffinity,
    Scorer::Taints,
    Scorer::Affinity,
    Scorer::Spread,
];

/// What the config weighs, in the order of [`SCORERS`].
pub fn weights(weights: &Weights) -> [i64; 7] {
    [
        weights.node_resources_fit,
        weights.node_resources_balanced_allocation,
        weights.image_locality,
        weights.node_affinity,
        weights.taint_toleration,
        weights.inter_pod_affinity,
        weights.pod_topology_spread,
    ]
}

/// A node that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub node: u32,
    pub pods: u32,
    pub raw: [i64; 7],
    pub normalized: [i64; 7],
    pub total: i64,
}

/// What is said of all nodes.
#[derive(Debug, Default)]
pub struct Survey {
    pub judged: Vec<Judged>,
    pub refused: Vec<(u32, Vec<Rule>)>,
}

impl Survey {
    /// The best node: the highest total, of equals the fewest pods, of equals the lowest number.
    pub fn best(&self) -> Option<u32> {
        let order = |judged: &&Judged| (-judged.total, judged.pods, judged.node);
        Some(self.judged.iter().min_by_key(order)?.node)
    }
}

/// Asks every node, or only one.
pub fn survey(cluster: &Cluster, scores: &Scores, weights: &[i64; 7], rules: &Rules, pinned: u32) -> Survey {
    let mut survey = Survey::default();
    let mut willing: Vec<&Node> = Vec::new();
    for node in cluster.mirror.nodes() {
        let against = match pinned != 0 && node.id != pinned {
            true => vec![Rule::NodeName],
            false => probe::against(cluster, rules, node),
        };
        match against.is_empty() {
            true => willing.push(node),
            false => survey.refused.push((node.id, against)),
        }
    }
    let spread = spread_scores(cluster, rules, &willing);
    for (node, spread) in willing.iter().zip(&spread) {
        let names = &cluster.mirror.names;
        let raw = [
            scores.fit(&rules.demand, &node.room, names),
            scores.balance(&rules.demand, &node.room, names),
            images(&cluster.mirror, &rules.images, node),
            rules.liked(node, names),
            rules.disliked(node),
            pulled(cluster, rules, node),
            spread.unwrap_or(0),
        ];
        survey.judged.push(Judged {
            node: node.id,
            pods: node.room.pods,
            raw,
            normalized: raw,
            total: 0,
        });
    }
    normalize(&mut survey.judged, &spread, weights, !rules.soft.is_empty());
    survey
}

fn normalize(judged: &mut [Judged], spread: &[Option<i64>], weights: &[i64; 7], spreads: bool) {
    let highest = |scorer: usize| judged.iter().map(|judged| judged.raw[scorer]).max().unwrap_or(0);
    let (liked, disliked, pulled) = (highest(3), highest(4), highest(5));
    let least_pulled = judged.iter().map(|judged| judged.raw[5]).min().unwrap_or(0);
    let (lowest, most) = (spread.iter().flatten().min(), spread.iter().flatten().max());
    for (judged, spread) in judged.iter_mut().zip(spread) {
        let normalized = &mut judged.normalized;
        normalized[3] = upwards(normalized[3], liked);
        normalized[4] = downwards(normalized[4], disliked);
        normalized[5] = between(normalized[5], least_pulled, pulled);
        normalized[6] = match (spread, lowest, most) {
            (Some(raw), Some(lowest), Some(most)) if spreads => spread_norm(*raw, *lowest, *most),
            _ => 0,
        };
        judged.total = normalized
            .iter()
            .zip(weights)
            .map(|(score, weight)| score * weight)
            .sum();
    }
}

/// What pods that are near weigh, for and against.
fn pulled(cluster: &Cluster, rules: &Rules, node: &Node) -> i64 {
    let counts = &cluster.counts;
    let pull = rules
        .pulls
        .iter()
        .map(|pull| match counts.topology.part(pull.near.key, node.id) {
            NOWHERE => 0,
            part => i64::from(pull.weight) * i64::from(counts.get(pull.near.counter).at(part)),
        });
    pull.sum()
}

/// How many alike are near each node, weighed; none for nodes that lack a label they need.
fn spread_scores(cluster: &Cluster, rules: &Rules, nodes: &[&Node]) -> Vec<Option<i64>> {
    let counts = &cluster.counts;
    let part = |soft: &Soft, node: &Node| counts.topology.part(soft.key, node.id);
    let counted = |node: &Node| !rules.all_labels || rules.soft.iter().all(|soft| part(soft, node) != NOWHERE);
    let counting: Vec<bool> = nodes.iter().map(|node| counted(node)).collect();
    let size = |soft: &Soft| {
        let nodes = nodes.iter().zip(&counting).filter(|(_, counts)| **counts);
        if soft.by_host {
            return nodes.count();
        }
        let parts: Map<u32, ()> = nodes.map(|(node, _)| (part(soft, node), ())).collect();
        parts.len()
    };
    let weights: Vec<f64> = rules.soft.iter().map(|soft| ln(size(soft) + 2)).collect();
    let score = |node: &Node| {
        let mut sum = 0.0;
        for (soft, weight) in rules.soft.iter().zip(&weights) {
            let part = part(soft, node);
            if part != NOWHERE {
                let counter = counts.get(soft.counter);
                let domain = if counter.spec.key == NODE_KEY { node.id } else { part };
                sum += f64::from(counter.at(domain)) * weight + f64::from(soft.max_skew - 1);
            }
        }
        sum.round() as i64
    };
    let all = nodes.iter().zip(counting);
    all.map(|(node, counting)| counting.then(|| score(node))).collect()
}
