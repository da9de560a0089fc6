//! Image locality: nodes that have the pod's images already, more so if many have them.
use super::BEST;
use crate::mirror::{Mirror, Node};

const MIB: i64 = 1 << 20;
const LEAST: i64 = 23 * MIB;
/// For each container.
const MOST: i64 = 1000 * MIB;

/// The score of a node.
pub fn images(mirror: &Mirror, wanted: &[u32], node: &Node) -> i64 {
    if wanted.is_empty() || node.images.is_empty() {
        return 0;
    }
    let here = |image: &u32| node.image(*image).map(|kib| (*image, kib));
    let scaled = |(image, kib): (u32, u32)| {
        let spread = f64::from(mirror.nodes_with(image)) / mirror.node_count() as f64;
        ((i64::from(kib) << 10) as f64 * spread) as i64
    };
    let sum: i64 = wanted.iter().filter_map(here).map(scaled).sum();
    let most = MOST * wanted.len() as i64;
    BEST * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)
}
